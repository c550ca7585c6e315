package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/webhook"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var questions = []connectortest.Question{
	{
		Name: "200", Status: 200, Body: `{"id": "books-17"}`, Header: header("Location", "https://books.example/orders/17"), Want: connectors.Found,
		WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "books-17", URL: "https://books.example/orders/17"},
	},
	{Name: "204", Status: 204, Want: connectors.Found, WantOutcome: outcome(delivered, "")},
	{Name: "404", Status: 404, Body: `{"error": {"code": "no_effect"}}`, Want: connectors.Absent, WantOutcome: outcome(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED, "")},
	{Name: "410", Status: 410, Want: connectors.Absent, WantOutcome: outcome(raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED, "")},
	{Name: "304", Status: 304, WantOutcome: outcome(validation, "")},
	{Name: "400", Status: 400, Body: `{"code": "bad_id"}`, WantOutcome: named(validation, "", "bad_id", "")},
	{Name: "401", Status: 401, WantOutcome: outcome(raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED, "")},
	{Name: "405", Status: 405, WantOutcome: outcome(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED, "")},
	{Name: "409", Status: 409, WantOutcome: outcome(transient, "")},
	{Name: "429 in 2 s", Status: 429, Header: header("Retry-After", "2"), WantOutcome: later(rateLimited, "", 2*time.Second)},
	{Name: "429 absurd", Status: 429, Header: header("Retry-After", "99999999999999999999"), WantOutcome: later(rateLimited, "", time.Hour)},
	{Name: "503", Status: 503, WantOutcome: outcome(transient, "")},
}

// checkQuestion looks at a question the way a receiver does.
func checkQuestion(r *http.Request, body []byte, step connectors.Step) error {
	for _, secret := range []string{signingSecret, previousSecret} {
		receiver, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return err
		}
		if err := receiver.Verify(body, r.Header); err != nil {
			return err
		}
	}
	switch {
	case r.Method != http.MethodGet || len(body) > 0:
		return fmt.Errorf("%s with %d bytes", r.Method, len(body))
	case r.URL.Path != "/hooks/"+urlToken+"/"+step.Key:
		return errors.New("the path does not name the request")
	case r.URL.Query().Get("event") != step.Event.ID || r.URL.Query().Get("token") != queryToken:
		return errors.New("the query does not name the event")
	case r.Header.Get("Webhook-Id") != step.Key || r.Header.Get("Authorization") != "Bearer "+bearer || r.Header.Get("X-Shop") != "kopi":
		return fmt.Errorf("headers %v", r.Header)
	}
	return nil
}

// Whatever an event's id is, it stays in its place.
func TestWebhook_AsksForNothingElse(t *testing.T) {
	for id, want := range map[string]string{
		"order/1042/created":   "/has/order%2F1042%2Fcreated/of?e=order%2F1042%2Fcreated",
		"a?b#c&d=e {id}":       "/has/a%3Fb%23c&d=e%20%7Bid%7D/of?e=a%3Fb%23c%26d%3De+%7Bid%7D",
		"../../admin":          "/has/..%2F..%2Fadmin/of?e=..%2F..%2Fadmin",
		"..":                   "",
		"注文☕":                  "/has/%E6%B3%A8%E6%96%87%E2%98%95/of?e=%E6%B3%A8%E6%96%87%E2%98%95",
		"x\r\nHost: elsewhere": "/has/x%0D%0AHost:%20elsewhere/of?e=x%0D%0AHost%3A+elsewhere",
	} {
		var got []string
		receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.RequestURI) }))
		d := build(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET", "idempotent": false, "ask": map[string]string{"url": receiver.URL + "/has/{event_id}/of?e={event_id}"}})
		s := step()
		s.Event.ID = id
		request, err := d.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		r := d.(connectors.Reconciler).Reconcile(t.Context(), request)
		receiver.Close()
		switch {
		case want == "":
			if len(got) != 0 || r.Finding != connectors.CannotTell || r.Kind != poison {
				t.Errorf("%q: asked %q, found %d", id, got, r.Finding)
			}
		case len(got) != 1 || got[0] != want:
			t.Errorf("%q asks %q, want %s", id, got, want)
		}
	}
}

// What cannot be asked says so by its type: the dispatcher asks nobody else.
func TestFactory_AsksOnlyWhereToldTo(t *testing.T) {
	settings := map[string]any{"url": "https://books.example/hooks", "secret": "env:SECRET"}
	if _, can := build(t, settings).(connectors.Reconciler); can {
		t.Error("a webhook without ask can be asked")
	}
	settings["ask"] = map[string]string{"url": "https://books.example/hooks/{id}"}
	if _, can := build(t, settings).(connectors.Reconciler); !can {
		t.Error("a webhook with ask cannot")
	}
	foreign := build(t, settings).(connectors.Reconciler).Reconcile(t.Context(), strings.NewReader("?"))
	if foreign.Finding != connectors.CannotTell || foreign.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON {
		t.Errorf("a foreign request: %+v", foreign)
	}
}

// A 2xx in which the destination's own rules see a fault is not the receiver's word that
// it has anything.
func TestWebhook_AFaultInsideAnAnswerProvesNothing(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"ok": false, "id": "books-17"}`)
	}))
	defer receiver.Close()
	o := options(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET", "ask": map[string]string{"url": receiver.URL + "/{id}"}})
	o.Rules = json.RawMessage(`[{"name": "a fault", "status": 200, "body": {"$.ok": false}, "kind": "VALIDATION"}]`)
	d, err := webhook.Factory(o)
	if err != nil {
		t.Fatal(err)
	}
	request, err := d.Prepare(step())
	if err != nil {
		t.Fatal(err)
	}
	r := d.(connectors.Reconciler).Reconcile(t.Context(), request)
	if r.Finding != connectors.CannotTell || r.Rule != "a fault" {
		t.Errorf("found %d by %q", r.Finding, r.Rule)
	}
}
