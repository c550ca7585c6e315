package recipe_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/recipe"
)

// A recipe with one step, whose figure is to be compared with BenchmarkSend/701B of package
// webhook: orders of three lines are as large, each line with a look-up; to the same receiver
// that reads and forgets, with at least half of its rate.
func BenchmarkSend(b *testing.B) {
	for _, lines := range []int{3, 20} {
		b.Run(fmt.Sprint(lines, "Lines"), func(b *testing.B) {
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, `{"ok": true, "entry": {"id": 17, "number": "E-1"}}`)
			}))
			b.Cleanup(receiver.Close)
			d := build(b, settingsOf(benchmarkRecipe(b, at(receiver.URL))))
			step := benchmarkStep(lines)
			b.SetBytes(int64(len(step.Event.Data)))
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := d.Prepare(step)
					if err != nil {
						b.Error(err)
						return
					}
					if o := d.Send(b.Context(), r); o.Kind != delivered {
						b.Errorf("outcome %+v", o)
						return
					}
				}
			})
		})
	}
}

// benchmarkRecipe is the ledger without the receipt's field that wants an expression.
func benchmarkRecipe(b *testing.B, change ...func(map[string]any)) map[string]any {
	r := ledger(b, change...)
	delete(r["calls"].(map[string]any)["entry"].(map[string]any)["receipt"].(map[string]any)["fields"].(map[string]any), "label")
	return r
}

func BenchmarkPrepare(b *testing.B) {
	for _, lines := range []int{3, 20} {
		b.Run(fmt.Sprint(lines, "Lines"), func(b *testing.B) {
			d := build(b, settingsOf(ledger(b)))
			step := benchmarkStep(lines)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Prepare(step); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFactory(b *testing.B) {
	o := options(b, settingsOf(ledger(b)))
	for b.Loop() {
		if _, err := recipe.Factory(o); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkStep(n int) connectors.Step {
	var lines []json.RawMessage
	for i := range n {
		lines = append(lines, fmt.Appendf(nil, `{"sku": "LATTE-%d", "quantity": %d, "price": "27000.00", "name": "Latte, oat milk, no sugar, to take away", "modifiers": ["oat milk", "no sugar", "extra hot"], "discount": null, "tax": "2700.00"}`, i, i+1))
	}
	data, _ := json.Marshal(map[string]any{"number": 1042, "note": "no sugar", "lines": lines})
	return connectors.Step{
		Event: &connectors.Event{
			Tenant: "kopi", Source: "till-7", ID: "order/1042/created", Type: "order.created", OrderingKey: "order/1042",
			References: map[string]string{"order": "1042"}, ContentType: "application/json", Data: data,
		},
		Destination: "books", Effect: "order/1042", Attempt: 1, Key: strings.Repeat("0a1b2c3d", 8),
		Lookup: func(table, value string) (string, bool) { return "ITM-" + value, true },
	}
}
