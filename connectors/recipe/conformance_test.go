package recipe_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/recipe"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	delivered   = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient   = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown     = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	rateLimited = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	validation  = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	duplicate   = raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE
	authExpired = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED
	authRevoked = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	unclassed   = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	poison      = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON

	token = "tok-8f2b61d0a9-ledger"
)

// ledger is the recipe in testdata, changed.
func ledger(t testing.TB, change ...func(recipe map[string]any)) map[string]any {
	t.Helper()
	content, err := os.ReadFile("testdata/ledger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return readYAML(t, content, change...)
}

func readYAML(t testing.TB, content []byte, change ...func(map[string]any)) map[string]any {
	t.Helper()
	encoded, err := yaml.YAMLToJSON(content)
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(encoded, &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func options(t testing.TB, settings map[string]any) connectors.Options {
	t.Helper()
	encoded, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return connectors.Options{Name: "books", Settings: encoded, Secret: resolve, AllowLoopback: true}
}

func resolve(reference string) (string, error) {
	switch reference {
	case "env:TOKEN":
		return token, nil
	case "file:token":
		return token + "\n", nil // as files end
	}
	return "", fmt.Errorf("%s: is not set", reference)
}

func build(t testing.TB, settings map[string]any) connectors.Destination {
	t.Helper()
	d, err := recipe.Factory(options(t, settings))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// at puts a recipe's calls below a server on loopback.
func at(url string) func(map[string]any) {
	return func(r map[string]any) { r["url"] = url + "/v1" }
}

func settingsOf(r map[string]any) map[string]any {
	return map[string]any{"recipe": r, "settings": map[string]any{"token": "file:token"}}
}

func TestRecipe_Conformance(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New: func(t testing.TB, url string) connectors.Destination {
			return build(t, settingsOf(ledger(t, at(url))))
		},
		Secrets: []string{token},
		Step: func(_ connectors.Destination, step *connectors.Step) {
			step.Lookup = func(table, value string) (string, bool) { return table + "-" + value, true }
		},
		Success: connectortest.Answer{Status: 200, Body: `{"ok": true, "entry": {"id": 17, "number": "E-1"}}`},
		Healthy: &connectortest.Answer{Status: 200, Body: `{"ok": true}`},
		Check:   checkEntry,
		Answers: []connectortest.Answer{
			{
				Name: "booked", Status: 200, Body: `{"ok": true, "entry": {"id": 17, "number": "E-1"}}`,
				Want: connectors.Outcome{
					Kind: delivered, Rule: "booked", ExternalID: "17", URL: "https://ledger.example.com/entries/17",
					Fields: map[string]string{"number": "E-1", "label": "no. E-1"},
				},
			},
			{Name: "booked, and says no more", Status: 200, Body: `{"ok": true}`, Want: connectors.Outcome{Kind: delivered, Rule: "booked"}},
			{Name: "says nothing", Status: 204, Want: connectors.Outcome{Kind: unknown, Rule: "no word"}},
			{Name: "too fast", Status: 200, Body: `{"ok": false, "code": "too_fast", "wait": 2}`, Want: connectors.Outcome{Kind: rateLimited, Code: "too_fast", RetryAfter: 2 * time.Second}},
			{Name: "twice", Status: 200, Body: `{"ok": false, "code": "duplicate"}`, Want: connectors.Outcome{Kind: duplicate, Code: "duplicate"}},
			{Name: "refused", Status: 200, Body: `{"ok": false, "code": "bad_item", "field": "lines[0].item"}`, Want: connectors.Outcome{Kind: validation, Rule: "refused", Code: "bad_item", Field: "lines[0].item"}},
			{Name: "401", Status: 401, Want: connectors.Outcome{Kind: authRevoked, Rule: "status 401"}},
			{Name: "429", Status: 429, Header: map[string]string{"Retry-After": "3"}, Want: connectors.Outcome{Kind: rateLimited, RetryAfter: 3 * time.Second}},
			{Name: "500", Status: 500, Want: connectors.Outcome{Kind: unknown, Rule: "status 5xx, not idempotent"}},
			{Name: "408", Status: 408, Want: connectors.Outcome{Kind: transient, Rule: "status 408"}},
			{Name: "418", Status: 418, Want: connectors.Outcome{Kind: unclassed, Rule: "status 418"}},
		},
		Questions: []connectortest.Question{
			{Name: "there are none", Status: 200, Body: `{"ok": true, "entries": []}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
			{Name: "another one", Status: 200, Body: `{"ok": true, "entries": [{"id": 4, "number": "E-4"}]}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE}},
			{Name: "not what it looks like", Status: 200, Body: `{"entries": []}`, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "no list", Status: 200, Body: `{"ok": true`, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "refused", Status: 200, Body: `{"ok": false, "code": "bad"}`, WantOutcome: connectors.Outcome{Kind: validation, Code: "bad"}},
			{Name: "404", Status: 404, WantOutcome: connectors.Outcome{Kind: unclassed}},
			{Name: "500", Status: 500, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "429", Status: 429, Header: map[string]string{"Retry-After": "2"}, WantOutcome: connectors.Outcome{Kind: rateLimited, RetryAfter: 2 * time.Second}},
		},
		QuestionFound: func(r *http.Request) connectortest.Question {
			number := r.URL.Query().Get("number")
			return connectortest.Question{
				Name: "found", Status: 200, Body: fmt.Sprintf(`{"ok": true, "entries": [{"id": 3, "number": "E-3"}, {"id": 17, "number": %q}]}`, number), Want: connectors.Found,
				WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "17", URL: "https://ledger.example.com/entries/17", Fields: map[string]string{"number": number}},
			}
		},
		CheckQuestion: func(r *http.Request, body []byte, _ connectors.Step) error {
			if r.Method != http.MethodGet || len(body) > 0 || r.URL.Path != "/v1/entries" || !isReference(r.URL.Query().Get("number"), 30) {
				return fmt.Errorf("%s %s, %d bytes", r.Method, r.URL, len(body))
			}
			return authorised(r)
		},
	})
}

func isReference(text string, most int) bool {
	return len(text) >= 12 && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && (r < '0' || r > 'z')
	})
}

func authorised(r *http.Request) error {
	if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("X-Branch") != "main" {
		return fmt.Errorf("headers %v", r.Header)
	}
	return nil
}

// checkEntry looks at a request the way the platform does.
func checkEntry(r *http.Request, body []byte, step connectors.Step) error {
	var entry struct {
		Number, Reference, Note string
		Lines                   []struct {
			Item     string
			Quantity json.Number
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entry); err != nil {
		return err
	}
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/v1/branches/main/entries" || r.Header.Get("Content-Type") != "application/json":
		return fmt.Errorf("%s %s", r.Method, r.URL)
	case r.Header.Get("X-Injected") != "":
		return errors.New("a header was injected")
	case !isReference(entry.Number, 30) || !isReference(r.Header.Get("X-Event"), 20):
		return fmt.Errorf("number %q", entry.Number)
	case entry.Reference != step.Event.References["order"] || r.URL.Query().Get("source") != entry.Reference:
		return fmt.Errorf("reference %q", entry.Reference)
	case connectortest.Plain(step.Event) && (len(entry.Lines) != 1 || entry.Lines[0].Item != "sku-LATTE" || entry.Lines[0].Quantity != "2"):
		return fmt.Errorf("lines %+v", entry.Lines)
	case !strings.HasPrefix(r.UserAgent(), "raffsync/"):
		return fmt.Errorf("User-Agent is %q", r.UserAgent())
	}
	return authorised(r)
}
