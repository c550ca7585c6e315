package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The examples that ship are tried with the samples beside them, and so is whatever file is
// served or applied.
func TestProgram_TriesSamples(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	for example, want := range map[string]string{
		"takeapp-accurate-online.yaml": "accurate looks up sku LATTE, CROISSANT (takeapp/order.paid.json",
		"shopify-xero.yaml":            "books looks up tax VAT, VAT reduced (shop/orders.create.json",
		"woocommerce-xero.yaml":        "books looks up tax US-CA-STATE TAX (blog/order.updated.json",
	} {
		if out := in.run("check", filepath.Join("..", "..", "connectors", "recipe", "examples", example)); !strings.Contains(out, want) || strings.Contains(out, "hint: no ") {
			t.Errorf("%s: check says\n%s", example, out)
		}
	}
	config := in.write("shop.yaml", "tenant: kopi\nsources: {till: {}}\ndestinations: {}\nroutes: {}\n")
	if out := in.run("check", config); !strings.Contains(out, "hint: no sample events: what stands in samples/SOURCE/*.json") {
		t.Errorf("without samples:\n%s", out)
	}
	folder := filepath.Join(filepath.Dir(config), "samples", "till")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	in.write(filepath.Join("samples", "till", "order.json"), `{"id": "1", "type": "order.paid"}`)
	for _, command := range [][]string{{"check", config}, {"apply", config, "--dry-run"}, {"serve", "--config", config}} {
		if _, stderr, code := in.try(command...); code != 1 || !strings.Contains(stderr, "samples/till/order.json: ordering_key: ") {
			t.Errorf("%s: status %d, %s", command, code, stderr)
		}
	}
}

// Steps that wait for each other are refused wherever a file is read, in the same words.
func TestProgram_RefusesCircularSteps(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	config := in.write("shop.yaml", `
tenant: kopi
sources: {till: {}}
destinations:
  ledger:
    recipe:
      url: https://ledger.example/v1
      calls:
        order: {url: /orders, map: {invoice: "${steps.invoice.receipt.id}"}}
        invoice: {url: /invoices, map: {}}
routes:
  sales:
    from: till
    to: ledger
    steps:
      - {name: order, call: order}
      - {name: payment, call: invoice, map: {invoice: "${steps.invoice.receipt.id}"}}
      - {name: invoice, call: invoice, map: {order: "${steps.order.receipt.id}"}}
`)
	var first string
	for _, command := range [][]string{{"check", config}, {"apply", config, "--dry-run"}, {"apply", config}, {"serve", "--config", config}} {
		_, stderr, code := in.try(command...)
		for _, want := range []string{
			`routes.sales.steps[0].call: call order reads the receipt of step "invoice", and no step before this one is named so: there is none before this one`,
			`routes.sales.steps[1].map.invoice: no step before this one is named "invoice": those before this one are order`,
		} {
			if code != 1 || !strings.Contains(stderr, want) {
				t.Errorf("%s: status %d, %s\nwant %s", command, code, stderr, want)
			}
		}
		if first == "" {
			first = stderr
		} else if stderr != first {
			t.Errorf("%s says\n%s\nwhere check says\n%s", command, stderr, first)
		}
	}
}
