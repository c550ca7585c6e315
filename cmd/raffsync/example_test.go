package main

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The worked example of README.md: a shop's real year goes through the running
// program to a webhook receiver, twice.
func TestProgram_WorkedExample(t *testing.T) {
	data, err := filepath.Abs("../../../shared/data/uk_online_retail_541909.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Skip("the shop's year is not here: it is never committed")
	}
	t.Parallel()
	r := newReceiver(t)
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: shop
sources: {ledger: {}}
destinations:
  books:
    webhook: {url: %q, secret: %q}
    limits: {concurrency: 128}
routes:
  invoices: {from: ledger, to: books, types: ["invoice.*"]}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	in.run("keys", "create", "ledger", "--out", filepath.Join(in.state, "ledger.key"))
	publish := func() string {
		return in.run("publish", data, "--json", "--to", in.grpc, "--key-file", filepath.Join(in.state, "ledger.key"),
			"--id", "InvoiceNo", "--type", "invoice.issued", "--type-if", "C*=invoice.cancelled",
			"--ordering-key", "customer/{CustomerID}|invoice/{InvoiceNo}", "--time", "InvoiceDate", "--outlet", "Country",
			"--reference", "invoice={InvoiceNo}", "--reference", "customer={CustomerID}")
	}
	const events = 25_900
	first := publish()
	if !strings.Contains(first, fmt.Sprintf(`"accepted": %d`, events)) && !strings.Contains(first, fmt.Sprintf(`"accepted":%d`, events)) {
		t.Errorf("the first publish says %s", first)
	}
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string {
		return fmt.Sprintf("%d deliveries are still open", query[int](t, db, `SELECT count(*) FROM deliveries`))
	})
	r.mu.Lock()
	if len(r.events) != events || r.count != events {
		t.Errorf("%d distinct events in %d requests at the receiver, want %d of each", len(r.events), r.count, events)
	}
	if r.cancels != 3836 {
		t.Errorf("%d cancellations, want 3836", r.cancels)
	}
	if want, _ := new(big.Rat).SetString("9747747.934"); r.total.Cmp(want) != 0 {
		t.Errorf("the sum at the receiver is %s, want %s", r.total.FloatString(6), want.FloatString(6))
	}
	r.mu.Unlock()

	// Each customer's invoices in the order of acceptance, which is the file's.
	rows, err := db.Query(t.Context(), `SELECT ordering_key, array_agg(id ORDER BY accepted_at, seq) AS ids FROM events GROUP BY ordering_key`)
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		OrderingKey string
		IDs         []string `db:"ids"`
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByName[line])
	if err != nil {
		t.Fatal(err)
	}
	if want := 4372 + 3710; len(lines) != want {
		t.Errorf("%d ordering keys, want %d customers and invoices without one", len(lines), want)
	}
	for _, l := range lines {
		if !slices.Equal(r.order[l.OrderingKey], l.IDs) {
			t.Errorf("%s: came in another order than accepted", l.OrderingKey)
		}
	}

	before := r.count
	second := publish()
	if !strings.Contains(second, fmt.Sprintf(`"duplicates": %d`, events)) && !strings.Contains(second, fmt.Sprintf(`"duplicates":%d`, events)) {
		t.Errorf("the second publish says %s", second)
	}
	if n := query[int](t, db, `SELECT count(*) FROM events`); n != events {
		t.Errorf("%d events after the second publish, want %d", n, events)
	}
	p.signal(syscall.SIGTERM)
	if r.count != before {
		t.Errorf("the second publish caused %d requests", r.count-before)
	}
	t.Logf("first: %s\nsecond: %s", first, second)
}
