package filesource_test

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raffsync/connectors/filesource"
)

// retail opens the real data, or skips where a machine does not have it.
func retail(tb testing.TB) *os.File {
	tb.Helper()
	folder := os.Getenv("RAFFSYNC_SHARED_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(folder, "uk_online_retail_541909.csv.gz"))
	if err != nil {
		tb.Skipf("the real data is not on this machine (RAFFSYNC_SHARED_DATA names its folder): %v", err)
	}
	tb.Cleanup(func() { file.Close() })
	return file
}

func TestReader_AShopsYear(t *testing.T) {
	cfg := invoices("")
	cfg.Input = retail(t)
	r, err := filesource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	types, customers, keys := map[string]int{}, map[string]bool{}, map[string]bool{}
	var events, count, largest, withoutCustomer int
	sum := new(big.Rat)
	for e, err := range r.Events() {
		if err != nil {
			t.Fatal(err)
		}
		events++
		types[e.Type]++
		keys[e.OrderingKey] = true
		largest = max(largest, len(e.GetBinaryData()))
		if customer, ok := e.References["customer"]; ok {
			customers[customer] = true
		} else {
			withoutCustomer++
			if e.OrderingKey != "invoice/"+e.Id {
				t.Errorf("%s is ordered by %s", e.Id, e.OrderingKey)
			}
		}
		if strings.HasPrefix(e.Id, "C") != (e.Type == "invoice.cancelled") {
			t.Errorf("%s is %s", e.Id, e.Type)
		}
		var payload struct {
			Lines []struct{ InvoiceNo, Quantity, UnitPrice string } `json:"lines"`
		}
		if err := json.Unmarshal(e.GetBinaryData(), &payload); err != nil {
			t.Fatalf("%s: %v", e.Id, err)
		}
		for _, line := range payload.Lines {
			count++
			quantity, ok := new(big.Rat).SetString(line.Quantity)
			price, ok2 := new(big.Rat).SetString(line.UnitPrice)
			if !ok || !ok2 || line.InvoiceNo != e.Id {
				t.Fatalf("%s: %v", e.Id, line)
			}
			sum.Add(sum, quantity.Mul(quantity, price))
		}
	}
	if events != 25_900 || count != 541_909 || types["invoice.cancelled"] != 3_836 || types["invoice.issued"] != 22_064 {
		t.Errorf("%d events of %d lines, %v", events, count, types)
	}
	if len(customers) != 4_372 || withoutCustomer != 3_710 || len(keys) != 4_372+3_710 {
		t.Errorf("%d customers, %d invoices without, %d keys", len(customers), withoutCustomer, len(keys))
	}
	if got := sum.FloatString(3); got != "9747747.934" || sum.Cmp(big.NewRat(9_747_747_934, 1000)) != 0 {
		t.Errorf("the sum is %s", got)
	}
	if largest > 512<<10 {
		t.Errorf("the largest event has %d bytes", largest)
	}
	t.Logf("largest event: %d bytes of data", largest)
}

func BenchmarkReader_AShopsYear(b *testing.B) {
	file := retail(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := file.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
		cfg := invoices("")
		cfg.Input = file
		if events, problems := read(b, cfg); len(events) != 25_900 || len(problems) > 0 {
			b.Fatal(len(events), problems)
		}
	}
}
