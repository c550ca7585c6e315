package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	delivered    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient    = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown      = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	rateLimited  = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	authRevoked  = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	permission   = raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION
	accountState = raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE
	validation   = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	duplicate    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE
	keyMisuse    = raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE
	poison       = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
	unclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
)

func header(name, value string) map[string]string { return map[string]string{name: value} }

// answers are of an idempotent receiver.
var answers = []connectortest.Answer{
	{Name: "200", Status: 200, Want: outcome(delivered, "status 200")},
	{Name: "204", Status: 204, Want: outcome(delivered, "status 204")},
	{
		Name: "200 with a receipt", Status: 200, Body: `{"id": "books-17", "status": "effect"}`,
		Want: connectors.Outcome{Kind: delivered, Rule: "status 200", ExternalID: "books-17"},
	},
	{
		Name: "201 with a receipt and its place", Status: 201, Body: `{"id": 17}`, Header: header("Location", "https://books.example/orders/17"),
		Want: connectors.Outcome{Kind: delivered, Rule: "status 201", ExternalID: "17", URL: "https://books.example/orders/17"},
	},
	{Name: "201 with a place that is no link", Status: 201, Header: header("Location", "javascript:alert(1)"), Want: outcome(delivered, "status 201")},
	{Name: "200 with a receipt too long to be one", Status: 200, Body: `{"id": "` + strings.Repeat("7", 501) + `"}`, Want: outcome(delivered, "status 200")},
	{Name: "200 with an error's look", Status: 200, Body: `{"error": {"code": "x", "field": "y"}}`, Want: outcome(delivered, "status 200")},

	{Name: "304", Status: 304, Want: outcome(validation, "status 304")},
	{Name: "308", Status: 308, Header: header("Location", "https://new.example/hooks"), Want: outcome(validation, "status 308")},

	{Name: "400", Status: 400, Body: "no", Want: outcome(validation, "status 400")},
	{
		Name: "422 nested", Status: 422, Body: `{"error": {"code": "unknown_sku", "field": "lines[0].sku", "message": "no SKU LATTE-OAT"}}`,
		Want: named(validation, "status 422", "unknown_sku", "lines[0].sku"),
	},
	{Name: "422 flat", Status: 422, Body: `{"code": 6240, "field": "sku"}`, Want: named(validation, "status 422", "6240", "sku")},
	{Name: "422 a word", Status: 422, Body: `{"error": "unknown_sku"}`, Want: named(validation, "status 422", "unknown_sku", "")},
	{Name: "422 a sentence", Status: 422, Body: `{"error": "no such SKU"}`, Want: outcome(validation, "status 422")},
	{
		Name: "422 JSON:API", Status: 422, Body: `{"errors": [{"status": "422", "code": "unknown", "source": {"pointer": "/data/sku"}}, {"code": "other"}]}`,
		Want: named(validation, "status 422", "unknown", "/data/sku"),
	},
	{
		Name: "422 problem", Status: 422, Body: `{"type": "https://example.com/errors/unknown-sku/", "title": "Unknown SKU"}`,
		Want: named(validation, "status 422", "unknown-sku", ""),
	},
	{
		Name: "422 problem about:blank", Status: 422, Body: `{"type": "about:blank", "title": "Unprocessable Entity", "status": 422}`,
		Want: outcome(validation, "status 422"),
	},
	{
		Name: "422 FastAPI", Status: 422, Body: `{"detail": [{"type": "missing", "loc": ["body", "lines", 0, "sku"], "msg": "Field required"}]}`,
		Want: named(validation, "status 422", "missing", "body.lines.0.sku"),
	},
	{Name: "422 Rails", Status: 422, Body: `{"errors": {"sku": ["is unknown"], "total": ["is off"]}}`, Want: named(validation, "status 422", "", "sku")},
	{
		Name: "422 long and with controls", Status: 422, Body: `{"code": "a\u001b[31m\nb` + strings.Repeat("é", 100) + `"}`,
		Want: named(validation, "status 422", "a[31mb"+strings.Repeat("é", 73)+"…", ""),
	},
	{Name: "422 cut JSON", Status: 422, Body: `{"code": "unknown_sku"`, Want: outcome(validation, "status 422")},
	{Name: "422 other JSON", Status: 422, Body: `[[[]], null, {}]`, Want: outcome(validation, "status 422")},
	{Name: "413", Status: 413, Want: outcome(validation, "status 413")},
	{Name: "415", Status: 415, Want: outcome(validation, "status 415")},

	{
		Name: "422 key with another body", Status: 422, Body: `{"error": {"code": "idempotency_key_reused", "field": "Idempotency-Key"}}`,
		Want: named(keyMisuse, "idempotency key refused", "idempotency_key_reused", "Idempotency-Key"),
	},
	{
		Name: "422 key, as in the draft", Status: 422, Body: `{"type": "https://developer.example.com/idempotency", "title": "Idempotency-Key is already used"}`,
		Want: named(keyMisuse, "idempotency key refused", "idempotency", ""),
	},
	{
		Name: "409 key with another body", Status: 409, Body: `{"code": "IdempotencyKeyMismatch"}`,
		Want: named(keyMisuse, "idempotency key refused", "IdempotencyKeyMismatch", ""),
	},
	{
		Name: "409 under way, as in the draft", Status: 409, Body: `{"type": "https://developer.example.com/idempotency", "title": "A request is outstanding for this Idempotency-Key"}`,
		Want: named(transient, "status 409", "idempotency", ""),
	},
	{Name: "409 without a word", Status: 409, Want: outcome(transient, "status 409")},
	{Name: "409 under way", Status: 409, Body: `{"code": "already-in-progress"}`, Want: named(transient, "status 409", "already-in-progress", "")},
	{Name: "409 already there", Status: 409, Body: `{"code": "ALREADY_EXISTS", "field": "number"}`, Want: named(duplicate, "status 409", "ALREADY_EXISTS", "number")},

	{Name: "401", Status: 401, Body: `{"error": {"code": "bad_signature"}}`, Want: named(authRevoked, "status 401", "bad_signature", "")},
	{Name: "402", Status: 402, Want: outcome(accountState, "status 402")},
	{Name: "403", Status: 403, Want: outcome(permission, "status 403")},
	{Name: "410", Status: 410, Want: outcome(authRevoked, "status 410")},
	{Name: "423", Status: 423, Want: outcome(accountState, "status 423")},

	{Name: "429", Status: 429, Want: outcome(rateLimited, "status 429")},
	{Name: "429 in 2 s", Status: 429, Header: header("Retry-After", "2"), Want: later(rateLimited, "status 429", 2*time.Second)},
	{Name: "429 absurd", Status: 429, Header: header("Retry-After", "99999999999999999999"), Want: later(rateLimited, "status 429", time.Hour)},
	{Name: "429 negative", Status: 429, Header: header("Retry-After", "-5"), Want: outcome(rateLimited, "status 429")},
	{Name: "429 past", Status: 429, Header: header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), Want: outcome(rateLimited, "status 429")},
	{Name: "429 far", Status: 429, Header: header("Retry-After", "Sat, 01 Jan 2300 00:00:00 GMT"), Want: later(rateLimited, "status 429", time.Hour)},

	{Name: "408", Status: 408, Want: outcome(transient, "status 408")},
	{Name: "425", Status: 425, Want: outcome(transient, "status 425")},
	{Name: "500", Status: 500, Body: "Internal Server Error", Want: outcome(transient, "status 500")},
	{Name: "503", Status: 503, Header: header("Retry-After", "120"), Want: later(transient, "status 503", 2*time.Minute)},
	{Name: "504", Status: 504, Want: outcome(transient, "status 504")},
	{Name: "599", Status: 599, Want: outcome(transient, "status 599")},

	{Name: "404", Status: 404, Body: `{"status": 404, "error": "Not Found", "path": "/hooks"}`, Want: outcome(unclassified, "status 404")},
	{Name: "405", Status: 405, Want: outcome(unclassified, "status 405")},
	{Name: "418", Status: 418, Want: outcome(unclassified, "status 418")},
	{Name: "451", Status: 451, Body: `{"code": "blocked"}`, Want: named(unclassified, "status 451", "blocked", "")},
}

// A receiver that does not recognise repeats: what may have had an effect is never
// called TRANSIENT.
func TestWebhook_NotIdempotent(t *testing.T) {
	for status, want := range map[int]raffsyncv1.OutcomeKind{
		200: delivered, 409: duplicate, 429: rateLimited, 408: transient,
		500: unknown, 502: unknown, 503: unknown, 504: unknown,
	} {
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		d := build(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET", "idempotent": false})
		if d.Traits().Idempotent {
			t.Fatal("Traits say idempotent")
		}
		if got := send(t, d); got.Kind != want || got.Status != status {
			t.Errorf("status %d makes %s, want %s", status, got.Kind, want)
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
