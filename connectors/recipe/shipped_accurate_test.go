package recipe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/recipe"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const signingSecret = "sign-4c1d77e0b2-accurate"

// accurateAt is the shipped recipe, by API token, with a user's settings, where account
// says which host has the database.
func accurateAt(t testing.TB, account string, settings map[string]any) connectors.Destination {
	t.Helper()
	given, err := json.Marshal(map[string]any{
		"recipe": "accurate-online", "settings": settings,
		"auth": map[string]any{
			"token": "env:TOKEN", "secret": "env:SECRET",
			"after": []any{map[string]any{"url": account + "/api/api-token.do", "require": "s", "variables": map[string]any{"host": "d.database.host"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := recipe.Factory(connectors.Options{
		Name: "accurate", Settings: given, AllowLoopback: true, Connections: &auth.Memory{},
		Secret: func(reference string) (string, error) {
			if reference == "env:SECRET" {
				return signingSecret, nil
			}
			return resolve(reference)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// accountOf is the account's API, apart from the database's, which is at the URL.
func accountOf(t testing.TB, url string) string {
	t.Helper()
	account := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"s": true, "d": {"database": {"id": 1, "host": %q}}}`, url)
	}))
	t.Cleanup(account.Close)
	return account.URL
}

// accurateCalls are those of the recipe's calls that differ in what is asked about them,
// and what a plain event holds for each. The others are those of a document, as the
// invoice; TestAccurate makes them all.
var accurateCalls = map[string]string{
	"sales-invoice.save":                   `"customer": {"id": "C-7"}, "charges": [{"name": "delivery", "amount": "10"}, {"name": "voucher", "amount": -3}]`,
	"item-adjustment.save-target-quantity": `"location": "MAIN"`,
	"customer.save":                        `"customer": {"id": "C-7", "name": "Ani"}`,
}

func accurateHarnesses(t *testing.T) map[string]connectortest.Harness {
	all := map[string]connectortest.Harness{}
	for call, more := range accurateCalls {
		all[call] = accurateHarness(t, call, more)
	}
	return all
}

func accurateHarness(t *testing.T, call, more string) connectortest.Harness {
	path := "/accurate/api/" + strings.ReplaceAll(call, ".save", "/save") + ".do"
	name := "number"
	if call == "customer.save" {
		name = "customerNo"
	}
	refused := func(name, text string, kind raffsyncv1.OutcomeKind, rule string, code string) connectortest.Answer {
		body, _ := json.Marshal(map[string]any{"s": false, "d": []string{text}})
		return connectortest.Answer{Name: name, Status: 200, Body: string(body), Want: connectors.Outcome{Kind: kind, Rule: rule, Code: code}}
	}
	saved := connectors.Outcome{Kind: delivered, Rule: "saved", ExternalID: "4711", Fields: map[string]string{"number": "A-1"}}
	switch call {
	case "item-adjustment.save-target-quantity":
		saved.Fields = nil
	case "sales-invoice.save": // of lines without ids
		saved.Fields["parts"], saved.Fields["parts_0"] = "1", ";"
	}
	const gone, long = `Barang "ITM-42" tidak ditemukan atau sudah dihapus`, "Nomor terlalu besar. Maksimal 30 karakter"
	h := connectortest.Harness{
		New: func(t testing.TB, url string) connectors.Destination {
			return accurateAt(t, accountOf(t, url), map[string]any{"bank": "1-1001", "adjustment_account": "5-1", "fee_account": "4-9", "warehouse": "Pusat"})
		},
		Secrets: []string{token, signingSecret},
		Step: func(d connectors.Destination, step *connectors.Step) {
			plan, err := d.(connectors.Planner).Plan(connectors.StepConfig{Name: "step", Call: call})
			if err != nil {
				t.Fatal(err)
			}
			step.Plan = plan
			step.Lookup = func(table, value string) (string, bool) { return table + "-" + value, true }
			if connectortest.Plain(step.Event) {
				step.Event.Data = fmt.Appendf(nil, `{"number": "1042", "date": "2026-11-25T23:30:00+07:00", "note": %q, "lines": [{"sku": "LATTE", "quantity": %s, "price": "3.50", "unit_cost": 1}], %s}`, connectortest.Canary, step.Event.References["order"], more)
			}
		},
		Success: connectortest.Answer{Status: 200, Body: `{"s": true, "d": ["berhasil disimpan"], "r": {"id": 4711}}`},
		Healthy: &connectortest.Answer{Status: 200, Body: `{"s": true, "d": [], "sp": {"page": 1}}`},
		Check: func(r *http.Request, body []byte, step connectors.Step) error {
			return checkAccurate(r, body, step, path, name)
		},
		Answers: []connectortest.Answer{
			{Name: "saved", Status: 200, Body: fmt.Sprintf(`{"s": true, "d": ["berhasil disimpan"], "r": {"id": 4711, %q: "A-1"}}`, name), Want: saved},
			refused("too fast", "Batas maksimal 8 request per detik dan 8 request paralel terlampaui", rateLimited, "limit", ""),
			refused("session", "Data Session Key tidak tepat", authExpired, "session", ""),
			refused("number twice", `Sudah ada data lain dengan Nomor "A-1"`, duplicate, "duplicate", ""),
			refused("locked", "Tanggal transaksi tidak dapat lebih kecil dari 01/11/2026", raffsyncv1.OutcomeKind_OUTCOME_KIND_PERIOD_CLOSED, "locked date", ""),
			refused("gone", gone, raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE, "gone", gone),
			refused("no stock", "Stok barang tidak mencukupi", raffsyncv1.OutcomeKind_OUTCOME_KIND_STOCK_CONFLICT, "stock", "Stok barang tidak mencukupi"),
			refused("refused", long, validation, "refused", long),
			{Name: "token", Status: 401, Body: `{"error": "invalid_token"}`, Want: connectors.Outcome{Kind: authExpired, Code: "invalid_token"}},
			{Name: "clock", Status: 401, Body: `{"s": false, "message": "X-Api-Timestamp difference more than 600 seconds"}`, Want: connectors.Outcome{Kind: authRevoked, Rule: "clock"}},
			{Name: "says nothing", Status: 200, Body: "", Want: connectors.Outcome{Kind: unknown, Rule: "neither yes nor no"}},
			{Name: "403", Status: 403, Want: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION}},
			{Name: "500", Status: 500, Want: connectors.Outcome{Kind: unknown}},
			{Name: "408", Status: 408, Want: connectors.Outcome{Kind: transient}},
			{Name: "418", Status: 418, Want: connectors.Outcome{Kind: unclassed}},
		},
	}
	if h.Repeatable = call == "item-adjustment.save-target-quantity"; !h.Repeatable {
		h.Questions, h.QuestionFound = accurateQuestions(name)
		h.CheckQuestion = func(r *http.Request, body []byte, _ connectors.Step) error {
			want := strings.Replace(path, "/save.do", "/detail.do", 1)
			if r.Method != http.MethodGet || len(body) > 0 || r.URL.Path != want || !isReference(r.URL.Query().Get(name), 30) {
				return fmt.Errorf("%s %s, %d bytes", r.Method, r.URL, len(body))
			}
			return signedByToken(r)
		}
	}
	return h
}

func accurateQuestions(name string) ([]connectortest.Question, func(*http.Request) connectortest.Question) {
	reference := raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE
	return []connectortest.Question{
		{Name: "none", Status: 200, Body: `{"s": false, "d": ["Data tidak ditemukan atau sudah dihapus"]}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: reference}},
		{Name: "another one", Status: 200, Body: fmt.Sprintf(`{"s": true, "d": {"id": 4, %q: "A-4"}}`, name), WantOutcome: connectors.Outcome{Kind: unknown}},
		{Name: "not what it looks like", Status: 200, Body: `{"s": true, "d": []}`, WantOutcome: connectors.Outcome{Kind: unknown}},
		{Name: "session", Status: 200, Body: `{"s": false, "d": ["Data Session Key tidak tepat"]}`, WantOutcome: connectors.Outcome{Kind: authExpired}},
		{Name: "another thing is gone", Status: 200, Body: `{"s": false, "d": ["Database tidak ditemukan"]}`, WantOutcome: connectors.Outcome{Kind: reference, Code: "Database tidak ditemukan"}},
		{Name: "404", Status: 404, WantOutcome: connectors.Outcome{Kind: unclassed}},
		{Name: "500", Status: 500, WantOutcome: connectors.Outcome{Kind: unknown}},
	}, func(r *http.Request) connectortest.Question {
		number := r.URL.Query().Get(name)
		fields := map[string]string{"number": number}
		if name == "number" {
			fields["parts"], fields["parts_0"] = "3", "8;9" // a line and an expense
		}
		return connectortest.Question{
			Name: "found", Status: 200, Body: fmt.Sprintf(`{"s": true, "d": {"id": 4711, %q: %q, "detailItem": [{"id": 8}], "detailExpense": [{"id": 9}]}}`, name, number), Want: connectors.Found,
			WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "4711", Fields: fields},
		}
	}
}

func signedByToken(r *http.Request) error {
	if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("X-Api-Timestamp") == "" || r.Header.Get("X-Api-Signature") == "" {
		return fmt.Errorf("headers %v", r.Header)
	}
	return nil
}

// checkAccurate looks at a request the way the platform does.
func checkAccurate(r *http.Request, body []byte, step connectors.Step, path, name string) error {
	var document map[string]any
	if err := json.Unmarshal(body, &document); err != nil {
		return err
	}
	number, _ := document[name].(string)
	switch {
	case r.Method != http.MethodPost || r.URL.Path != path || r.Header.Get("Content-Type") != "application/json":
		return fmt.Errorf("%s %s", r.Method, r.URL)
	case r.Header.Get("X-Injected") != "":
		return errors.New("a header was injected")
	case !strings.HasSuffix(path, "target-quantity.do") && !isReference(number, 30):
		return fmt.Errorf("%s is %q", name, number)
	case connectortest.Plain(step.Event) && strings.Contains(string(body), connectortest.Canary):
		return errors.New("the note is sent, which nobody asked for")
	}
	return signedByToken(r)
}
