package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"raffsync/connectors/egress"
)

// A destination sends, and tells from the error what may be done next.
func ExampleClient_Do() {
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2.0")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":"slow down","access_token":"abc"}`)
	}))
	defer platform.Close()

	// In production: egress.Config{}, which reaches public addresses over https.
	client, err := egress.New(egress.Config{AllowLoopback: true, AllowHTTP: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for _, target := range []string{platform.URL, "https://169.254.169.254/latest/meta-data"} {
		req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(`{"order":1042}`))
		if err != nil {
			fmt.Println(err)
			return
		}
		response, err := client.Do(context.Background(), req)
		switch {
		case err == nil:
			wait, _ := egress.ParseRetryAfter(response.Header, time.Now(), time.Hour)
			fmt.Println(response.Status, wait, egress.Excerpt(response.Body, 0))
		case errors.Is(err, egress.ErrUnknown):
			fmt.Println("ask the platform first:", err)
		case errors.Is(err, egress.ErrForbiddenAddress):
			fmt.Println("for a person:", err)
		case errors.Is(err, egress.ErrNotSent):
			fmt.Println("try again:", err)
		}
	}
	// Output:
	// 429 2s {"error":"slow down","access_token":"[redacted]"}
	// for a person: egress: target is not allowed: POST https://169.254.169.254: 169.254.169.254 is a link-local or cloud metadata address and never allowed
}
