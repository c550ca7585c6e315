package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"raffsync/connectors/simulator/accurate"
)

// A shop's year as documents of Accurate Online. Cancellations are returns; what the shop
// booked with negative quantities and no price is a movement of stock.
const accurateYear = `
tenant: shop
sources: {ledger: {}}
destinations:
  accurate:
    recipe: accurate-online
    settings: {adjustment_account: "5-1000"}
    %s
    limits: {concurrency: 64, rate: 100000/s}   # at a simulator that bears it
routes:
  cancellations:
    to: accurate
    types: [invoice.cancelled]
    on_exception: pass
    steps:
      - name: return
        call: sales-return.save
        effect: "return/${event.id}"
        map:
          number: "${reference(30)}"
          transDate: "${date(body.lines[0].InvoiceDate, 'Europe/London', 'dd/MM/yyyy')}"
          customerNo: "${body.lines[0].CustomerID == '' ? 'WALK-IN' : lookup('customer', body.lines[0].CustomerID)}"
          returnType: NO_INVOICE
          detailItem:
            - $each: {line: "${body.lines}"}
              itemNo: "${lookup('sku', line.StockCode)}"
              quantity: "${-decimal(line.Quantity)}"
              unitPrice: "${decimal(line.UnitPrice)}"
  corrections:
    to: accurate
    types: [invoice.issued]
    when: body.lines.exists(l, l.Quantity.startsWith('-'))
    on_exception: pass
    steps:
      - name: adjustment
        call: item-adjustment.save
        effect: "adjustment/${event.id}"
        map:
          number: "${reference(30)}"
          transDate: "${date(body.lines[0].InvoiceDate, 'Europe/London', 'dd/MM/yyyy')}"
          adjustmentAccountNo: "5-1000"
          detailItem:
            - $each: {line: "${body.lines}"}
              itemNo: "${lookup('sku', line.StockCode)}"
              itemAdjustmentType: ADJUSTMENT_OUT
              quantity: "${-decimal(line.Quantity)}"
  invoices:
    to: accurate
    types: [invoice.issued]
    on_exception: pass
    steps:
      - name: invoice
        call: sales-invoice.save
        effect: "invoice/${event.id}"
        map:
          number: "${reference(30)}"
          transDate: "${date(body.lines[0].InvoiceDate, 'Europe/London', 'dd/MM/yyyy')}"
          customerNo: "${body.lines[0].CustomerID == '' ? 'WALK-IN' : lookup('customer', body.lines[0].CustomerID)}"
          poNumber: "${event.id}"
          detailItem:
            - $each: {line: "${body.lines}"}
              itemNo: "${lookup('sku', line.StockCode)}"
              quantity: "${decimal(line.Quantity)}"
              unitPrice: "${decimal(line.UnitPrice)}"
`

// booked is what documents come to: kinds, totals, and what they move.
type booked struct {
	documents map[string]int
	total     *big.Rat // of invoices less returns
	stock     map[string]*big.Rat
}

func (b *booked) add(item string, quantity *big.Rat) {
	if b.stock[item] == nil {
		b.stock[item] = new(big.Rat)
	}
	b.stock[item].Add(b.stock[item], quantity)
}

// year is the file.
type year struct {
	file            string
	invoices        [][][]string // their lines
	skus, customers []string     // that occur, sorted
}

// Columns of the file.
const (
	colInvoice, colSKU, colQuantity, colPrice, colCustomer = 0, 1, 3, 5, 6
)

