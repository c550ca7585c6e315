package recipe_test

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/simulator/accurate"
)

// bill is an order of Take.app's or of the plain shape with so many lattes, and croissants
// where there are any, and a delivery where it costs something.
func bill(lattes, croissants int, delivery string) string {
	lines := fmt.Sprintf(`{"sku": "LATTE", "quantity": %d, "price": "3.50"}`, lattes)
	if croissants > 0 {
		lines += fmt.Sprintf(`, {"sku": "CROISSANT", "quantity": %d, "price": 2}`, croissants)
	}
	charges := ""
	if delivery != "" {
		charges = fmt.Sprintf(`, "charges": [{"name": "delivery", "amount": %q}]`, delivery)
	}
	return fmt.Sprintf(`{"number": "1042", "date": "2026-11-22T18:30:00Z", "customer": {"id": "C-7"}, "lines": [%s]%s}`, lines, charges)
}

func existing(r connectors.Receipt) func(*connectors.Step) {
	return func(s *connectors.Step) { s.Existing = &r }
}

// Documents are changed line by line, so that stock and totals are those of the last
// snapshot, however often an update is made.
func TestAccurate_Updates(t *testing.T) {
	s := newCompany(t, nil, nil)
	order := s.make("order", "sales-order.save", "order/9", bill(2, 1, "10"))
	invoice := s.make("invoice", "sales-invoice.save", "invoice/9", bill(2, 1, "10"))
	s.stocks(8, 9)
	same := func(name, call string, first connectors.Receipt, body, total string) connectors.Receipt {
		t.Helper()
		var r connectors.Receipt
		for range 2 { // as after an answer that was lost
			r = s.make(name, call, name+"/9", body, existing(first))
			if r.ExternalID != first.ExternalID {
				t.Errorf("%s: %+v, then %+v", name, first, r)
			}
			if want, _ := new(big.Rat).SetString(total); s.Documents(strings.TrimSuffix(call, ".save"))[0].Total.Cmp(want) != 0 {
				t.Errorf("%s comes to %s, want %s", name, s.Documents(strings.TrimSuffix(call, ".save"))[0].Total.FloatString(2), total)
			}
		}
		return r
	}
	same("order", "sales-order.save", order, bill(3, 2, "12"), "26.50")
	invoice = same("invoice", "sales-invoice.save", invoice, bill(3, 2, "12"), "26.50")
	s.stocks(7, 8)

	// A line less, and no delivery: gone once, and a second time is refused and changes nothing.
	fewer := s.make("invoice", "sales-invoice.save", "invoice/9", bill(1, 0, ""), existing(invoice))
	s.stocks(9, 10)
	s.book("sales-invoice", "3.50", "23/11/2026")
	if o := s.d.Send(t.Context(), s.step("invoice", "sales-invoice.save", "invoice/9", bill(1, 0, ""), existing(invoice))); o.Kind == delivered {
		t.Errorf("a line was deleted twice: %+v", o)
	}
	s.stocks(9, 10)

	// What was found by its number knows its lines, too.
	asked := s.d.(connectors.Reconciler).Reconcile(t.Context(), s.step("invoice", "sales-invoice.save", "invoice/9", bill(1, 0, "")))
	if asked.Finding != connectors.Found || asked.Outcome.Fields["parts_0"] != fewer.Fields["parts_0"] || fewer.Fields["parts_0"] == "" {
		t.Errorf("asked %+v, saved %+v", asked, fewer)
	}

	// A return moves back what it says now.
	back := s.make("refund", "sales-return.save", "refund/9", bill(1, 0, ""))
	s.stocks(10, 10)
	s.make("refund", "sales-return.save", "refund/9", strings.Replace(bill(1, 0, ""), `"quantity": 1`, `"quantity": 0.5`, 1), existing(back))
	if got := s.Stock("ITM-1"); got.Cmp(big.NewRat(19, 2)) != 0 {
		t.Errorf("stock %s", got.RatString())
	}
}

// What could be there twice afterwards is not sent: a person decides.
func TestAccurate_UpdatesThatAreRefused(t *testing.T) {
	s := newCompany(t, nil, nil)
	invoice := s.make("invoice", "sales-invoice.save", "invoice/9", bill(2, 0, ""))
	cut := connectors.Receipt{ExternalID: invoice.ExternalID, Fields: map[string]string{"number": invoice.Fields["number"], "parts": "900", "parts_0": invoice.Fields["parts_0"]}}
	brief := newCompany(t, nil, func(c *accurate.Config) { c.Brief = true })
	unknown := brief.make("invoice", "sales-invoice.save", "invoice/9", bill(2, 0, ""))
	for name, c := range map[string]struct {
		at   *company
		body string
		r    connectors.Receipt
	}{
		"a line more":       {s, bill(2, 1, ""), invoice},
		"a charge more":     {s, bill(2, 0, "10"), invoice},
		"too many lines":    {s, bill(2, 0, ""), cut},
		"from before":       {s, bill(2, 0, ""), connectors.Receipt{ExternalID: invoice.ExternalID}},
		"ids are not told":  {brief, bill(2, 0, ""), unknown},
		"a map of the user": {s, bill(2, 0, ""), invoice},
	} {
		plan := connectors.StepConfig{Name: "invoice", Call: "sales-invoice.save"}
		if name == "a map of the user" {
			plan.Map = []byte(`{"customerNo": "C", "detailItem": [{"itemNo": "ITM-1", "unitPrice": 1}]}`)
		}
		planned, err := s.d.(connectors.Planner).Plan(plan)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.at.d.Prepare(connectors.Step{
			Event:       &connectors.Event{Tenant: "kopi", Source: "shop", ID: "e-1", ContentType: "application/json", Data: []byte(c.body)},
			Destination: "accurate", Name: "invoice", Plan: planned, Effect: "invoice/9", Attempt: 1, Existing: &c.r,
			Lookup: func(table, value string) (string, bool) { target, ok := s.tables[table+"/"+value]; return target, ok },
		})
		var refused *connectors.PrepareError
		if !errors.As(err, &refused) || refused.Kind != validation {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.stocks(8, 10)
}
