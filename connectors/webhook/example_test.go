package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"raffsync/connectors"
	"raffsync/connectors/webhook"
)

// A receiver verifies each request over its raw body, takes each message once, and
// answers 2xx as soon as it is safe, to a repeat as well.
//
// A map serves an example. In earnest, webhook-id goes into a column with a unique
// index, in the transaction that stores the effect: then a crash between the two
// can't part them.
func Example_receiver() {
	verifier, err := standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQ29sZA==")
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	taken := map[string]bool{}
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || verifier.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if id := r.Header.Get("webhook-id"); !taken[id] {
			taken[id] = true
			subject, _ := url.PathUnescape(r.Header.Get("ce-subject"))
			fmt.Printf("%s of %s: %s\n", r.Header.Get("ce-type"), subject, body)
		}
		w.WriteHeader(http.StatusNoContent)
	}

	// The other side: one event, sent twice, as after an outcome that nobody knows.
	receiver := httptest.NewServer(http.HandlerFunc(receive))
	defer receiver.Close()
	destination, err := webhook.Factory(connectors.Options{
		Name:          "books",
		Settings:      fmt.Appendf(nil, `{"url": %q, "secret": "env:BOOKS_SECRET"}`, receiver.URL),
		Secret:        func(string) (string, error) { return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQ29sZA==", nil },
		AllowLoopback: true,
	})
	if err != nil {
		panic(err)
	}
	request, err := destination.Prepare(connectors.Step{
		Event: &connectors.Event{
			Tenant: "kopi", Source: "till-7", ID: "1042/created", Type: "order.created", OrderingKey: "order/café 1042",
			ContentType: "application/json", Data: []byte(`{"total": "54000"}`),
		},
		Destination: "books",
		Key:         strings.Repeat("5eed", 16),
	})
	if err != nil {
		panic(err)
	}
	for range 2 {
		outcome := destination.Send(context.Background(), request)
		fmt.Println(outcome.Rule, outcome.Reason)
	}

	// Output:
	// order.created of order/café 1042: {"total": "54000"}
	// status 2xx 204 No Content: accepted
	// status 2xx 204 No Content: accepted
}
