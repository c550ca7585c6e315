package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"raffsync/connectors/simulator/accurate"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	takeappExample = "../../connectors/recipe/examples/takeapp-accurate-online.yaml"
	// takeappSecret is in the alphabet of URLs, as Take.app gives it.
	takeappSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw_-8="
	accurateToken   = "aat.test-token-0123456789"
	accurateSigning = "signing-secret-0123456789"
)

func accurateEnvironment() []string {
	return []string{"TAKEAPP_SECRET=" + takeappSecret, "ACCURATE_TOKEN=" + accurateToken, "ACCURATE_SECRET=" + accurateSigning}
}

// accurateAuth is that of the recipe's example, at a simulator.
func accurateAuth(at string) string {
	return fmt.Sprintf(`auth: {token: "env:ACCURATE_TOKEN", secret: "env:ACCURATE_SECRET", after: [{url: "%s/api/api-token.do", require: s, variables: {host: d.database.host}}]}`, at)
}

// serveAccurate is the simulator with the token of the tests, on loopback.
func serveAccurate(t testing.TB, c accurate.Config) (*accurate.Simulator, string) {
	t.Helper()
	c.Token, c.Secret = accurateToken, accurateSigning
	s, err := accurate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return s, server.URL
}

// takeappOrder is a snapshot of an order of two lattes and one of another product.
func takeappOrder(kind, id, number, other, payment, updated string) string {
	return fmt.Sprintf(`{"type": %q, "created_at": %q, "data": {"id": %q, "object": "order", "number": %q, "order_status": "confirmed", "payment_status": %q,
 "currency": "IDR", "items_amount": 8100000, "total_amount": 8500000, "created_at": "2026-11-22T18:30:00Z", "updated_at": %q,
 "customer": {"id": "cus_7", "name": "Ani"}, "line_items": [
  {"id": "l1", "product_id": "prod_1", "sku": "LATTE", "quantity": 2, "price": 2700000}, {"id": "l2", "product_id": "prod_2", "sku": %q, "quantity": 1, "price": 2700000}]}}`,
		kind, updated, id, number, payment, updated, other)
}

