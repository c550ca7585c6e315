package chat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// A chat keeps the promises of a destination. It takes notices alone, of which the suite's
// plain event is made; a request is told by the subject.
func TestConformance(t *testing.T) {
	said := func(body []byte) (subject, text string) {
		var m struct{ Text string }
		_ = json.Unmarshal(body, &m)
		subject, text, _ = strings.Cut(m.Text, "\n\n")
		return subject, text
	}
	answer := func(status int, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: fmt.Sprint(status), Status: status, Body: "said of " + token, Want: connectors.Outcome{Kind: kind}}
	}
	connectortest.Run(t, connectortest.Harness{
		New: func(t testing.TB, url string) connectors.Destination {
			d, err := build(t, url+"/services/"+token, true)
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Secrets: []string{token},
		Step: func(_ connectors.Destination, step *connectors.Step) {
			if connectortest.Plain(step.Event) {
				step.Event.Data, _ = json.Marshal(connectors.Notice{Subject: step.Key, Text: "No mapping for ☕ “LATTE” " + connectortest.Canary})
			}
		},
		Key: func(_ *http.Request, body []byte) string { subject, _ := said(body); return subject },
		Check: func(r *http.Request, body []byte, _ connectors.Step) error {
			if _, text := said(body); r.Method != http.MethodPost || r.URL.Path != "/services/"+token || !strings.Contains(text, "☕ “LATTE”") {
				return errors.New("another message")
			}
			return nil
		},
		Answers: []connectortest.Answer{
			answer(200, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED), answer(204, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED),
			answer(408, raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT), answer(503, raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT),
			answer(429, raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED), answer(404, raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION),
			answer(418, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED),
		},
	})
}
