package recipe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/connectortest"
	"raffsync/connectors/simulator/shopify"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func shopifyAt(url string) map[string]any {
	return map[string]any{"settings": map[string]any{"url": url, "token": "env:TOKEN"}}
}

type shopifyShop struct {
	shipped
	*shopify.Simulator
}

func newShopify(t testing.TB, change ...func(*shopify.Config)) *shopifyShop {
	t.Helper()
	c := shopify.Config{Token: token, Variants: []shopify.Variant{
		{ID: "11", SKU: "LATTE", Price: "3.50", Stock: map[string]int64{"7": 10}}, {ID: "12", SKU: "MUG", Price: "7", Stock: map[string]int64{"7": 5}},
	}}
	for _, one := range change {
		one(&c)
	}
	sim, err := shopify.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return &shopifyShop{shipped{recipe: "shopify-admin", settings: shopifyAt(server.URL), tables: map[string]string{
		"sku/LATTE": "11", "sku/MUG": "12", "inventory_item/LATTE": "11", "inventory_item/MUG": "12", "location/MAIN": "7",
	}}, sim}
}

// userError is an answer to a mutation that the business refuses.
func userError(code string) string {
	return fmt.Sprintf(`{"data": {"done": {"made": null, "userErrors": [{"code": %q, "message": "No.", "field": ["order", "email"]}]}}}`, code)
}

