package recipe_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/recipe"
	"raffsync/connectors/simulator/accurate"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// company is a database of the Accurate simulator, and the shipped recipe's destination
// that sends to it.
type company struct {
	*accurate.Simulator
	t        *testing.T
	d        connectors.Destination
	tables   map[string]string // by table/value
	receipts map[string]connectors.Receipt
}

func newCompany(t *testing.T, settings map[string]any, change func(*accurate.Config)) *company {
	t.Helper()
	c := accurate.Config{
		Token: token, Secret: signingSecret, Rate: 1000, Parallel: 100,
		Items:     []accurate.Item{{No: "ITM-1", Name: "Latte", Stock: 10}, {No: "ITM-2", Name: "Croissant", Stock: 10}},
		Customers: []accurate.Customer{{No: "CUST-7", Name: "Ani"}, {No: "WALK-IN", Name: "Counter"}},
	}
	if change != nil {
		change(&c)
	}
	s, err := accurate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	all := map[string]any{"bank": "1-1001", "adjustment_account": "5-1", "fee_account": "4-9"}
	for name, value := range settings {
		all[name] = value
	}
	return &company{
		Simulator: s, t: t, d: accurateAt(t, server.URL, all), receipts: map[string]connectors.Receipt{},
		tables: map[string]string{"sku/LATTE": "ITM-1", "sku/CROISSANT": "ITM-2", "sku/prod_2": "ITM-2", "customer/C-7": "CUST-7"},
	}
}

// step prepares one that makes an effect of a payload.
func (c *company) step(name, call, effect, body string, change ...func(*connectors.Step)) connectors.Request {
	c.t.Helper()
	plan, err := c.d.(connectors.Planner).Plan(connectors.StepConfig{Name: name, Call: call})
	if err != nil {
		c.t.Fatal(err)
	}
	s := connectors.Step{
		Event:       &connectors.Event{Tenant: "kopi", Source: "shop", ID: "e-1", Type: "order.paid", OrderingKey: "order/9", ContentType: "application/json", Data: []byte(body)},
		Destination: "accurate", Name: name, Plan: plan, Effect: effect, Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8), Receipts: c.receipts,
		Lookup: func(table, value string) (string, bool) {
			target, ok := c.tables[table+"/"+value]
			return target, ok
		},
	}
	for _, change := range change {
		change(&s)
	}
	r, err := c.d.Prepare(s)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	return r
}

// make sends one that succeeds, and keeps its receipt.
func (c *company) make(name, call, effect, body string, change ...func(*connectors.Step)) connectors.Receipt {
	c.t.Helper()
	o := c.d.Send(c.t.Context(), c.step(name, call, effect, body, change...))
	if o.Kind != delivered {
		c.t.Fatalf("%s: %+v", name, o)
	}
	c.receipts[name] = connectors.Receipt{ExternalID: o.ExternalID, URL: o.URL, Fields: o.Fields}
	return c.receipts[name]
}

// book checks the only document of a kind.
func (c *company) book(kind, total, date string) accurate.Document {
	c.t.Helper()
	all := c.Documents(kind)
	if len(all) != 1 {
		c.t.Fatalf("%d documents of %s", len(all), kind)
	}
	want, _ := new(big.Rat).SetString(total)
	if all[0].Total.Cmp(want) != 0 || all[0].Fields["transDate"] != date {
		c.t.Errorf("%s: total %s of %v, want %s of %s", kind, all[0].Total.FloatString(4), all[0].Fields["transDate"], total, date)
	}
	return all[0]
}

func (c *company) stocks(latte, croissant int64) {
	c.t.Helper()
	if a, b := c.Stock("ITM-1"), c.Stock("ITM-2"); a.Cmp(big.NewRat(latte, 1)) != 0 || b.Cmp(big.NewRat(croissant, 1)) != 0 {
		c.t.Errorf("stock %s and %s, want %d and %d", a.RatString(), b.RatString(), latte, croissant)
	}
}

// A paid order of 2026-11-23 in Jakarta: 2 × 3.50 − 0.50 and 1 × 0.001, delivery 10, voucher 3.
const (
	plainOrder = `{"number": "1042", "date": "2026-11-22T18:30:00Z", "customer": {"id": "C-7", "name": "Ani"}, "taxes_included": true,
 "lines": [{"sku": "LATTE", "quantity": 2, "price": "3.50", "discount": 0.5}, {"sku": "CROISSANT", "quantity": 1, "price": 0.001}],
 "charges": [{"name": "delivery", "amount": "10"}, {"name": "voucher", "amount": -3}]}`
	takeappOrder = `{"type": "order.updated", "created_at": "2026-11-23T10:41:10Z", "data": {"id": "ord_9", "object": "order", "number": "1042",
 "payment_status": "paid", "created_at": "2026-11-22T18:30:00Z", "updated_at": "2026-11-23T10:41:10Z", "currency": "IDR", "items_amount": 8100000, "total_amount": 9000000,
 "customer": {"id": "C-7", "name": "Ani", "phone": "62812"}, "line_items": [
  {"id": "l1", "product_id": "prod_1", "sku": "LATTE", "quantity": 2, "price": 2700000}, {"id": "l2", "product_id": "prod_2", "sku": null, "quantity": 1, "price": 2700000}]}}`
)

