package webhook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const validation = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQ29sZA=="

func newDestination(t testing.TB, settings map[string]any) *destination {
	t.Helper()
	settings["secret"] = "env:CURRENT"
	encoded, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Factory(connectors.Options{
		Name: "books", Settings: encoded, AllowLoopback: true,
		Secret: func(reference string) (string, error) {
			if reference == "env:CURRENT" {
				return testSecret, nil
			}
			return "whsec_cHJldmlvdXMgc2VjcmV0LCAyNCBieXRlcyBvciBtb3Jl", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.(*destination).client.Close)
	return d.(*destination)
}

func prepared(t testing.TB, d *destination) connectors.Request {
	t.Helper()
	r, err := d.Prepare(connectors.Step{
		Event: &connectors.Event{
			Tenant: "kopi", Source: "till-7", ID: "order/1042/created", Type: "order.created", OrderingKey: "order/1042",
			AcceptedAt: time.Date(2026, 11, 23, 10, 41, 11, 0, time.UTC), ContentType: "application/json", Data: []byte(`{"number": 1042}`),
		},
		Destination: "books", Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// One prepared request, sent twice: the id stays, the time is that of the attempt,
// and each signature is over it.
func TestDestination_SignsEachAttempt(t *testing.T) {
	var got []http.Header
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got = append(got, r.Header)
	}))
	defer receiver.Close()
	d := newDestination(t, map[string]any{"url": receiver.URL, "previous_secret": "env:PREVIOUS"})
	r := prepared(t, d)
	// Made with Python's hmac from what the specification says is signed.
	for _, attempt := range []struct {
		at                int64
		current, previous string
	}{
		{1674087231, "kCMnPWqUWR8bDulKZHcKDuiXfpAvez1WNuilwNs0Irw=", "s0fyICCcQMUhIF7mLGbVSsMBKvg3+7uc43J84nOTLPw="},
		{1674087999, "qeHbST4GAfKSyK4tNlhIXBEdEmWXWzrV+OgFr1lEtys=", "AdkUPvD/orih+0Cg3/NL/0VISYNxF0Jwy0cu6/ub1uA="},
	} {
		d.now = func() time.Time { return time.Unix(attempt.at, 999) }
		if o := d.Send(t.Context(), r); o.Kind != delivered {
			t.Fatalf("outcome %+v", o)
		}
		header := got[len(got)-1]
		want := "v1," + attempt.current + " v1," + attempt.previous
		if signature := header.Get(standardwebhooks.HeaderWebhookSignature); signature != want {
			t.Errorf("at %d the signature is %s, want %s", attempt.at, signature, want)
		}
		if id := header.Get("Webhook-Id"); id != strings.Repeat("0a1b2c3d", 8) || id != header.Get("Idempotency-Key") {
			t.Errorf("Webhook-Id is %s, Idempotency-Key %s", id, header.Get("Idempotency-Key"))
		}
	}
}

func TestDestination_RetryAfterDate(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 41, 11, 0, time.UTC)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", now.Add(90*time.Second).Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer receiver.Close()
	d := newDestination(t, map[string]any{"url": receiver.URL})
	d.now = func() time.Time { return now }
	if o := d.Send(t.Context(), prepared(t, d)); o.Kind != transient || o.RetryAfter != 90*time.Second {
		t.Errorf("outcome %+v, want TRANSIENT in 90 s", o)
	}
}

// Reasons are what people read: one line, with what to do where there is something.
func TestDestination_Reasons(t *testing.T) {
	for _, test := range []struct {
		status     int
		body, want string
	}{
		{204, "", "204 No Content: accepted"},
		{422, `{"error": {"code": "unknown_sku", "field": "lines[0].sku"}}`, "422 Unprocessable Entity: the receiver finds the data invalid (unknown_sku at lines[0].sku)"},
		{422, `{"code": "unknown_sku"}`, "422 Unprocessable Entity: the receiver finds the data invalid (unknown_sku)"},
		{422, `{"errors": {"sku": ["is unknown"]}}`, "422 Unprocessable Entity: the receiver finds the data invalid (at sku)"},
		{599, "", "599: the receiver is in trouble"},
	} {
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		d := newDestination(t, map[string]any{"url": receiver.URL})
		if o := d.Send(t.Context(), prepared(t, d)); o.Reason != test.want || o.Excerpt != test.body {
			t.Errorf("status %d: reason %q, excerpt %q; want reason %q", test.status, o.Reason, o.Excerpt, test.want)
		}
		receiver.Close()
	}
}

func TestDestination_Failures(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, test := range []struct {
		name, url string
		kind      raffsyncv1.OutcomeKind
		rule      string
	}{
		{"private address", "https://10.0.0.1/hooks", validation, "address not allowed"},
		{"metadata address", "https://169.254.169.254/latest/", validation, "address not allowed"},
		{"address in disguise", "https://2130706433/", validation, "address not allowed"},
		{"unknown authority", secure.URL, transient, "no TLS"},
		{"no TLS there", "https" + strings.TrimPrefix(plain.URL, "http"), transient, "no TLS"},
		{"refused", gone.URL, transient, "no connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDestination(t, map[string]any{"url": test.url})
			o := d.Send(t.Context(), prepared(t, d))
			if o.Kind != test.kind || o.Rule != test.rule || o.Status != 0 || o.Reason == "" {
				t.Errorf("outcome %+v, want %s by rule %q", o, test.kind, test.rule)
			}
		})
	}
}

func TestDestination_EndsByTheDeadline(t *testing.T) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer receiver.Close()
	defer close(release)
	d := newDestination(t, map[string]any{"url": receiver.URL})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	o := d.Send(ctx, prepared(t, d))
	wantKind, wantRule := unknown, "time-out after sending"
	select {
	case <-arrived:
	default: // on a machine that can't connect to itself within the second
		wantKind, wantRule = transient, "time-out before sending"
	}
	if o.Kind != wantKind || o.Rule != wantRule {
		t.Errorf("outcome %+v, want %s by rule %q", o, wantKind, wantRule)
	}
}

func TestDestination_RefusesForeignRequests(t *testing.T) {
	d := newDestination(t, map[string]any{"url": "https://books.example"})
	for _, foreign := range []connectors.Request{nil, "text", 7} {
		if o := d.Send(t.Context(), foreign); o.Kind != poison {
			t.Errorf("%v makes %+v, want POISON", foreign, o)
		}
	}
}

func TestDestination_PrepareRefusesWhatIsNoHeader(t *testing.T) {
	d := newDestination(t, map[string]any{"url": "https://books.example"})
	for _, step := range []connectors.Step{
		{Key: "", Event: &connectors.Event{}},
		{Key: "a\r\nb", Event: &connectors.Event{}},
		{Key: "a", Event: &connectors.Event{ContentType: "text/plain\r\nX-Injected: 1"}},
	} {
		_, err := d.Prepare(step)
		refused, ok := err.(*connectors.PrepareError)
		if !ok || refused.Kind != validation {
			t.Errorf("%+v: error %v, want a PrepareError of VALIDATION", step, err)
		}
	}
}