func shopifyHarnesses(t *testing.T) map[string]connectortest.Harness {
	api := func(code string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: code, Status: 200, Body: fmt.Sprintf(`{"errors": [{"message": "No.", "extensions": {"code": %q}}]}`, code), Want: connectors.Outcome{Kind: kind, Code: code}}
	}
	user := func(code, field string, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: code, Status: 200, Body: userError(code), Want: connectors.Outcome{Kind: kind, Code: code, Field: field}}
	}
	status := func(n int, kind raffsyncv1.OutcomeKind) connectortest.Answer {
		return connectortest.Answer{Name: fmt.Sprint(n), Status: n, Want: connectors.Outcome{Kind: kind}}
	}
	order := connectortest.Harness{
		Secrets: []string{token},
		Success: connectortest.Answer{Status: 200, Body: `{"data": {"done": {"made": {"id": "gid://shopify/Order/1"}, "userErrors": []}}}`},
		Healthy: &connectortest.Answer{Status: 200, Body: `{"data": {"done": {"name": "Kopi"}}}`},
		Check: func(r *http.Request, body []byte, _ connectors.Step) error {
			o, err := decoded(body)
			if err != nil || r.URL.Path != "/admin/api/2026-04/graphql.json" || r.Header.Get("X-Shopify-Access-Token") != token {
				return fmt.Errorf("%s %s: %s, %v", r.Method, r.URL, body, err)
			}
			tags := o["variables"].(map[string]any)["order"].(map[string]any)["tags"].([]any)
			if len(tags) != 1 || !isReference(tags[0].(string), 30) {
				return fmt.Errorf("tags %v", tags)
			}
			return nil
		},
		Answers: []connectortest.Answer{
			{
				Name: "an order", Status: 200, Body: `{"data": {"done": {"made": {"id": "gid://shopify/Order/1", "legacyResourceId": "1", "name": "#1001"}, "userErrors": []}}}`,
				Want: connectors.Outcome{Kind: delivered, ExternalID: "gid://shopify/Order/1", Fields: map[string]string{"number": "#1001", "legacy": "1"}},
			},
			{Name: "a page of the shop", Status: 200, Body: "<html>", Want: connectors.Outcome{Kind: unknown}},
			{Name: "nothing done", Status: 200, Body: `{"data": {"done": null}}`, Want: connectors.Outcome{Kind: unknown}},
			api("THROTTLED", rateLimited), api("MAX_COST_EXCEEDED", validation), api("ACCESS_DENIED", raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION),
			api("SHOP_INACTIVE", raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE), api("INTERNAL_SERVER_ERROR", transient), api("undefinedField", validation),
			user("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "", raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE), user("IDEMPOTENCY_CONCURRENT_REQUEST", "", transient),
			user("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "", validation), user("CHANGE_FROM_QUANTITY_STALE", "order.email", raffsyncv1.OutcomeKind_OUTCOME_KIND_STALE),
			user("TAKEN", "order.email", duplicate), user("INVENTORY_CLAIM_FAILED", "order.email", raffsyncv1.OutcomeKind_OUTCOME_KIND_STOCK_CONFLICT),
			user("SHOP_DORMANT", "", raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE), user("TAX_LINE_RATE_MISSING", "order.email", raffsyncv1.OutcomeKind_OUTCOME_KIND_TAX_OUTLET_RULE),
			user("NOT_FOUND", "order.email", gone), user("INVALID", "order.email", validation),
			status(401, authRevoked), status(402, raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE), status(423, raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE),
			status(430, raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE), status(403, raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION), status(429, rateLimited),
			status(404, unclassed), status(500, unknown), status(503, unknown),
		},
		Questions: []connectortest.Question{
			{Name: "none", Status: 200, Body: `{"data": {"found": {"nodes": []}}}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: gone}},
			{Name: "another", Status: 200, Body: `{"data": {"found": {"nodes": [{"id": "x", "tags": ["y"]}]}}}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: gone}},
			{Name: "half an answer", Status: 200, Body: `{"data": {"found": {"nodes": []}}, "errors": [{"message": "No."}]}`, WantOutcome: connectors.Outcome{Kind: validation}},
			{Name: "throttled", Status: 200, Body: `{"errors": [{"extensions": {"code": "THROTTLED"}}]}`, WantOutcome: connectors.Outcome{Kind: rateLimited, Code: "THROTTLED"}},
			{Name: "500", Status: 500, WantOutcome: connectors.Outcome{Kind: unknown}},
		},
		CheckQuestion: func(r *http.Request, body []byte, _ connectors.Step) error {
			o, err := decoded(body)
			if err != nil || !strings.HasPrefix(fmt.Sprint(o["query"]), "query ") {
				return fmt.Errorf("%s, %v", body, err)
			}
			query := o["variables"].(map[string]any)["query"].(string)
			if !strings.HasPrefix(query, "tag:'") || !isReference(strings.Trim(query, "tag:'"), 30) {
				return fmt.Errorf("searches for %s", query)
			}
			return nil
		},
	}
	s := shipped{recipe: "shopify-admin"}
	order = s.harness(t, "order.create", neutralOrder, shopifyAt, order)
	mark := remembered(&order, func(body map[string]any) any { return orderOf(body)["tags"].([]any)[0] })
	order.QuestionFound = func(*http.Request) connectortest.Question {
		return connectortest.Question{
			Status: 200, Body: fmt.Sprintf(`{"data": {"found": {"nodes": [{"id": "x", "tags": ["y"]}, {"id": "gid://shopify/Order/1", "name": "#1001", "tags": ["y", %q]}]}}}`, mark.Load()), Want: connectors.Found,
			WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "gid://shopify/Order/1", Fields: map[string]string{"number": "#1001"}},
		}
	}
	s.receipts = map[string]connectors.Receipt{"order": {ExternalID: "gid://shopify/Order/1"}}
	refund := order
	refund.Healthy, refund.CheckQuestion = nil, nil
	refund.Check = func(_ *http.Request, body []byte, step connectors.Step) error {
		o, err := decoded(body)
		if err != nil {
			return err
		}
		variables := o["variables"].(map[string]any)
		if note := variables["input"].(map[string]any)["note"].(string); variables["key"] != step.Key || !isReference(note, 30) {
			return fmt.Errorf("%s", body)
		}
		return nil
	}
	refund.Answers = append([]connectortest.Answer{{
		Name: "a refund", Status: 200, Body: `{"data": {"done": {"made": {"id": "gid://shopify/Refund/1"}, "userErrors": []}}}`, Want: connectors.Outcome{Kind: delivered, ExternalID: "gid://shopify/Refund/1"},
	}}, order.Answers[1:]...)
	refund.Questions = []connectortest.Question{
		{Name: "none", Status: 200, Body: `{"data": {"found": {"refunds": []}}}`, Want: connectors.Absent, WantOutcome: connectors.Outcome{Kind: gone}},
		{Name: "no order", Status: 200, Body: `{"data": {"found": null}}`, WantOutcome: connectors.Outcome{Kind: unknown}},
	}
	refund = s.harness(t, "refund.create", neutralRefund, shopifyAt, refund)
	note := remembered(&refund, func(body map[string]any) any {
		return body["variables"].(map[string]any)["input"].(map[string]any)["note"]
	})
	refund.QuestionFound = func(*http.Request) connectortest.Question {
		return connectortest.Question{
			Status: 200, Body: fmt.Sprintf(`{"data": {"found": {"refunds": [{"id": "x", "note": null}, {"id": "y", "note": %q}]}}}`, note.Load()), Want: connectors.Found,
			WantOutcome: connectors.Outcome{Kind: delivered, ExternalID: "y"},
		}
	}
	count := refund
	count.Repeatable, count.Questions, count.QuestionFound, count.Check = true, nil, nil, nil
	return map[string]connectortest.Harness{"order.create": order, "refund.create": refund, "stock.set": s.harness(t, "stock.set", neutralCount, shopifyAt, count)}
}

