package webhook_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"raffsync/connectors"
	"raffsync/connectors/rules"
	"raffsync/connectors/webhook"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	unknown = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	quota   = raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA
)

// A destination's own rules come before those that ship, and say what its platform
// means by status 200.
func TestWebhook_OwnRules(t *testing.T) {
	own := json.RawMessage(`[
		{"name": "fault", "status": "2xx", "body": {"$.Fault": {"exists": true}}, "kind": "VALIDATION", "code": "$.Fault.code", "reason": "the platform refuses it"},
		{"name": "day's quota", "status": 503, "headers": {"X-Quota": "day"}, "kind": "QUOTA", "retry_after": "X-Reset"},
		{"name": "known", "status": 409, "kind": "DELIVERED", "receipt": "$.existing"}
	]`)
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   connectors.Outcome
	}{
		{
			"Fault", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"Fault": {"code": 610}, "id": 5}`) },
			connectors.Outcome{Kind: validation, Rule: "fault", Code: "610", Status: 200, Reason: "200 OK: the platform refuses it (610)", Excerpt: `{"Fault": {"code": 610}, "id": 5}`},
		},
		{
			"FaultThatQuotesUs", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"Fault": {"code": "Bearer`+" "+bearer+`"}}`) },
			connectors.Outcome{Kind: validation, Rule: "fault", Code: "Bearer [redacted]", Status: 200, Reason: "200 OK: the platform refuses it (Bearer [redacted])"},
		},
		{
			"Success", func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"id": 5}`) },
			connectors.Outcome{Kind: delivered, Rule: "status 2xx", ExternalID: "5", Status: 200, Reason: "200 OK: accepted"},
		},
		{"Quota", func(w http.ResponseWriter) {
			w.Header().Set("X-Quota", "day")
			w.Header().Set("X-Reset", "90")
			w.WriteHeader(503)
		}, connectors.Outcome{Kind: quota, Rule: "day's quota", Status: 503, Reason: "503 Service Unavailable: day's quota", RetryAfter: 90 * time.Second}},
		{"QuotaThatDoesNotSay", func(w http.ResponseWriter) {
			w.Header().Set("X-Quota", "day")
			w.Header().Set("X-Reset", "soon")
			w.Header().Set("Retry-After", "99999999")
			w.WriteHeader(503)
		}, connectors.Outcome{Kind: quota, Rule: "day's quota", Status: 503, Reason: "503 Service Unavailable: day's quota", RetryAfter: time.Hour}},
		{"WhatIsThereAlready", func(w http.ResponseWriter) {
			w.WriteHeader(409)
			_, _ = io.WriteString(w, `{"existing": "INV-7"}`)
		}, connectors.Outcome{Kind: delivered, Rule: "known", ExternalID: "INV-7", Status: 409, Reason: "409 Conflict: known"}},
		{"BrokenOff", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "500")
			_, _ = io.WriteString(w, `{"id": 5, "Fau`)
		}, connectors.Outcome{Kind: unknown, Rule: "answer broke off", Status: 200, Reason: "200 OK: the answer broke off before what a rule looks for in it", Excerpt: `{"id": 5, "Fau`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.answer(w) }))
			defer receiver.Close()
			o := options(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET", "headers": map[string]string{"Authorization": "env:AUTHORIZATION"}})
			o.Rules = own
			d, err := webhook.Factory(o)
			if err != nil {
				t.Fatal(err)
			}
			got := send(t, d)
			if strings.Contains(got.Excerpt, bearer) {
				t.Error("a secret is in the excerpt")
			}
			if test.want.Excerpt == "" {
				got.Excerpt = ""
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFactory_RefusesRules(t *testing.T) {
	o := options(t, map[string]any{"url": "ftp://books.example", "secret": "env:SECRET"})
	o.Rules = json.RawMessage(`[{"name": "a", "kind": "NONE"}]`)
	_, err := webhook.Factory(o)
	var wrong *rules.Error
	if !errors.As(err, &wrong) || wrong.Path != "rules[0].kind" || !strings.Contains(err.Error(), "url: scheme") {
		t.Errorf("%v", err)
	}
}

// A million headers are not read to their end: what came of the request is not known.
func TestWebhook_MillionHeaders(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer connection.Close()
		_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\n")
		for range 1_000_000 {
			if _, err := buffer.WriteString("X-Fault: none\r\n"); err != nil {
				return
			}
		}
		_, _ = buffer.WriteString("\r\n")
		_ = buffer.Flush()
	}))
	defer receiver.Close()
	if o := send(t, build(t, map[string]any{"url": receiver.URL, "secret": "env:SECRET"})); o.Kind != unknown || o.Rule != "no answer" {
		t.Errorf("%+v", o)
	}
}
