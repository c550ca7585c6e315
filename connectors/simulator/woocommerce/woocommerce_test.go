package woocommerce

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type shop struct {
	*Simulator
	t   *testing.T
	url string
}

func newShop(t *testing.T, change func(*Config)) *shop {
	c := Config{Key: "ck_1", Secret: "cs_1", Products: []Product{{1, "LATTE", "Latte", "3.50", 10}, {2, "MUG", "Mug", "7", 5}}}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return &shop{s, t, server.URL}
}

func (s *shop) request(method, path, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/wp-json/wc/v3/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth("ck_1", "cs_1")
	return r
}

func (s *shop) do(r *http.Request) (int, any, http.Header) {
	s.t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		s.t.Fatalf("%s: %s", response.Status, body)
	}
	return response.StatusCode, v, response.Header
}

func (s *shop) call(method, path, body string) (int, any) {
	s.t.Helper()
	status, v, _ := s.do(s.request(method, path, body))
	return status, v
}

const paid = `{"set_paid":true,"transaction_id":"effect-1","line_items":[{"product_id":1,"quantity":2},{"product_id":2,"quantity":1,"total":"6.00","total_tax":"0.60"}],"shipping_lines":[{"total":"1.25"}]}`

func TestSimulator_Orders(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	status, made, header := s.do(s.request("POST", "orders", paid))
	if status != http.StatusCreated || !strings.Contains(header.Get("Location"), "/orders/") || made.(object)["total"] != "14.85" || made.(object)["status"] != "processing" {
		t.Fatalf("%d %v", status, made)
	}
	if s.Stock(1) != 8 || s.Stock(2) != 4 {
		t.Errorf("stock %d and %d, want 8 and 4", s.Stock(1), s.Stock(2))
	}
	s.call("POST", "orders", paid)
	if n := len(s.Orders()); n != 2 {
		t.Errorf("%d orders: nothing here is deduplicated", n)
	}
	path := fmt.Sprintf("orders/%d", s.Orders()[0].ID)
	s.call("PUT", path, `{"status":"completed","id":7}`)
	if o := s.Orders()[0]; o.Status != "completed" || s.Stock(1) != 6 {
		t.Errorf("%+v, stock %d: reduced once an order", o, s.Stock(1))
	}
	status, all, header := s.do(s.request("GET", "orders?per_page=1&page=2", ""))
	if status != http.StatusOK || header.Get("X-WP-Total") != "2" || len(all.([]any)) != 1 || all.([]any)[0].(object)["transaction_id"] != "effect-1" {
		t.Errorf("%d %v %v", status, header, all)
	}
	if _, some := s.call("GET", "orders?status=completed", ""); len(some.([]any)) != 1 {
		t.Errorf("%v", some)
	}
}

func TestSimulator_Refusals(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"AnIDWithPOST":   {"POST", "orders", `{"id":5}`, 400, "woocommerce_rest_shop_order_exists"},
		"GetNothing":     {"GET", "orders/5", "", 404, "woocommerce_rest_shop_order_invalid_id"},
		"PutNothing":     {"PUT", "orders/5", "{}", 400, "woocommerce_rest_shop_order_invalid_id"},
		"OddCustomer":    {"POST", "orders", `{"customer_id":77}`, 400, "woocommerce_rest_invalid_customer_id"},
		"OddProduct":     {"POST", "orders", `{"line_items":[{"product_id":9}]}`, 400, "woocommerce_rest_invalid_product_id"},
		"OddTotal":       {"POST", "orders", `{"line_items":[{"product_id":1,"total":"1,5"}]}`, 400, "rest_invalid_param"},
		"OddStatus":      {"POST", "orders", `{"status":"paid"}`, 400, "rest_invalid_param"},
		"NotJSON":        {"POST", "orders", `{`, 400, "rest_invalid_json"},
		"NoRoute":        {"GET", "invoices", "", 404, "rest_no_route"},
		"RefundNothing":  {"POST", "orders/5/refunds", `{"amount":"1"}`, 404, "woocommerce_rest_invalid_order"},
		"StockOfNothing": {"PUT", "products/9", `{"stock_quantity":1}`, 400, "woocommerce_rest_product_invalid_id"},
		"ALongPage":      {"GET", "orders?per_page=101", "", 400, "rest_invalid_param"},
		"ALargeBatch":    {"POST", "products/batch", `{"update":[` + strings.Repeat(`{"id":1},`, 100) + `{"id":1}]}`, 413, "woocommerce_rest_request_entity_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, v := s.call(c.method, c.path, c.body); status != c.status || v.(object)["code"] != c.code {
				t.Errorf("%d %v", status, v)
			}
		})
	}
	r := s.request("GET", "orders", "")
	r.SetBasicAuth("ck_1", "cs_2")
	if status, v, _ := s.do(r); status != 401 || v.(object)["code"] != "woocommerce_rest_authentication_error" {
		t.Errorf("%d %v", status, v)
	}
	r.SetBasicAuth("ck_2", "cs_1")
	if status, v, _ := s.do(r); status != 401 || v.(object)["code"] != "woocommerce_rest_cannot_view" {
		t.Errorf("%d %v", status, v)
	}
}

