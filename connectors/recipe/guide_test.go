package recipe_test

import (
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/recipe"
	ledgersim "raffsync/connectors/simulator/ledger"
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
	books := ledgersim.New(token)
	server := httptest.NewServer(books)
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
		if name == "order" {
			books.Silence()
		}
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
	if n, m := len(books.Entries("orders")), len(books.Entries("invoices")); n != 1 || m != 1 || books.Asked() != 1 {
		t.Errorf("%d orders, %d invoices, asked %d times", n, m, books.Asked())
	}
	if got := receipts["invoice"]; got.ExternalID != "1" || got.URL != "https://app.ledger.example/invoices/1" || got.Fields["number"] != "I-1" {
		t.Errorf("receipt %+v", got)
	}
	if total := books.Entries("invoices")[0]["total"]; total != 81000.0 {
		t.Errorf("total %v", total)
	}
}
