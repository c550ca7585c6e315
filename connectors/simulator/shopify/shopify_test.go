package shopify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type shop struct {
	*Simulator
	t       *testing.T
	url     string
	version string
	seconds atomic.Int64
}

func newShop(t *testing.T, change func(*Config)) *shop {
	o := &shop{t: t, version: "2026-04"}
	begin := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	c := Config{
		Token: "shpat_1", Variants: []Variant{{"11", "LATTE", "3.50", map[string]int64{"1": 10}}},
		Now: func() time.Time { return begin.Add(time.Duration(o.seconds.Load()) * time.Second) },
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	o.Simulator, o.url = s, server.URL
	return o
}

func (s *shop) send(query string, variables object) (*http.Response, error) {
	s.t.Helper()
	body, err := json.Marshal(object{"query": query, "variables": variables})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/admin/api/"+s.version+"/graphql.json", strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Shopify-Access-Token", "shpat_1")
	return http.DefaultClient.Do(r)
}

func (s *shop) ask(query string, variables object) object {
	s.t.Helper()
	response, err := s.send(query, variables)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		s.t.Fatalf("%s: %s", response.Status, text)
	}
	return o
}

// order asks for one with these lines.
func (s *shop) order(lines ...any) object {
	s.t.Helper()
	return s.ask(`mutation M($order: OrderCreateOrderInput!, $options: OrderCreateOptionsInput) { made: orderCreate(order: $order, options: $options) {
		order { id name ...Total } userErrors { code message field } } }
		fragment Total on Order { totalPriceSet { shopMoney { amount currencyCode } } }`,
		object{"order": object{"tags": []any{"effect-1"}, "lineItems": lines}, "options": object{"inventoryBehaviour": "DECREMENT_IGNORING_POLICY"}})
}

func TestSimulator_Orders(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	latte := object{"variantId": "gid://shopify/ProductVariant/11", "quantity": 2}
	custom := object{"title": "Gift", "quantity": 1, "priceSet": object{"shopMoney": object{"amount": "1.10", "currencyCode": "USD"}}}
	o := s.order(latte, custom)
	if got := inner(o, "data", "made", "order", "totalPriceSet", "shopMoney")["amount"]; got != "8.10" {
		t.Fatalf("%v", o)
	}
	if n := s.Stock("11", "1"); n != 8 {
		t.Errorf("stock %d, want 8", n)
	}
	s.order(latte)
	if n := len(s.Orders()); n != 2 {
		t.Errorf("%d orders: nothing here is deduplicated", n)
	}
	tagged := s.ask(`query($q: String!) { orders(first: 5, query: $q) { nodes { id tags } } }`, object{"q": "tag:'effect-1'"})
	none := s.ask(`{ orders(first: 5, query: "tag:effect-2") { edges { node { id } } } }`, nil)
	if n, m := len(list(inner(tagged, "data", "orders"), "nodes")), len(list(inner(none, "data", "orders"), "edges")); n != 2 || m != 0 {
		t.Errorf("%d and %d, want 2 and 0", n, m)
	}
	for want, line := range map[string]object{
		"Variant does not exist": {"variantId": "gid://shopify/ProductVariant/99", "quantity": 1},
		"Quantity":               {"variantId": "gid://shopify/ProductVariant/11", "quantity": 0},
		"Price":                  {"title": "x", "quantity": 1},
	} {
		if o := s.order(line); !strings.Contains(fmt.Sprint(inner(o, "data", "made")["userErrors"]), want) {
			t.Errorf("%v, want %q", o, want)
		}
	}
}

