package mapping_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"raffsync/connectors/mapping"
)

func ExampleTemplate() {
	const source = `
number: "${reference(30)}"
customer: "${lookup('customer', body.customer.id, {default: 'WALK-IN'})}"
date: "${date(body.created_at, outlet.timezone, 'dd/MM/yyyy')}"
memo: "Table ${body.table}"
total: "${money(sum(body.lines.map(l, l.quantity * l.price)), body.currency, 0)}"
lines:
  - $each: {line: "${body.lines}"}
    item: "${lookup('sku', line.sku)}"
    quantity: "${line.quantity}"
    price: "${money(line.price, body.currency)}"
`
	const payload = `{"created_at": "2026-11-23T20:00:00Z", "currency": "IDR", "lines": [
		{"sku": "LATTE", "quantity": 2, "price": 18000.50},
		{"sku": "LATTE-OAT", "quantity": 1, "price": 26000}]}`

	var doc any
	if err := yaml.Unmarshal([]byte(source), &doc); err != nil {
		fmt.Println(err)
		return
	}
	template, err := mapping.CompileTemplate(doc, mapping.Events())
	if err != nil {
		fmt.Println(err) // /lines/0/item: line 1, column 17: …
		return
	}
	skus := map[string]string{"LATTE": "ITM-42"}
	result, err := template.Render(context.Background(), &mapping.Scope{
		Body:   mapping.NewBody([]byte(payload)),
		Outlet: mapping.Outlet{Name: "mall", Location: time.FixedZone("Asia/Jakarta", 7*60*60)},
		Tenant: "kopi", Destination: "accurate", Effect: "invoice/1042",
		Lookup: func(table, value string) (string, bool) {
			target, ok := skus[value]
			return target, ok && table == "sku"
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := result.JSON()
	if err != nil {
		fmt.Println(err)
		return
	}
	var indented bytes.Buffer
	_ = json.Indent(&indented, out, "", "  ")
	fmt.Println(indented.String())
	for _, miss := range result.Missing {
		fmt.Println("missing:", miss.Table, miss.Value, "at", miss.Path)
	}
	// Output:
	// {
	//   "customer": "WALK-IN",
	//   "date": "24/11/2026",
	//   "lines": [
	//     {
	//       "item": "ITM-42",
	//       "price": 18000.50,
	//       "quantity": 2
	//     },
	//     {
	//       "item": "‹no sku for LATTE-OAT›",
	//       "price": 26000.00,
	//       "quantity": 1
	//     }
	//   ],
	//   "number": "invoice-1042-A7SNE6DDSHV0",
	//   "total": 62001
	// }
	// missing: sku LATTE-OAT at /lines/1/item
}

func ExampleText() {
	text, err := mapping.CompileText("order/${body.data.id}", mapping.Webhooks())
	if err != nil {
		fmt.Println(err)
		return
	}
	key, _, err := text.Render(context.Background(), &mapping.Scope{Body: mapping.NewBody([]byte(`{"data":{"id":9007199254740993}}`))})
	fmt.Println(key, err)
	_, _, err = text.Render(context.Background(), &mapping.Scope{Body: mapping.NewBody([]byte(`{}`))})
	fmt.Println(err)
	// Output:
	// order/9007199254740993 <nil>
	// it reads something that is not there
}
