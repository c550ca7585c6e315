package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkTemplate maps an order of 20 lines with look-ups, as a route does for each
// delivery: parsing included, and the JSON that is sent.
func BenchmarkTemplate(b *testing.B) {
	jakarta, err := time.LoadLocation("Asia/Jakarta")
	if err != nil {
		b.Fatal(err)
	}
	template, err := CompileTemplate(map[string]any{
		"number":     "${reference(30)}",
		"customerNo": "${lookup('customer', body.data.customer.id, {default: 'WALK-IN'})}",
		"transDate":  "${date(body.data.created_at, outlet.timezone, 'dd/MM/yyyy')}",
		"detailItem": []any{map[string]any{
			"$each":            map[string]any{"line": "${body.data.line_items}"},
			"itemNo":           "${lookup('sku', line.product_id)}",
			"quantity":         "${line.quantity}",
			"unitPrice":        "${money(line.price, body.data.currency)}",
			"salesOrderNumber": "${steps.order.receipt.number}",
		}},
	}, Events().WithSteps("order"))
	if err != nil {
		b.Fatal(err)
	}
	var lines []string
	skus := make(map[string]string)
	for i := range 20 {
		sku := fmt.Sprintf("LATTE-OAT-%d", i)
		skus[sku] = fmt.Sprintf("ITM-%d", i)
		lines = append(lines, fmt.Sprintf(`{"product_id":%q,"name":"Caffè latte with oat milk","quantity":%d,"price":%d.50,"note":null,"tax":{"rate":0.11}}`, sku, i+1, 18000+i))
	}
	payload := []byte(`{"type":"order.paid","data":{"id":9007199254740993,"number":"1042","created_at":"2026-11-23T10:00:00Z","currency":"IDR",
		"customer":{"id":"C-77","name":"Ibu Sari"},"line_items":[` + strings.Join(lines, ",") + `]}}`)
	scope := Scope{
		Event: &Event{ID: "e"}, Outlet: Outlet{Name: "mall", Location: jakarta}, Tenant: "kopi", Destination: "accurate", Effect: "invoice/9007199254740993",
		Steps: map[string]Receipt{"order": {ExternalID: "77", Fields: map[string]string{"number": "SO-1"}}},
		Lookup: func(table, value string) (string, bool) {
			if table != "sku" {
				return "C-1", true
			}
			target, ok := skus[value]
			return target, ok
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		s := scope
		s.Body = NewBody(payload)
		result, err := template.Render(b.Context(), &s)
		if err != nil || len(result.Missing) > 0 {
			b.Fatal(err, result.Missing)
		}
		if _, err := result.JSON(); err != nil {
			b.Fatal(err)
		}
	}
}
