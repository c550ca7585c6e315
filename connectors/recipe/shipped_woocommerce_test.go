package recipe_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/simulator/woocommerce"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	gone = raffsyncv1.OutcomeKind_OUTCOME_KIND_REFERENCE_GONE
	ckey = "ck_4711"
)

func wooAt(url string) map[string]any {
	return map[string]any{
		"settings": map[string]any{"url": url},
		"auth":     map[string]any{"username": ckey, "password": "env:TOKEN"},
	}
}

type wooShop struct {
	shipped
	*woocommerce.Simulator
}

func newWoo(t testing.TB, change ...func(*woocommerce.Config)) *wooShop {
	t.Helper()
	c := woocommerce.Config{Key: ckey, Secret: token, Products: []woocommerce.Product{{ID: 1, SKU: "LATTE", Name: "Latte", Price: "3.50", Stock: 10}, {ID: 2, SKU: "MUG", Name: "Mug", Price: "7", Stock: 5}}}
	for _, one := range change {
		one(&c)
	}
	sim, err := woocommerce.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return &wooShop{shipped{recipe: "woocommerce", settings: wooAt(server.URL), tables: map[string]string{"sku/LATTE": "1", "sku/MUG": "2"}}, sim}
}

func wooHarnesses(t *testing.T) map[string]connectortest.Harness {
	answer := func(status int, code string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		body := ""
		if code != "" {
			body = fmt.Sprintf(`{"code": %q, "message": "No.", "data": {"status": %d}}`, code, status)
		}
		return connectortest.Answer{Name: fmt.Sprint(status, " ", code), Status: status, Body: body, Want: connectors.Outcome{Kind: kind, Code: code}}
	}
	pages := func(n string) map[string]string { return map[string]string{"X-WP-TotalPages": n} }
	another := `[{"id": 6, "meta_data": [{"key": "raffsync_reference", "value": "x"}]}]`
	order := connectortest.Harness{
		Secrets: []string{token, base64.StdEncoding.EncodeToString([]byte(ckey + ":" + token))},
		Success: connectortest.Answer{Status: 201, Body: `{"id": 727}`},
		Healthy: &connectortest.Answer{Status: 200, Header: map[string]string{"X-WP-Total": "0"}, Body: `[]`},
		Check: func(r *http.Request, body []byte, _ connectors.Step) error {
			o, err := decoded(body)
			reference, _ := o["transaction_id"].(string)
			if r.URL.Path != "/wp-json/wc/v3/orders" || err != nil || !isReference(reference, 30) || !strings.Contains(string(body), `"product_id":12`) {
				return fmt.Errorf("%s %s: %s, %v", r.Method, r.URL, body, err)
			}
			return nil
		},
		Answers: []connectortest.Answer{
			{Name: "an order", Status: 201, Body: `{"id": 727, "number": "N-727", "total": "29.35"}`, Want: connectors.Outcome{Kind: delivered, ExternalID: "727", Fields: map[string]string{"number": "N-727", "total": "29.35"}}},
			{Name: "a page of the theme", Status: 201, Body: "<html>", Want: connectors.Outcome{Kind: unknown}},
			answer(401, "woocommerce_rest_authentication_error", authRevoked), answer(401, "woocommerce_rest_cannot_view", authRevoked), answer(401, "", authRevoked),
			answer(403, "woocommerce_rest_authentication_error", raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION),
			answer(400, "woocommerce_rest_shop_order_exists", duplicate), answer(400, "woocommerce_rest_invalid_product_id", gone), answer(400, "rest_invalid_param", validation),
			answer(404, "rest_no_route", unclassed), answer(413, "woocommerce_rest_request_entity_too_large", validation),
			answer(408, "", transient), answer(429, "", rateLimited), answer(500, "internal_server_error", unknown), answer(503, "", unknown),
		},
		Questions: []connectortest.Question{
			{Name: "none", Status: 200, Header: pages("0"), Body: `[]`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: gone}},
			{Name: "another, and no more", Status: 200, Header: pages("1"), Body: another, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: gone}},
			{Name: "another, and more", Status: 200, Header: pages("2"), Body: another, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "no word of pages", Status: 200, Body: another, WantOutcome: connectors.Outcome{Kind: unknown}},
			{Name: "500", Status: 500, WantOutcome: connectors.Outcome{Kind: unknown}},
		},
		CheckQuestion: func(r *http.Request, body []byte, step connectors.Step) error {
			q := r.URL.Query()
			since, err := time.Parse("2006-01-02T15:04:05", q.Get("modified_after"))
			if r.Method != http.MethodGet || len(body) > 0 || q.Get("per_page") != "100" || err != nil || step.Event.OccurredAt.Sub(since).Round(time.Minute) != 48*time.Hour {
				return fmt.Errorf("%s, %v", r.URL, err)
			}
			return nil
		},
	}
	s := shipped{recipe: "woocommerce", tables: map[string]string{"sku/LATTE": "121", "sku/MUG": "122"}}
	order = s.harness(t, "order.create", neutralOrder, wooAt, order)
	mark := remembered(&order, func(body map[string]any) any { return body["transaction_id"] })
	order.QuestionFound = func(*http.Request) connectortest.Question {
		return connectortest.Question{
			Status: 200, Header: pages("7"), Want: connectors.Found, WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "7"},
			Body: fmt.Sprintf(`[{"id": 6}, {"id": 7, "meta_data": [{"key": "other", "value": 1}, {"key": "raffsync_reference", "value": %q}]}]`, mark.Load()),
		}
	}
	refund := order
	refund.Healthy, refund.Check, refund.CheckQuestion = nil, nil, nil
	refund.Answers = append([]connectortest.Answer{{Name: "a refund", Status: 201, Body: `{"id": 9, "amount": "3.67"}`, Want: connectors.Outcome{Kind: delivered, ExternalID: "9", Fields: map[string]string{"amount": "3.67"}}}}, order.Answers[1:]...)
	s.receipts = map[string]connectors.Receipt{"order": {ExternalID: "727"}}
	refund = s.harness(t, "refund.create", neutralRefund, wooAt, refund)
	marked := remembered(&refund, func(body map[string]any) any { return body["meta_data"].([]any)[0].(map[string]any)["value"] })
	refund.QuestionFound = func(*http.Request) connectortest.Question {
		return connectortest.Question{
			Status: 200, Header: pages("1"), Want: connectors.Found, WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "9"},
			Body: fmt.Sprintf(`[{"id": 9, "meta_data": [{"key": "raffsync_reference", "value": %q}]}]`, marked.Load()),
		}
	}
	customer := order
	customer.Healthy, customer.Check, customer.CheckQuestion = nil, nil, nil
	customer.Answers = append([]connectortest.Answer{
		{Name: "a customer", Status: 201, Body: `{"id": 9, "email": "ani@example.com"}`, Want: connectors.Outcome{Kind: delivered, ExternalID: "9", Fields: map[string]string{"email": "ani@example.com"}}},
		answer(400, "registration-error-email-exists", duplicate),
	}, order.Answers[1:]...)
	customer = s.harness(t, "customer.create", neutralCustomer, wooAt, customer)
	known := remembered(&customer, func(body map[string]any) any { return body["meta_data"].([]any)[0].(map[string]any)["value"] })
	customer.QuestionFound = func(*http.Request) connectortest.Question {
		return connectortest.Question{
			Status: 200, Header: pages("1"), Want: connectors.Found, WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "9"},
			Body: fmt.Sprintf(`[{"id": 9, "meta_data": [{"key": "raffsync_reference", "value": %q}]}]`, known.Load()),
		}
	}
	return map[string]connectortest.Harness{"order.create": order, "refund.create": refund, "customer.create": customer}
}