// All that the recipe does, in both shapes, at a platform that knows what it allows.
func TestAccurate(t *testing.T) {
	for source, c := range map[string]struct{ order, total, back string }{
		"order":   {plainOrder, "13.501", "3.501"},
		"takeapp": {takeappOrder, "90000", "81000"},
	} {
		t.Run(source, func(t *testing.T) {
			s := newCompany(t, map[string]any{"source": source}, nil)
			if err := s.d.(connectors.Checker).Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			order := s.make("order", "sales-order.save", "order/9", c.order)
			s.stocks(10, 10)
			invoice := s.make("invoice", "sales-invoice.save", "invoice/9", c.order)
			s.stocks(8, 9) // once: neither the order nor what follows moves it
			made := s.book("sales-invoice", c.total, "23/11/2026")
			if line := made.Fields["detailItem"].([]any)[1].(map[string]any); line["salesOrderNumber"] != order.Fields["number"] || line["itemNo"] != "ITM-2" {
				t.Errorf("line %v, of order %v", line, order)
			}
			if made.Fields["customerNo"] != "CUST-7" || made.Fields["poNumber"] != "1042" || made.Number != invoice.Fields["number"] || !isReference(made.Number, 30) {
				t.Errorf("invoice %+v, receipt %+v", made, invoice)
			}
			s.book("sales-order", c.total, "23/11/2026")

			paid := strings.Replace(c.order, `"number"`, `"amount": "`+c.total+`", "number"`, 1)
			s.make("payment", "sales-receipt.save", "payment/9", paid)
			s.book("sales-receipt", c.total, "23/11/2026")
			s.make("refund", "sales-return.save", "refund/9", c.order)
			s.stocks(10, 10)
			if back := s.book("sales-return", c.back, "23/11/2026"); back.Fields["returnType"] != "INVOICE" || back.Fields["invoiceNumber"] != made.Number {
				t.Errorf("return %v", back.Fields)
			}

			// A customer, whom the next order is of.
			first := s.make("customer", "customer.save", "customer/8", c.order)
			renamed := strings.ReplaceAll(c.order, `"Ani"`, `"Ani Wijaya"`)
			again := s.make("customer", "customer.save", "customer/8", renamed, func(s *connectors.Step) { s.Existing = &first })
			all := s.Documents("customer")
			if last := all[len(all)-1]; again.ExternalID != first.ExternalID || last.Fields["name"] != "Ani Wijaya" || last.Number != first.Fields["number"] {
				t.Errorf("customer %+v, then %+v: %+v", first, again, last)
			}
			s.make("order", "sales-order.save", "order/10", c.order)
			if last := s.Documents("sales-order")[1]; last.Fields["customerNo"] != first.Fields["number"] {
				t.Errorf("the order is of %v", last.Fields["customerNo"])
			}
		})
	}
	t.Run("stock", func(t *testing.T) {
		s := newCompany(t, nil, nil)
		const movement = `{"date": "2026-11-23", "lines": [{"sku": "LATTE", "quantity": -2.5}, {"sku": "CROISSANT", "quantity": 3, "unit_cost": "1.25"}]}`
		s.make("move", "item-adjustment.save", "move/1", movement)
		if got := s.Stock("ITM-1"); got.Cmp(big.NewRat(15, 2)) != 0 {
			t.Errorf("stock %s", got.RatString())
		}
		count := `{"lines": [{"sku": "LATTE", "quantity": 4}, {"sku": "CROISSANT", "quantity": 0}]}`
		s.make("count", "item-adjustment.save-target-quantity", "count/1", count)
		s.make("count", "item-adjustment.save-target-quantity", "count/1", count)
		s.stocks(4, 0)
	})
}