func TestSimulator_Refunds(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.order(object{"variantId": "gid://shopify/ProductVariant/11", "quantity": 2})
	refund := func(key, amount string) object {
		return s.ask(`mutation($in: RefundInput!, $key: String!) { refundCreate(input: $in) @idempotent(key: $key) { refund { id } userErrors { code message } } }`,
			object{"key": key, "in": object{"orderId": s.Orders()[0].ID, "transactions": []any{object{"amount": amount, "kind": "REFUND"}}}})
	}
	first, again := refund("k1", "5"), refund("k1", "5")
	if a, b := inner(first, "data", "refundCreate", "refund")["id"], inner(again, "data", "refundCreate", "refund")["id"]; a == nil || a != b || s.Orders()[0].Refunds != 1 {
		t.Fatalf("%v and %v, %d refunds", first, again, s.Orders()[0].Refunds)
	}
	if o := refund("k1", "1"); !strings.Contains(fmt.Sprint(o), "IDEMPOTENCY_KEY_PARAMETER_MISMATCH") {
		t.Errorf("%v", o)
	}
	if o := refund("k2", "2.01"); !strings.Contains(fmt.Sprint(o), "cannot be greater") {
		t.Errorf("more than is left: %v", o)
	}
	s.seconds.Store(int64(keyFor.Seconds()))
	if refund("k1", "1"); s.Orders()[0].Refunds != 2 {
		t.Error("a day later the key is forgotten")
	}
	unkeyed := `mutation($in: RefundInput!) { refundCreate(input: $in) { refund { id } } }`
	if o := s.ask(unkeyed, object{"in": object{}}); !strings.Contains(fmt.Sprint(o["errors"]), "@idempotent") {
		t.Errorf("%v", o)
	}
	s.version = "2026-01"
	if o := s.ask(unkeyed, object{"in": object{}}); o["errors"] != nil {
		t.Errorf("an older version: %v", o)
	}
}

func TestSimulator_Stock(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	set := func(key string, quantity, from any) object {
		return s.ask(`mutation($in: InventorySetQuantitiesInput!, $key: String!) { inventorySetQuantities(input: $in) @idempotent(key: $key) { userErrors { code } } }`,
			object{"key": key, "in": object{"name": "available", "reason": "correction", "quantities": []any{
				object{"inventoryItemId": "gid://shopify/InventoryItem/11", "locationId": "gid://shopify/Location/1", "quantity": quantity, "changeFromQuantity": from},
			}}})
	}
	set("a", 4, 10)
	if o := set("b", 9, 10); !strings.Contains(fmt.Sprint(o), "CHANGE_FROM_QUANTITY_STALE") || s.Stock("11", "1") != 4 {
		t.Errorf("%v, stock %d", o, s.Stock("11", "1"))
	}
	if set("c", 7, nil); s.Stock("11", "1") != 7 {
		t.Errorf("stock %d, want 7", s.Stock("11", "1"))
	}
	o := s.ask(`{ productVariants(first: 1, query: "sku:LATTE") { nodes { inventoryItem { id inventoryLevels(first: 1) { nodes { quantities { quantity } } } } } } }`, nil)
	if !strings.Contains(fmt.Sprint(o), "quantity:7") {
		t.Errorf("%v", o)
	}
}

func TestSimulator_Errors(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *Config) { c.Scopes, c.Bucket, c.Points = []string{"read_orders"}, 30, 10 })
	if o := s.ask(`{ customers(first: 1) { nodes { id } } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "ACCESS_DENIED") || !strings.Contains(fmt.Sprint(o["errors"]), "Required access") {
		t.Errorf("%v", o)
	}
	if o := s.ask(`{ invoices { id } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "doesn't exist") {
		t.Errorf("%v", o)
	}
	if o := s.ask(`{ orders(first: 50) { nodes { id } } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "THROTTLED") || s.Throttled() != 1 {
		t.Errorf("%v", o)
	}
	s.ask(`{ orders(first: 20) { nodes { id } } }`, nil)
	if o := s.ask(`{ orders(first: 9) { nodes { id } } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "THROTTLED") {
		t.Errorf("%v", o)
	}
	s.seconds.Store(1)
	if o := s.ask(`{ orders(first: 9) { nodes { id } } }`, nil); o["errors"] != nil {
		t.Errorf("a second later: %v", o)
	}
	if o := s.ask(`query($id: ID!) { order(id: $id) { id } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "Variable $id") {
		t.Errorf("%v", o)
	}
	s.config.Token = "another"
	if o := s.ask(`{ shop { name } }`, nil); !strings.Contains(fmt.Sprint(o["errors"]), "Invalid API key") {
		t.Errorf("%v", o)
	}
}

func TestSimulator_Faults(t *testing.T) {
	t.Parallel()
	for fault, effects := range map[Fault]int{Internal: 0, Unavailable: 0, Reset: 0, ResetAfter: 1, InternalAfter: 1} {
		s := newShop(t, func(c *Config) { c.Fault = func(int, string) Fault { return fault } })
		response, err := s.send(`mutation { orderCreate(order: {lineItems: [{title: "x", quantity: 1, priceSet: {shopMoney: {amount: "1", currencyCode: USD}}}]}) { order { id } } }`, nil)
		if err == nil {
			response.Body.Close()
		}
		if n := len(s.Orders()); n != effects {
			t.Errorf("fault %d: %d orders, want %d", fault, n, effects)
		}
	}
}