func TestShippedWooCommerce_Documents(t *testing.T) {
	t.Parallel()
	w := newWoo(t)
	d := w.build(t)
	made := w.sent(t, d, "order.create", "order/1042", of(neutralOrder, "1042"))
	orders := w.Orders()
	// 3 × 3.335 − 0.50 is 9.505, to the shop's two decimals; 7; 10; and the taxes.
	if len(orders) != 1 || made.ExternalID != fmt.Sprint(orders[0].ID) || orders[0].Status != "processing" || made.Fields["total"] != orders[0].Total || w.Stock(1) != 7 || w.Stock(2) != 4 {
		t.Fatalf("%+v, %+v, stock %d and %d", made, orders, w.Stock(1), w.Stock(2))
	}
	if orders[0].Total != "28.46" {
		t.Errorf("total %s", orders[0].Total)
	}
	if got := w.sent(t, d, "order.get", "order/1042", `{"order_id": `+made.ExternalID+`}`); got.ExternalID != made.ExternalID {
		t.Errorf("%+v", got)
	}
	w.receipts = map[string]connectors.Receipt{"order": {ExternalID: made.ExternalID}}
	w.sent(t, d, "refund.create", "refund/1", of(neutralRefund, "R1"))
	if n := len(w.Orders()[0].Fields["refunds"].([]any)); n != 1 || w.GatewayRefunds() != 0 {
		t.Errorf("%d refunds, %d by the gateway", n, w.GatewayRefunds())
	}
	w.sent(t, d, "stock.set", "count/1", of(neutralCount, "1"))
	if w.Stock(1) != 40 || w.Stock(2) != 0 {
		t.Errorf("stock %d and %d", w.Stock(1), w.Stock(2))
	}
	w.tables["sku/MUG"] = "99"
	if o := d.Send(t.Context(), w.prepared(t, d, "stock.set", "count/2", of(neutralCount, "2"))); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_PARTIAL || o.Code != "woocommerce_rest_product_invalid_id" {
		t.Errorf("a product that is not there: %+v", o)
	}
	w.sent(t, d, "customer.create", "customer/C-9", of(neutralCustomer, "C-9"))
	if o := d.Send(t.Context(), w.prepared(t, d, "customer.create", "customer/C-10", of(neutralCustomer, "C-10"))); o.Kind != duplicate {
		t.Errorf("an e-mail address twice: %+v", o)
	}
	if err := d.(connectors.Checker).Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	w.settings["auth"].(map[string]any)["username"] = "ck_another"
	if o := w.build(t).Send(t.Context(), w.prepared(t, w.build(t), "order.create", "order/7", of(neutralOrder, "7"))); o.Kind != authRevoked {
		t.Errorf("a key that is not there: %+v", o)
	}
}

