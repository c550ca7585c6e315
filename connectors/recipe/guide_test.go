package recipe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/recipe"
)

// guide is the YAML of GUIDE.md, one file of all its blocks.
func guide(t testing.TB) map[string]any {
	t.Helper()
	content, err := os.ReadFile("GUIDE.md")
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		file.WriteString(block[1])
	}
	return readYAML(t, []byte(file.String()))
}

// book is Ledger as the guide has it: it deduplicates nothing, refuses what it does not
// know, and forgets to answer when it is told to.
type book struct {
	mu      sync.Mutex
	entries map[string][]map[string]any // by collection
	silent  bool                        // the next POST has its effect, and no answer
	asked   int
}

func (b *book) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	collection, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	var sent map[string]any
	_ = json.NewDecoder(r.Body).Decode(&sent)
	answer := func(v map[string]any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case r.URL.Path == "/v1/me":
		answer(map[string]any{"ok": true})
	case r.Method == http.MethodGet:
		b.asked++
		found := []map[string]any{}
		for _, e := range b.entries[collection] {
			if e["reference"] == r.URL.Query().Get("reference") {
				found = append(found, e)
			}
		}
		answer(map[string]any{"ok": true, "items": found})
	case r.Method == http.MethodPut:
		answer(map[string]any{"ok": true, "item": map[string]any{"id": 3, "code": "C-" + key, "name": sent["name"]}})
	case collection == "orders" && sent["customer"] != "C-88", collection == "invoices" && sent["order"] != "O-1":
		answer(map[string]any{"ok": false, "code": "unknown", "field": "order"})
	default:
		n := len(b.entries[collection]) + 1
		sent["id"], sent["number"] = n, fmt.Sprintf("%c-%d", strings.ToUpper(collection)[0], n)
		b.entries[collection] = append(b.entries[collection], sent)
		if b.silent {
			b.silent = false
			panic(http.ErrAbortHandler)
		}
		answer(map[string]any{"ok": true, "item": sent})
	}
}

// guideSample is the sample of GUIDE.md.
func guideSample(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile("GUIDE.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(content)
	if found == nil {
		t.Fatal("the guide has no sample")
	}
	return string(found[1])
}

// The guide's YAML works as the guide says: the steps of the route against a server that
// loses answers and deduplicates nothing, with a look-up that misses first.
func TestGuide(t *testing.T) {
	ledger := &book{entries: map[string][]map[string]any{}}
	server := httptest.NewServer(ledger)
	defer server.Close()
	file := guide(t)
	settings := file["destinations"].(map[string]any)["ledger"].(map[string]any)
	settings["settings"] = map[string]any{"token": "env:TOKEN", "api": server.URL + "/v1"}
	d := build(t, settings)
	if err := d.(connectors.Checker).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := (recipe.Limits{Concurrency: 8, Rate: "8/s", Timeout: 5_000_000_000}); recipe.ReadLimits(options(t, settings).Settings) != want {
		t.Errorf("limits %+v", recipe.ReadLimits(options(t, settings).Settings))
	}

	tables := map[string]string{"CROISSANT": "4711"}
	receipts := map[string]connectors.Receipt{}
	for i, raw := range file["routes"].(map[string]any)["sales"].(map[string]any)["steps"].([]any) {
		written := raw.(map[string]any)
		name, call := written["name"].(string), written["call"].(string)
		effect, _ := written["effect"].(string)
		plan, err := d.(connectors.Planner).Plan(connectors.StepConfig{Name: name, Call: call})
		if err != nil {
			t.Fatal(err)
		}
		step := connectors.Step{
			Event: &connectors.Event{
				Tenant: "kopi", Source: "shop", ID: "order.updated/ord_9", Type: "order.updated", OrderingKey: "order/ord_9",
				References: map[string]string{"order": "1042"}, ContentType: "application/json", Data: []byte(guideSample(t)),
			},
			Destination: "ledger", Index: i, Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8),
			Name: name, Plan: plan, Effect: strings.ReplaceAll(effect, "${body.data.id}", "ord_9"), Receipts: receipts,
			Lookup: func(table, value string) (string, bool) {
				target, ok := tables[value]
				return target, ok && table == "sku"
			},
		}
		request, err := d.Prepare(step)
		var refused *connectors.PrepareError
		if errors.As(err, &refused) && name == "order" {
			if len(refused.Missing) != 1 || refused.Missing[0].Table != "sku" || refused.Missing[0].Value != "LATTE-OAT" {
				t.Errorf("missing %+v", refused.Missing)
			}
			tables["LATTE-OAT"] = "4712"
			request, err = d.Prepare(step)
		}
		if err != nil {
			t.Fatal(err)
		}
		ledger.silent = name == "order"
		o := d.Send(t.Context(), request)
		if name == "order" {
			if o.Kind != unknown {
				t.Fatalf("a lost answer is %+v", o)
			}
			r := d.(connectors.Reconciler).Reconcile(t.Context(), request)
			if r.Finding != connectors.Found {
				t.Fatalf("%+v", r)
			}
			o = r.Outcome
		}
		if o.Kind != delivered {
			t.Fatalf("%s: %+v", name, o)
		}
		receipts[name] = connectors.Receipt{ExternalID: o.ExternalID, URL: o.URL, Fields: o.Fields}
	}
	if n, m := len(ledger.entries["orders"]), len(ledger.entries["invoices"]); n != 1 || m != 1 || ledger.asked != 1 {
		t.Errorf("%d orders, %d invoices, asked %d times", n, m, ledger.asked)
	}
	if got := receipts["invoice"]; got.ExternalID != "1" || got.URL != "https://app.ledger.example/invoices/1" || got.Fields["number"] != "I-1" {
		t.Errorf("receipt %+v", got)
	}
	if total := ledger.entries["invoices"][0]["total"]; total != 81000.0 {
		t.Errorf("total %v", total)
	}
}