func orderOf(body map[string]any) map[string]any {
	return body["variables"].(map[string]any)["order"].(map[string]any)
}

func TestShippedShopify_Documents(t *testing.T) {
	t.Parallel()
	s := newShopify(t)
	d := s.build(t)
	made := s.sent(t, d, "order.create", "order/1042", of(neutralOrder, "1042"))
	orders := s.Orders()
	// 3 × 3.335 less 0.50; 7; 10; and the taxes.
	if len(orders) != 1 || made.ExternalID != orders[0].ID || orders[0].Total != "28.46" || s.Stock("11", "7") != 7 || s.Stock("12", "7") != 4 {
		t.Fatalf("%+v, %+v, stock %d and %d", made, orders, s.Stock("11", "7"), s.Stock("12", "7"))
	}
	if got := s.sent(t, d, "order.get", "order/1042", "{}"); got.ExternalID != made.ExternalID {
		t.Errorf("%+v", got)
	}
	if o := d.Send(t.Context(), s.prepared(t, d, "order.get", "order/7", "{}")); o.Kind != gone {
		t.Errorf("an order that is not there: %+v", o)
	}
	s.receipts = map[string]connectors.Receipt{"order": {ExternalID: made.ExternalID}}
	for range 2 { // the same key
		s.sent(t, d, "refund.create", "refund/1", of(neutralRefund, "R1"))
	}
	if n := s.Orders()[0].Refunds; n != 1 {
		t.Errorf("%d refunds", n)
	}
	if o := d.Send(t.Context(), s.prepared(t, d, "refund.create", "refund/1", strings.Replace(of(neutralRefund, "R1"), "3.67", "3.66", 1))); o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE {
		t.Errorf("the key with another amount: %+v", o)
	}
	// What is below nothing is a discount: 28.46 less 11.10 and 2.35.
	s.sent(t, d, "order.create", "order/1043", strings.Replace(strings.Replace(of(neutralOrder, "1043"), `"10.00"`, `"-2.35"`, 1), `, "tax": {"code": "VAT", "rate": "0.10", "amount": "1.00"}`, "", 1))
	if total := s.Orders()[1].Total; total != "15.11" {
		t.Errorf("with a charge below nothing: %s", total)
	}
	s.sent(t, d, "stock.set", "count/1", of(neutralCount, "1"))
	if s.Stock("11", "7") != 40 || s.Stock("12", "7") != 0 {
		t.Errorf("stock %d and %d", s.Stock("11", "7"), s.Stock("12", "7"))
	}
	s.sent(t, d, "customer.create", "customer/C-9", of(neutralCustomer, "C-9"))
	if o := d.Send(t.Context(), s.prepared(t, d, "customer.create", "customer/C-10", of(neutralCustomer, "C-10"))); o.Kind != duplicate {
		t.Errorf("an e-mail address twice: %+v", o)
	}
	if o := d.Send(t.Context(), s.prepared(t, d, "order.create", "order/8", strings.Replace(of(neutralOrder, "8"), "Ani@example.com", "Ani", 1))); o.Kind != validation || o.Field != "order.email" {
		t.Errorf("no address: %+v", o)
	}
	if err := d.(connectors.Checker).Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}