// What the platform refuses, and what the recipe makes of it.
func TestAccurate_Refusals(t *testing.T) {
	s := newCompany(t, map[string]any{"walk_in": "WALK-IN"}, func(c *accurate.Config) { c.LockedBefore = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) })
	for name, c := range map[string]struct {
		body string
		kind raffsyncv1.OutcomeKind
		rule string
		code string
	}{
		"AnItemThatIsGone":  {strings.Replace(plainOrder, `"CROISSANT"`, `"OLD"`, 1), raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE, "gone", `Barang "ITM-9" tidak ditemukan atau sudah dihapus`},
		"ALockedPeriod":     {strings.Replace(plainOrder, "2026-11-22", "2026-10-22", 1), raffsyncv1.OutcomeKind_OUTCOME_KIND_PERIOD_CLOSED, "locked date", ""},
		"NoPrice":           {strings.Replace(plainOrder, `"price": 0.001`, `"x": 0`, 1), validation, "refused", "Baris 2: Harga harus diisi"},
		"Take.app'sPayload": {takeappOrder, validation, "", ""}, // where the setting says nothing of it
	} {
		t.Run(name, func(t *testing.T) {
			s.tables["sku/OLD"] = "ITM-9"
			plan, err := s.d.(connectors.Planner).Plan(connectors.StepConfig{Call: "sales-order.save"})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.d.Prepare(connectors.Step{
				Event: &connectors.Event{Tenant: "kopi", ID: "e", Data: []byte(c.body)}, Destination: "accurate", Effect: "order/" + name, Plan: plan,
				Lookup: func(table, value string) (string, bool) { target, ok := s.tables[table+"/"+value]; return target, ok },
			})
			var refused *connectors.PrepareError
			if errors.As(err, &refused) {
				if refused.Kind != c.kind {
					t.Errorf("%+v", refused)
				}
				return
			}
			if o := s.d.Send(t.Context(), r); o.Kind != c.kind || c.rule != "" && o.Rule != c.rule || c.code != "" && o.Code != c.code {
				t.Errorf("%+v", o)
			}
		})
	}
	if n := len(s.Documents("sales-order")); n != 0 {
		t.Errorf("%d orders of what was refused", n)
	}
	// Whoever is not in the table is the walk-in customer.
	s.make("order", "sales-order.save", "order/1", strings.Replace(plainOrder, `"customer": {"id": "C-7", "name": "Ani"},`, "", 1))
	if got := s.Documents("sales-order")[0].Fields["customerNo"]; got != "WALK-IN" {
		t.Errorf("customer %v", got)
	}
	number := s.receipts["order"].Fields["number"]
	s.Close(number)
	if o := s.d.Send(t.Context(), s.step("invoice", "sales-invoice.save", "invoice/1", plainOrder)); o.Kind != validation || o.Rule != "document closed" {
		t.Errorf("%+v", o)
	}
}

// What lacks something is never a document that lacks it too: the platform would take one
// for a quantity, and today for a date.
func TestAccurate_Lacking(t *testing.T) {
	for source, c := range map[string]struct {
		order string
		names []string
	}{
		"order":   {plainOrder, []string{"date", "customer", "lines", "sku", "quantity", "price"}},
		"takeapp": {takeappOrder, []string{"data", "created_at", "customer", "line_items", "product_id", "quantity", "price", "total_amount"}},
	} {
		s := newCompany(t, map[string]any{"source": source}, nil)
		for _, call := range []string{"sales-order.save", "sales-invoice.save", "sales-return.save"} {
			plan, err := s.d.(connectors.Planner).Plan(connectors.StepConfig{Call: call})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range c.names {
				var refused *connectors.PrepareError
				_, err := s.d.Prepare(connectors.Step{
					Event: &connectors.Event{Tenant: "kopi", ID: "e", Data: []byte(strings.ReplaceAll(c.order, `"`+name+`"`, `"x-`+name+`"`))}, Destination: "accurate", Effect: "order/1", Plan: plan,
					Lookup: func(table, value string) (string, bool) { return table + value, true },
				})
				if !errors.As(err, &refused) || refused.Kind != validation || !strings.HasPrefix(refused.Field, "map.") {
					t.Errorf("%s of %s without %s: %v", call, source, name, err)
				}
			}
		}
	}
}