// Signed webhooks of Take.app become one order and one invoice at Accurate Online, by the
// configuration that ships as an example: whatever snapshots come, and though an answer is
// lost, stock moves once. An item that has no counterpart is one exception, and goes on once
// it has.
func TestProgram_TakeappToAccurate(t *testing.T) {
	t.Parallel()
	var lost atomic.Bool // the answer to the first invoice is
	sim, at := serveAccurate(t, accurate.Config{
		Fault: func(_ int, path string) accurate.Fault {
			if strings.HasSuffix(path, "/sales-invoice/save.do") && !lost.Swap(true) {
				return accurate.ResetAfter
			}
			return accurate.None
		},
		Items:     []accurate.Item{{No: "ITM-1", Name: "Latte", Stock: 100}, {No: "ITM-2", Name: "Croissant", Stock: 100}, {No: "ITM-42", Name: "Oat latte", Stock: 100}},
		Customers: []accurate.Customer{{No: "WALK-IN", Name: "Counter"}, {No: "C-7", Name: "Ani"}},
	})
	in := newInstallation(t)
	in.env = append(in.env, accurateEnvironment()...)
	if out := in.run("check", takeappExample); !strings.Contains(out, "right: 1 source, 1 destination, 1 route") {
		t.Errorf("check says\n%s", out)
	}
	example, err := os.ReadFile(takeappExample)
	if err != nil {
		t.Fatal(err)
	}
	const written = `auth: {token: "env:ACCURATE_TOKEN", secret: "env:ACCURATE_SECRET"}`
	if !strings.Contains(string(example), written) {
		t.Fatal("the example has another auth")
	}
	config := in.write("shop.yaml", strings.Replace(string(example), written, "timeout: 1s\n    "+accurateAuth(at), 1))
	if out := in.run("check", config, "--development", "--online", "accurate"); !strings.Contains(out, "accurate: the platform answers, and takes the credentials") {
		t.Errorf("check --online says\n%s", out)
	}
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	in.run("mappings", "import", "accurate", "sku", in.write("items.csv", "value,target\nLATTE,ITM-1\nCROISSANT,ITM-2\n"))
	in.run("mappings", "set", "accurate", "customer", "cus_7=C-7", "--reason", "our regular")

	s := signer(t, `{"scheme": "takeapp", "secrets": ["env:X"]}`, takeappSecret)
	hook := "http://" + in.http + "/hooks/takeapp"
	take := func(body, want string) {
		t.Helper()
		if got := posted(t, hook, s, body); got.Code != http.StatusOK || got.Status != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	take(takeappOrder("order.created", "ord_9", "1042", "CROISSANT", "pending", "2026-11-23T03:00:00Z"), "unrouted")
	take(takeappOrder("order.updated", "ord_9", "1042", "CROISSANT", "pending", "2026-11-23T03:00:01Z"), "unrouted")
	take(takeappOrder("order.updated", "ord_9", "1042", "CROISSANT", "paid", "2026-11-23T03:00:02Z"), "accepted")
	take(takeappOrder("order.updated", "ord_9", "1042", "CROISSANT", "paid", "2026-11-23T03:00:02Z"), "duplicate")
	take(takeappOrder("order.updated", "ord_9", "1042", "CROISSANT", "paid", "2026-11-23T03:00:03Z"), "accepted")
	db := in.database()
	done := func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }
	waitUntil(t, done, p.log.String)
	orders, invoices := sim.Documents("sales-order"), sim.Documents("sales-invoice")
	if len(orders) != 1 || len(invoices) != 1 {
		t.Fatalf("%d orders and %d invoices, want one of each\n%s", len(orders), len(invoices), in.run("story", "1042"))
	}
	line := invoices[0].Fields["detailItem"].([]any)[0].(map[string]any)
	if want := big.NewRat(85_000, 1); invoices[0].Total.Cmp(want) != 0 || invoices[0].Fields["transDate"] != "23/11/2026" || invoices[0].Fields["customerNo"] != "C-7" || line["salesOrderNumber"] != orders[0].Number {
		t.Errorf("the invoice is %+v of %s", invoices[0].Fields, invoices[0].Total.RatString())
	}
	stock := func(item string, want int64) {
		t.Helper()
		if got := sim.Stock(item); got.Cmp(big.NewRat(want, 1)) != 0 {
			t.Errorf("stock of %s is %s, want %d", item, got.RatString(), want)
		}
	}
	stock("ITM-1", 98)
	stock("ITM-2", 99)
	story := in.run("story", "1042")
	if n := query[int](t, db, fmt.Sprintf(`SELECT count(*) FROM timeline WHERE kind = %d`, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME)); n != 1 {
		t.Errorf("%d attempts of unknown outcome, want one, which was asked about", n)
	}
	for _, want := range []string{fmt.Sprint(orders[0].ID), fmt.Sprint(invoices[0].ID), "order/ord_9", "invoice/ord_9", "was there already"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story has no %q:\n%s", want, story)
		}
	}

	// An item without a counterpart.
	for i, number := range []string{"1043", "1044"} {
		take(takeappOrder("order.updated", "ord_"+number, number, "LATTE-OAT", "paid", fmt.Sprintf("2026-11-23T04:00:0%dZ", i)), "accepted")
	}
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT coalesce(sum(held), 0)::int FROM exceptions WHERE class = 'SKU_UNMAPPED' AND closed_at IS NULL`) == 2
	}, func() string { return "nothing is held\n" + p.log.String() })
	// Orders that are not paid yet are left out on purpose, and need nobody.
	if n := query[int](t, db, `SELECT count(*) FROM exceptions`); n != 1 {
		t.Errorf("%d exceptions, want one for the item:\n%s", n, in.run("exceptions"))
	}
	var gaps struct{ Gaps []toldGap }
	if err := json.Unmarshal([]byte(in.run("mappings", "gaps", "--json")), &gaps); err != nil || len(gaps.Gaps) != 1 || gaps.Gaps[0].Held != 2 {
		t.Errorf("gaps %+v, %v", gaps, err)
	}
	if n := len(sim.Documents("sales-order")); n != 1 {
		t.Errorf("%d orders: one was made of what misses an item", n)
	}
	in.run("mappings", "set", "accurate", "sku", "LATTE-OAT=ITM-42", "--reason", "new item")
	waitUntil(t, done, p.log.String)
	if a, b := len(sim.Documents("sales-order")), len(sim.Documents("sales-invoice")); a != 3 || b != 3 {
		t.Errorf("%d orders and %d invoices, want 3 of each", a, b)
	}
	stock("ITM-1", 94)
	stock("ITM-42", 98)
	if n := query[int](t, db, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 0 {
		t.Errorf("%d exceptions are still open", n)
	}
	if log := p.log.String(); strings.Contains(log, accurateToken) || strings.Contains(log, accurateSigning) || strings.Contains(log, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") {
		t.Error("a secret is in the log")
	}
}