func readYear(t testing.TB) (y year) {
	t.Helper()
	folder := os.Getenv("RAFFSYNC_SHARED_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	y.file = filepath.Join(folder, "uk_online_retail_541909.csv.gz")
	file, err := os.Open(y.file)
	if err != nil {
		t.Skipf("the shop's year is not on this machine (RAFFSYNC_SHARED_DATA names its folder): %v", err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(unpacked)
	if _, err := r.Read(); err != nil { // the head
		t.Fatal(err)
	}
	at := map[string]int{} // of an invoice whose lines need not stand together
	for {
		line, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		i, seen := at[line[colInvoice]]
		if !seen {
			i = len(y.invoices)
			at[line[colInvoice]] = i
			y.invoices = append(y.invoices, nil)
		}
		y.invoices[i] = append(y.invoices[i], line)
		y.skus, y.customers = append(y.skus, line[colSKU]), append(y.customers, line[colCustomer])
	}
	for _, list := range []*[]string{&y.skus, &y.customers} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	y.customers = slices.DeleteFunc(y.customers, func(id string) bool { return id == "" })
	return y
}

// expected is what the invoices come to that hold none of the SKUs.
func (y *year) expected(t testing.TB, without map[string]bool) booked {
	t.Helper()
	b := booked{documents: map[string]int{}, total: new(big.Rat), stock: map[string]*big.Rat{}}
	number := func(text string) *big.Rat {
		n, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is no number", text)
		}
		return n
	}
	for _, lines := range y.invoices {
		if slices.ContainsFunc(lines, func(l []string) bool { return without[l[colSKU]] }) {
			continue
		}
		kind := "sales-invoice"
		if strings.HasPrefix(lines[0][colInvoice], "C") {
			kind = "sales-return"
		} else if slices.ContainsFunc(lines, func(l []string) bool { return strings.HasPrefix(l[colQuantity], "-") }) {
			kind = "item-adjustment"
		}
		b.documents[kind]++
		for _, l := range lines {
			quantity := number(l[colQuantity])
			if kind == "item-adjustment" {
				b.add(l[colSKU], quantity)
				continue
			}
			b.total.Add(b.total, new(big.Rat).Mul(quantity, number(l[colPrice])))
			b.add(l[colSKU], quantity.Neg(quantity)) // what is sold goes out
		}
	}
	return b
}

// items are what the platform calls SKUs.
func items(skus []string) map[string]string {
	all := make(map[string]string, len(skus))
	for i, sku := range skus {
		all[sku] = fmt.Sprintf("ITM-%d", i)
	}
	return all
}

// compare holds the platform's books to what is expected.
func (b *booked) compare(t testing.TB, sim *accurate.Simulator, items map[string]string) {
	t.Helper()
	total := new(big.Rat)
	for _, kind := range []string{"sales-invoice", "sales-return", "item-adjustment"} {
		all := sim.Documents(kind)
		if len(all) != b.documents[kind] {
			t.Errorf("%d documents of %s, want %d", len(all), kind, b.documents[kind])
		}
		for _, d := range all {
			switch kind {
			case "sales-invoice":
				total.Add(total, d.Total)
			case "sales-return":
				total.Sub(total, d.Total)
			}
		}
	}
	if total.Cmp(b.total) != 0 {
		t.Errorf("the total is %s, want %s", total.FloatString(6), b.total.FloatString(6))
	}
	wrong := 0
	for sku, item := range items {
		want := b.stock[sku]
		if want == nil {
			want = new(big.Rat)
		}
		if sim.Stock(item).Cmp(want) != 0 {
			if wrong++; wrong < 5 {
				t.Errorf("stock of %s (%s) is %s, want %s", item, sku, sim.Stock(item).RatString(), want.RatString())
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d items have another stock", wrong)
	}
}

// A shop's year goes through the recipe to Accurate Online, with one of a hundred SKUs
// missing: one exception each, and everything else exact. One import, and all is.
func TestProgram_AYearToAccurate(t *testing.T) {
	y := readYear(t)
	t.Parallel()
	calls, missing := items(y.skus), map[string]bool{}
	known, rest, customers := "value,target\n", "value,target\n", "value,target\n"
	c := accurate.Config{Rate: 1 << 30, Parallel: 1 << 20, Customers: []accurate.Customer{{No: "WALK-IN", Name: "Counter"}}}
	for i, sku := range y.skus {
		c.Items = append(c.Items, accurate.Item{No: calls[sku], Name: sku})
		line := fmt.Sprintf("%q,%s\n", sku, calls[sku])
		if i%100 == 0 {
			missing[sku] = true
			rest += line
		} else {
			known += line
		}
	}
	for _, id := range y.customers {
		c.Customers = append(c.Customers, accurate.Customer{No: "CUST-" + id, Name: id})
		customers += id + ",CUST-" + id + "\n"
	}
	sim, at := serveAccurate(t, c)
	in := newInstallation(t)
	in.env = append(in.env, accurateEnvironment()...)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", fmt.Sprintf(accurateYear, accurateAuth(at))))
	p.until(`"msg":"ready"`)
	in.run("mappings", "import", "accurate", "sku", in.write("sku.csv", known))
	in.run("mappings", "import", "accurate", "customer", in.write("customer.csv", customers))
	in.run("keys", "create", "ledger", "--out", filepath.Join(in.state, "ledger.key"))
	began := time.Now()
	in.run("publish", y.file, "--to", in.grpc, "--key-file", filepath.Join(in.state, "ledger.key"),
		"--id", "InvoiceNo", "--type", "invoice.issued", "--type-if", "C*=invoice.cancelled",
		"--ordering-key", "customer/{CustomerID}|invoice/{InvoiceNo}", "--time", "InvoiceDate", "--reference", "invoice={InvoiceNo}")
	published := time.Since(began)

	db := in.database()
	others, all := y.expected(t, missing), y.expected(t, nil)
	held := len(y.invoices) - sumOf(others.documents)
	settled := func(open, documents int) {
		t.Helper()
		for before := -1; ; { // as long as it gets on
			n := 0
			waitUntil(t, func() bool {
				n = sim.Count("sales-invoice") + sim.Count("sales-return") + sim.Count("item-adjustment")
				return n != before || n >= documents && query[int](t, db, `SELECT count(*) FROM deliveries`) == open
			}, func() string {
				return fmt.Sprintf("%d documents of %d, %d deliveries are open\n%s", n, documents, query[int](t, db, `SELECT count(*) FROM deliveries`), in.run("exceptions"))
			})
			if n == before {
				return
			}
			before = n
		}
	}
	settled(held, sumOf(others.documents))
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM exceptions WHERE class = 'SKU_UNMAPPED' AND closed_at IS NULL`) >= len(missing) &&
			query[int](t, db, `SELECT count(DISTINCT (event)) FROM timeline WHERE state = 'NEEDS_ACTION'`) >= held
	}, func() string { return in.run("exceptions") })
	first := time.Since(began)
	if n := query[int](t, db, `SELECT count(*) FROM exceptions`); n != len(missing) {
		t.Errorf("%d exceptions, want one for each of %d missing SKUs", n, len(missing))
	}
	others.compare(t, sim, calls)

	in.run("mappings", "import", "accurate", "sku", in.write("rest.csv", rest))
	settled(0, len(y.invoices))
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`) == 0 }, func() string { return in.run("exceptions") })
	all.compare(t, sim, calls)
	if want := big.NewRat(9_747_747_934, 1000); all.total.Cmp(want) != 0 || len(y.skus) != 4070 || len(y.invoices) != 25_900 {
		t.Errorf("the year has %d invoices of %d SKUs, and comes to %s", len(y.invoices), len(y.skus), all.total.FloatString(3))
	}
	if n := query[int](t, db, `SELECT count(*) FROM exceptions`); n != len(missing) {
		t.Errorf("%d exceptions in the end, want %d", n, len(missing))
	}
	t.Logf("%d invoices of %d SKUs, %d missing: published in %s, %d of them made by %s, %d held until one import, all by %s",
		len(y.invoices), len(y.skus), len(missing), published.Round(time.Millisecond), sumOf(others.documents), first.Round(time.Millisecond), held, time.Since(began).Round(time.Millisecond))
}

func sumOf(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