// Answers that are lost, in every call that makes a document: it is found, and what is not
// there is surely absent.
func TestAccurate_Asking(t *testing.T) {
	var fault accurate.Fault
	s := newCompany(t, nil, func(c *accurate.Config) {
		c.Fault = func(int, string) (f accurate.Fault) { f, fault = fault, accurate.None; return f }
	})
	s.make("invoice", "sales-invoice.save", "invoice/0", plainOrder)
	paid := strings.Replace(plainOrder, `"number"`, `"amount": 13.501, "number"`, 1)
	for _, call := range []string{"sales-order.save", "sales-invoice.save", "sales-return.save", "sales-receipt.save", "item-adjustment.save", "customer.save"} {
		r := s.step("", call, "effect/1", paid)
		for _, lost := range []accurate.Fault{accurate.Unavailable, accurate.Reset} {
			fault = lost
			if o := s.d.Send(t.Context(), r); o.Kind != unknown {
				t.Errorf("%s, before its effect: %+v", call, o)
			}
			if found := s.d.(connectors.Reconciler).Reconcile(t.Context(), r); found.Finding != connectors.Absent {
				t.Errorf("%s: %+v", call, found)
			}
		}
		fault = accurate.ResetAfter
		if o := s.d.Send(t.Context(), r); o.Kind != unknown {
			t.Errorf("%s: %+v", call, o)
		}
		found := s.d.(connectors.Reconciler).Reconcile(t.Context(), r)
		if found.Finding != connectors.Found || found.Outcome.ExternalID == "" || found.Outcome.Fields["number"] == "" {
			t.Errorf("%s: %+v", call, found)
		}
		// Sent again all the same, it is refused: no second one.
		if o := s.d.Send(t.Context(), r); o.Kind != duplicate {
			t.Errorf("%s: %+v", call, o)
		}
		if kind := strings.TrimSuffix(call, ".save"); kind != "customer" && kind != "sales-invoice" && len(s.Documents(kind)) != 1 {
			t.Errorf("%d of %s", len(s.Documents(kind)), kind)
		}
		fault = accurate.SessionExpired
		if o := s.d.Send(t.Context(), r); o.Kind != authExpired {
			t.Errorf("%s: %+v", call, o)
		}
	}
}

// A person agrees; then the token yields database, host and session, and a new session
// where the platform forgets one.
func TestAccurate_OAuth(t *testing.T) {
	sim, err := accurate.New(accurate.Config{
		OAuth: &accurate.OAuth{ClientID: "shop", ClientSecret: "client-secret-0123", Code: "code-1"},
		Items: []accurate.Item{{No: "ITM-1"}, {No: "ITM-2"}}, Customers: []accurate.Customer{{No: "CUST-7", Name: "Ani"}},
		Fault: func(n int, _ string) accurate.Fault {
			if n == 2 {
				return accurate.SessionExpired
			}
			return accurate.None
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	after := func(path, variables string) string {
		return `{"method": "GET", "url": "` + server.URL + path + `", "require": "s", "variables": ` + variables + `}`
	}
	store := &auth.Memory{}
	d, err := recipe.Factory(connectors.Options{
		Name: "accurate", AllowLoopback: true, Connections: store,
		Settings: json.RawMessage(`{"recipe": "accurate-online", "auth": {"kind": "oauth2_authorization_code", "client_id": "shop", "client_secret": "env:CLIENT",
			"token_url": "` + server.URL + `/oauth/token", "after": [` + after("/api/db-list.do", `{"database": "d.0.id"}`) + "," +
			after("/api/open-db.do?id={database}", `{"host": "host", "session": "session"}`) + `]}}`),
		Secret: func(string) (string, error) { return "client-secret-0123", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.(connectors.Checker).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "AUTH_REVOKED") {
		t.Errorf("before anybody agreed: %v", err)
	}
	connector := d.(auth.Authenticated).Authenticator().(auth.Connector)
	consent, err := connector.Consent("http://127.0.0.1:8080/back")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(consent.URL, "https://account.accurate.id/oauth/authorize?") || !strings.Contains(consent.URL, "sales_invoice_save") {
		t.Errorf("people are sent to %s", consent.URL)
	}
	connection, err := connector.Exchange(t.Context(), consent, "code-1")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := store.Claim(t.Context(), 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(t.Context(), claim, connection); err != nil {
		t.Fatal(err)
	}
	s := &company{Simulator: sim, t: t, d: d, receipts: map[string]connectors.Receipt{}, tables: map[string]string{"sku/LATTE": "ITM-1", "sku/CROISSANT": "ITM-2", "customer/C-7": "CUST-7"}}
	plain := strings.Replace(plainOrder, `{"name": "delivery", "amount": "10"}, `, "", 1)
	s.make("order", "sales-order.save", "order/1", plain)
	r := s.step("order", "sales-order.save", "order/2", plain)
	if o := d.Send(t.Context(), r); o.Kind != authExpired {
		t.Errorf("a session that is over: %+v", o)
	}
	if o := d.Send(t.Context(), r); o.Kind != delivered {
		t.Errorf("with a new one: %+v", o)
	}
	sim.Revoke()
	if o := d.Send(t.Context(), r); o.Kind != authExpired {
		t.Errorf("a token that was revoked: %+v", o)
	}
	if o := d.Send(t.Context(), r); o.Kind != authRevoked {
		t.Errorf("and can't be renewed: %+v", o)
	}
}
