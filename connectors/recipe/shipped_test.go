package recipe_test

import (
	"slices"
	"testing"

	"raffsync/connectors/connectortest"
	"raffsync/connectors/recipe"
)

// conformance says of each recipe that ships how the suite builds it and what its platform
// answers: a harness for each of its calls, or for those that differ.
var conformance = map[string]func(*testing.T) map[string]connectortest.Harness{
	"accurate-online": accurateHarnesses,
	"shopify-admin":   shopifyHarnesses,
	"woocommerce":     wooHarnesses,
	"xero":            xeroHarnesses,
}

// Every recipe that ships keeps the promises of a destination, in each of its calls.
func TestShipped(t *testing.T) {
	for _, name := range recipe.Shipped() {
		t.Run(name, func(t *testing.T) {
			if conformance[name] == nil {
				t.Fatal("no harness holds it to the conformance suite")
			}
			for call, harness := range conformance[name](t) {
				t.Run(call, func(t *testing.T) { connectortest.Run(t, harness) })
			}
		})
	}
	for name := range conformance {
		if !slices.Contains(recipe.Shipped(), name) {
			t.Errorf("%s does not ship", name)
		}
	}
}