// What Shopify commits and does not answer is found there and not made again, though
// orderCreate recognises no repeats.
func TestShippedShopify_OneEffect(t *testing.T) {
	t.Parallel()
	for fault, want := range map[shopify.Fault]connectors.Finding{
		shopify.ResetAfter: connectors.Found, shopify.InternalAfter: connectors.Found, shopify.Reset: connectors.Absent, shopify.Unavailable: connectors.Absent, shopify.Internal: connectors.Absent,
	} {
		failing := false
		s := newShopify(t, func(c *shopify.Config) {
			c.Fault = func(int, string) shopify.Fault {
				if failing {
					failing = false
					return fault
				}
				return shopify.None
			}
		})
		d := s.build(t)
		for _, call := range []string{"order.create", "refund.create", "customer.create", "stock.set"} {
			data := of(map[string]string{"order.create": neutralOrder, "refund.create": neutralRefund, "customer.create": neutralCustomer, "stock.set": neutralCount}[call], "1")
			request := s.prepared(t, d, call, call, data)
			failing = true
			if o := d.Send(t.Context(), request); o.Kind != unknown && o.Kind != transient {
				t.Fatalf("fault %d, %s: %s, %s", fault, call, o.Kind, o.Reason)
			}
			if call == "stock.set" { // to set it twice is as once
				reconciled(t, d, request, connectors.Absent)
				s.sent(t, d, call, call, data)
				continue
			}
			found := reconciled(t, d, request, want)
			if want == connectors.Absent {
				found.Outcome = s.sent(t, d, call, call, data)
			}
			reconciled(t, d, request, connectors.Found)
			if call == "order.create" {
				s.receipts = map[string]connectors.Receipt{"order": {ExternalID: found.ExternalID}}
			}
		}
		orders := s.Orders()
		if len(orders) != 1 || orders[0].Refunds != 1 || s.Stock("11", "7") != 40 {
			t.Errorf("fault %d: %+v", fault, orders)
		}
	}
}

func TestShippedShopify_Refusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*shopify.Config)
		want   raffsyncv1.OutcomeKind
	}{
		"throttled":  {func(c *shopify.Config) { c.Bucket, c.Points = 5, 0.001 }, rateLimited},
		"another":    {func(c *shopify.Config) { c.Token = "shpat_another" }, authRevoked},
		"no scope":   {func(c *shopify.Config) { c.Scopes = []string{"read_orders"} }, raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION},
		"frozen":     {func(c *shopify.Config) { c.Suspended = 402 }, raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE},
		"locked":     {func(c *shopify.Config) { c.Suspended = 423 }, raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE},
		"no variant": {func(c *shopify.Config) { c.Variants = nil }, validation},
	} {
		s := newShopify(t, c.change)
		d := s.build(t)
		if o := d.Send(t.Context(), s.prepared(t, d, "order.create", "order/1", of(neutralOrder, "1"))); o.Kind != c.want {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
