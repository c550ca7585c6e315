package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/webhook"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	delivered   = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient   = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	rateLimited = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	validation  = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	poison      = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
)

func header(name, value string) map[string]string { return map[string]string{name: value} }

// answers are of an idempotent receiver: what is recorded in answers.yaml, and what
// can't be said there since it is not the rules that find it.
func answers(t *testing.T) []connectortest.Answer {
	return append(recorded(t, true), []connectortest.Answer{
		{
			Name: "201 with a receipt and its place", Status: 201, Body: `{"id": 17}`, Header: header("Location", "https://books.example/orders/17"),
			Want: connectors.Outcome{Kind: delivered, Rule: "status 2xx", ExternalID: "17", URL: "https://books.example/orders/17"},
		},
		{Name: "201 with a place that is no link", Status: 201, Header: header("Location", "javascript:alert(1)"), Want: outcome(delivered, "status 2xx")},
		{Name: "200 with a receipt too long to be one", Status: 200, Body: `{"id": "` + strings.Repeat("7", 501) + `"}`, Want: outcome(delivered, "status 2xx")},
		{
			Name: "422 long and with controls", Status: 422, Body: `{"code": "a\u001b[31m\nb` + strings.Repeat("é", 100) + `"}`,
			Want: named(validation, "status 422", "a[31mb"+strings.Repeat("é", 73)+"…", ""),
		},
		{Name: "422 not UTF-8", Status: 422, Body: "{\"code\": \"a\xff\x00b\", \"field\": \"\xc3\x28\"}", Want: outcome(validation, "status 422")},
		{Name: "422 not UTF-8 in a text", Status: 422, Body: "{\"code\": \"a\xffb\", \"field\": \"\xc3(\"}", Want: named(validation, "status 422", "a\uFFFDb", "\uFFFD(")},

		{Name: "429 in 2 s", Status: 429, Header: header("Retry-After", "2"), Want: later(rateLimited, "status 429", 2*time.Second)},
		{Name: "429 absurd", Status: 429, Header: header("Retry-After", "99999999999999999999"), Want: later(rateLimited, "status 429", time.Hour)},
		{Name: "429 negative", Status: 429, Header: header("Retry-After", "-5"), Want: outcome(rateLimited, "status 429")},
		{Name: "429 past", Status: 429, Header: header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), Want: outcome(rateLimited, "status 429")},
		{Name: "429 far", Status: 429, Header: header("Retry-After", "Sat, 01 Jan 2300 00:00:00 GMT"), Want: later(rateLimited, "status 429", time.Hour)},
		{Name: "503", Status: 503, Header: header("Retry-After", "120"), Want: later(transient, "status 5xx", 2*time.Minute)},
	}...)
}

// recorded are the shipped answers as the conformance suite takes them.
func recorded(t *testing.T, idempotent bool) []connectortest.Answer {
	t.Helper()
	shipped, err := webhook.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	var all []connectortest.Answer
	for _, a := range shipped.Answers(idempotent) {
		one := connectortest.Answer{
			Name: a.Name, Status: a.Answer.Status, Body: string(a.Answer.Body), Header: map[string]string{},
			Want: connectors.Outcome{Kind: a.Kind, Rule: a.Expect["rule"], Code: a.Expect["code"], Field: a.Expect["field"], ExternalID: a.Expect["receipt"]},
		}
		for name := range a.Answer.Header {
			one.Header[name] = a.Answer.Header.Get(name)
		}
		all = append(all, one)
	}
	return all
}

// The shipped rules hold what they promise, and none of them is there for nothing.
func TestShipped(t *testing.T) {
	shipped, err := webhook.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	wrong, unreached := shipped.Check()
	for _, w := range wrong {
		t.Errorf("%s %s", w.Name, w.Message)
	}
	if len(unreached) > 0 {
		t.Errorf("no answer reaches %q", unreached)
	}
}

func TestWebhook_NotIdempotent(t *testing.T) {
	for _, a := range recorded(t, false) {
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(a.Status)
			_, _ = io.WriteString(w, a.Body)
		}))
		d := build(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET", "idempotent": false})
		if d.Traits().Idempotent {
			t.Fatal("Traits say idempotent")
		}
		if got := send(t, d); got.Kind != a.Want.Kind || got.Status != a.Status {
			t.Errorf("%s makes %s, want %s", a.Name, got.Kind, a.Want.Kind)
		}
		receiver.Close()
	}
}

func send(t testing.TB, d connectors.Destination) connectors.Outcome {
	t.Helper()
	request, err := d.Prepare(step())
	if err != nil {
		t.Fatal(err)
	}
	return d.Send(t.Context(), request)
}

func step() connectors.Step {
	return connectors.Step{
		Event: &connectors.Event{
			Tenant: "kopi", Source: "till-7", ID: "order/1042/created", Type: "order.created", OrderingKey: "order/1042",
			AcceptedAt: time.Date(2026, 11, 23, 10, 41, 11, 0, time.UTC), ContentType: "application/json", Data: []byte(`{"number": 1042}`),
		},
		Destination: "books", Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8),
	}
}