func TestSimulator_Refunds(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.call("POST", "orders", paid)
	path := fmt.Sprintf("orders/%d/refunds", s.Orders()[0].ID)
	if status, v := s.call("POST", path, `{"amount":"14.00","api_refund":false,"line_items":[{"product_id":1,"quantity":2}]}`); status != http.StatusCreated || v.(object)["total"] != "-14.00" {
		t.Fatalf("%d %v", status, v)
	}
	if s.Stock(1) != 10 || s.GatewayRefunds() != 0 {
		t.Errorf("stock %d, gateway %d", s.Stock(1), s.GatewayRefunds())
	}
	if status, _ := s.call("POST", path, `{"amount":"0.86"}`); status != http.StatusBadRequest {
		t.Errorf("more than is left: %d", status)
	}
	s.call("POST", path, `{"amount":"0.85","api_restock":false,"line_items":[{"product_id":2,"quantity":1}]}`)
	if s.Stock(2) != 4 || s.GatewayRefunds() != 1 || s.Orders()[0].Status != "refunded" {
		t.Errorf("stock %d, gateway %d, %s", s.Stock(2), s.GatewayRefunds(), s.Orders()[0].Status)
	}
	if _, v := s.call("GET", path, ""); len(v.([]any)) != 2 {
		t.Errorf("%v", v)
	}
}

func TestSimulator_ProductsAndCustomers(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	if _, v := s.call("GET", "products?sku=MUG", ""); len(v.([]any)) != 1 {
		t.Errorf("%v", v)
	}
	s.call("PUT", "products/1", `{"stock_quantity":42}`)
	s.call("POST", "products/batch", `{"update":[{"id":2,"stock_quantity":0},{"id":9,"stock_quantity":1}]}`)
	if s.Stock(1) != 42 || s.Stock(2) != 0 {
		t.Errorf("stock %d and %d", s.Stock(1), s.Stock(2))
	}
	if status, _ := s.call("POST", "customers", `{"email":"Ani@example.com"}`); status != http.StatusCreated {
		t.Errorf("%d", status)
	}
	if status, v := s.call("POST", "customers", `{"email":"ani@example.com"}`); status != 400 || v.(object)["code"] != "registration-error-email-exists" {
		t.Errorf("%d %v", status, v)
	}
	if _, v := s.call("GET", "customers?email=ani@example.com", ""); len(v.([]any)) != 1 {
		t.Errorf("%v", v)
	}
}

func TestSimulator_Faults(t *testing.T) {
	t.Parallel()
	for fault, effects := range map[Fault]int{Unavailable: 0, Reset: 0, ResetAfter: 1, InternalAfter: 1} {
		s := newShop(t, func(c *Config) { c.Fault = func(int, string, string) Fault { return fault } })
		response, err := http.DefaultClient.Do(s.request("POST", "orders", paid))
		if err == nil {
			response.Body.Close()
		}
		if n := len(s.Orders()); n != effects {
			t.Errorf("fault %d: %d orders, want %d", fault, n, effects)
		}
	}
}