// What the shop commits and does not answer is found there and not made again, though it
// recognises no repeats; what is not on the first page of a longer list nobody can tell.
func TestShippedWooCommerce_OneEffect(t *testing.T) {
	t.Parallel()
	for fault, want := range map[woocommerce.Fault]connectors.Finding{
		woocommerce.ResetAfter: connectors.Found, woocommerce.InternalAfter: connectors.Found, woocommerce.Reset: connectors.Absent, woocommerce.Unavailable: connectors.Absent,
	} {
		failing := false
		w := newWoo(t, func(c *woocommerce.Config) {
			c.Fault = func(int, string, string) woocommerce.Fault {
				if failing {
					failing = false
					return fault
				}
				return woocommerce.None
			}
		})
		d := w.build(t)
		for _, call := range []string{"order.create", "refund.create", "customer.create"} {
			data := map[string]string{"order.create": neutralOrder, "refund.create": neutralRefund, "customer.create": neutralCustomer}[call]
			request := w.prepared(t, d, call, call, of(data, "1"))
			failing = true
			if o := d.Send(t.Context(), request); o.Kind != unknown {
				t.Fatalf("fault %d, %s: %s, %s", fault, call, o.Kind, o.Reason)
			}
			found := reconciled(t, d, request, want)
			if want == connectors.Absent {
				found.Outcome = w.sent(t, d, call, call, of(data, "1"))
			}
			reconciled(t, d, request, connectors.Found)
			if call == "order.create" {
				w.receipts = map[string]connectors.Receipt{"order": {ExternalID: found.ExternalID}}
			}
		}
		orders := w.Orders()
		if len(orders) != 1 || len(orders[0].Fields["refunds"].([]any)) != 1 {
			t.Errorf("fault %d: %+v", fault, orders)
		}
	}

	w := newWoo(t)
	d := w.build(t)
	first := w.prepared(t, d, "order.create", "order/first", of(neutralOrder, "first"))
	w.sent(t, d, "order.create", "order/first", of(neutralOrder, "first"))
	for i := range 100 {
		w.sent(t, d, "order.create", fmt.Sprint("order/", i), of(neutralOrder, fmt.Sprint(i)))
	}
	reconciled(t, d, first, connectors.CannotTell)
	reconciled(t, d, w.prepared(t, d, "order.create", "order/99", of(neutralOrder, "99")), connectors.Found)
}
