package recipe_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/recipe"
)

// shipped is a recipe that ships, as the suite and the simulators see it.
type shipped struct {
	recipe      string
	settings    map[string]any // of the destination, but for the recipe's name
	connections connectors.Connections
	receipts    map[string]connectors.Receipt
	tables      map[string]string // what look-ups find; nil: TABLE-VALUE for each
}

func (s shipped) build(t testing.TB) connectors.Destination {
	t.Helper()
	settings := map[string]any{"recipe": s.recipe}
	for name, value := range s.settings {
		settings[name] = value
	}
	o := options(t, settings)
	o.Connections = s.connections
	d, err := recipe.Factory(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// complete gives a step its call's plan, look-ups and receipts; and, where data is a
// format, the suite's plain event that data, with the event's id and the canary in it.
func (s shipped) complete(t testing.TB, d connectors.Destination, step *connectors.Step, call, data string) {
	t.Helper()
	plan, err := d.(connectors.Planner).Plan(connectors.StepConfig{Name: "step", Call: call})
	if err != nil {
		t.Fatal(err)
	}
	step.Plan, step.Receipts, step.Outlet = plan, s.receipts, connectors.Outlet{Name: "mall", Location: time.UTC}
	step.Lookup = func(table, value string) (string, bool) {
		if s.tables == nil {
			return table + "-" + value, true
		}
		target, ok := s.tables[table+"/"+value]
		return target, ok
	}
	if data != "" && connectortest.Plain(step.Event) {
		step.Event.Data = fmt.Appendf(nil, data, step.Event.ID, connectortest.Canary)
	}
}

// prepared is a request of a call, for an effect.
func (s shipped) prepared(t testing.TB, d connectors.Destination, call, effect, data string, existing ...connectors.Receipt) connectors.Request {
	t.Helper()
	step := connectors.Step{
		Event:       &connectors.Event{Tenant: "kopi", Source: "shop", ID: effect, OccurredAt: time.Now(), Data: []byte(data)},
		Destination: "books", Effect: effect, Attempt: 1, Key: fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, call, effect, len(existing)))),
	}
	s.complete(t, d, &step, call, "")
	if len(existing) > 0 {
		step.Existing = &existing[0]
	}
	r, err := d.Prepare(step)
	if err != nil {
		t.Fatalf("%s of %s: %v", call, effect, err)
	}
	return r
}

// sent sends a call once, and wants it delivered.
func (s shipped) sent(t testing.TB, d connectors.Destination, call, effect, data string, existing ...connectors.Receipt) connectors.Outcome {
	t.Helper()
	o := d.Send(t.Context(), s.prepared(t, d, call, effect, data, existing...))
	if o.Kind != delivered {
		t.Fatalf("%s of %s: %s, %s %s", call, effect, o.Kind, o.Reason, o.Excerpt)
	}
	return o
}

// reconciled asks about a request.
func reconciled(t testing.TB, d connectors.Destination, r connectors.Request, want connectors.Finding) connectors.Reconciliation {
	t.Helper()
	got := d.(connectors.Reconciler).Reconcile(t.Context(), r)
	if got.Finding != want {
		t.Fatalf("the finding is %d, want %d: %s, %s", got.Finding, want, got.Kind, got.Reason)
	}
	return got
}

// Data of the shape that all recipes' maps read (recipes/README.md), with places for a
// number and a note.
const (
	neutralOrder = `{"number": %q, "note": %q, "date": "2026-11-24T10:41:10Z", "currency": "USD", "taxes_included": false,
"customer": {"id": "C-7", "name": "Ani Wijaya", "first_name": "Ani", "last_name": "Wijaya", "email": "Ani@example.com", "phone": "62812000"},
"lines": [{"sku": "LATTE", "name": "Latte ☕", "quantity": 3, "price": "3.335", "discount": "0.50", "tax": {"code": "VAT", "rate": "0.10", "amount": "0.95"}},
          {"sku": "MUG", "name": "Mug", "quantity": 1, "price": "7"}],
"charges": [{"name": "Delivery", "amount": "10.00", "tax": {"code": "VAT", "rate": "0.10", "amount": "1.00"}}]}`
	neutralRefund = `{"number": %q, "reason": %q, "date": "2026-11-24", "currency": "USD", "amount": "3.67",
"customer": {"id": "C-7", "name": "Ani Wijaya"},
"lines": [{"sku": "LATTE", "name": "Latte ☕", "quantity": 1, "price": "3.335", "tax": {"code": "VAT", "rate": "0.10", "amount": "0.33"}}]}`
	neutralCount    = `{"count": %q, "note": %q, "location": "MAIN", "lines": [{"sku": "LATTE", "quantity": 40}, {"sku": "MUG", "quantity": 0}]}`
	neutralCustomer = `{"customer": {"id": %q, "name": "Ani Wijaya", "first_name": "Ani", "last_name": %q, "email": "Ani@example.com"}}`
)

// of fills the places of such data.
func of(data, number string) string { return fmt.Sprintf(data, number, "no sugar") }

// harness has the conformance suite make a call, with such data; at puts the platform at a
// URL.
func (s shipped) harness(t *testing.T, call, data string, at func(url string) map[string]any, h connectortest.Harness) connectortest.Harness {
	h.New = func(t testing.TB, url string) connectors.Destination {
		there := s
		there.settings = at(url)
		return there.build(t)
	}
	h.Step = func(d connectors.Destination, step *connectors.Step) { s.complete(t, d, step, call, data) }
	return h
}

// remembered keeps what a request of the suite's last step is marked with: for questions
// whose URL does not hold the mark that they ask for.
func remembered(h *connectortest.Harness, mark func(body map[string]any) any) *atomic.Value {
	last, complete := &atomic.Value{}, h.Step
	h.Step = func(d connectors.Destination, step *connectors.Step) {
		complete(d, step)
		if r, err := d.Prepare(*step); err == nil {
			if o, err := decoded(d.(connectors.Previewer).Preview(r).Body); err == nil {
				last.Store(mark(o))
			}
		}
	}
	return last
}

// decoded is a body as JSON.
func decoded(body []byte) (o map[string]any, err error) {
	return o, json.Unmarshal(body, &o)
}
