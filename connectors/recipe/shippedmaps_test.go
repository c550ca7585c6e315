package recipe_test

import (
	"errors"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/connectors/recipe"
)

// What the own maps of recipes make of documents that lack something: never a document that
// lacks it too.
func TestShipped_Maps(t *testing.T) {
	t.Parallel()
	xero := shipped{recipe: "xero", connections: &auth.Memory{}, settings: map[string]any{"auth": map[string]any{"client_id": "id", "client_secret": "env:TOKEN"}}}
	shop := shipped{recipe: "shopify-admin", settings: shopifyAt("https://kopi.example")}
	woo := shipped{recipe: "woocommerce", settings: wooAt("https://kopi.example")}
	for _, c := range []struct {
		shipped
		call, data, tables string
		wanted             []string // each of which a document may not lack
	}{
		{xero, "invoice.create", neutralOrder, "tax/VAT", []string{"lines", "price", "quantity", "date", "currency", "amount"}},
		{xero, "credit-note.create", neutralRefund, "tax/VAT", []string{"lines", "price", "quantity", "date", "currency"}},
		{xero, "contact.save", neutralCustomer, "", []string{"id", "name"}},
		{shop, "order.create", neutralOrder, "sku/LATTE sku/MUG", []string{"lines", "price", "quantity", "date", "currency", "rate", "amount"}},
		{shop, "stock.set", neutralCount, "inventory_item/LATTE inventory_item/MUG location/MAIN", []string{"lines", "quantity", "location"}},
		{woo, "order.create", neutralOrder, "sku/LATTE sku/MUG", []string{"lines", "price", "quantity", "currency"}},
		{woo, "stock.set", neutralCount, "sku/LATTE sku/MUG", []string{"lines", "quantity"}},
		{woo, "customer.create", neutralCustomer, "", []string{"email"}},
	} {
		t.Run(c.recipe+" "+c.call, func(t *testing.T) {
			t.Parallel()
			d := c.build(t)
			prepare := func(data string, tables map[string]string) error {
				t.Helper()
				s := c.shipped
				s.tables = tables
				step := connectors.Step{Event: &connectors.Event{Tenant: "kopi", Data: []byte(data)}, Destination: "books", Effect: "effect/1"}
				s.complete(t, d, &step, c.call, "")
				step.Outlet = connectors.Outlet{} // and so no time zone
				_, err := d.Prepare(step)
				return err
			}
			known := map[string]string{}
			for name := range strings.FieldsSeq(c.tables) {
				known[name] = "17"
			}
			if err := prepare(of(c.data, "1"), known); err != nil {
				t.Errorf("all is there: %v", err)
			}
			var e *connectors.PrepareError
			for _, name := range c.wanted {
				if err := prepare(strings.ReplaceAll(of(c.data, "1"), `"`+name+`"`, `"x-`+name+`"`), known); !errors.As(err, &e) || e.Code != "map" || !strings.HasPrefix(e.Field, "map.") {
					t.Errorf("without %s: %v", name, err)
				}
			}
			var missing []string
			if err := prepare(of(c.data, "1"), map[string]string{}); errors.As(err, &e) {
				for _, m := range e.Missing {
					missing = append(missing, m.Table+"/"+m.Value)
				}
			}
			if c.tables != "" && !sameWords(strings.Join(missing, " "), c.tables) {
				t.Errorf("missing are %v, want %s", missing, c.tables)
			}
		})
	}
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for word := range strings.FieldsSeq(a) {
		count[word]++
	}
	for word := range strings.FieldsSeq(b) {
		count[word]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// What Xero lets through in any minute is not gone beyond: a burst comes on top of the rate.
func TestShippedXero_Limits(t *testing.T) {
	t.Parallel()
	if got := recipe.ReadLimits([]byte(`{"recipe": "xero"}`)); got.Rate != "55/m" || got.Burst != 5 || got.Concurrency != 5 || got.Quota != "5000/day" {
		t.Errorf("%+v", got)
	}
}
