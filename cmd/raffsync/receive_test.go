package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The steps of README's worked example, on three lines: a receiver, which makes the
// secret, a configuration, a key, a file.
func TestProgram_ReceiveCountsAndSums(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	address, secret := freeAddress(t), filepath.Join(in.state, "books.secret")
	r := in.start("receive", "--listen", address, "--secret-file", secret, "--sum", "Quantity*UnitPrice")
	r.until("receiving on http://" + address)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: shop
sources: {ledger: {}}
destinations:
  books: {webhook: {url: "http://%s", secret: "file:%s"}}
routes:
  invoices: {from: ledger, to: books, types: ["invoice.*"]}
`, address, secret))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := filepath.Join(in.state, "ledger.key")
	in.run("keys", "create", "ledger", "--tenant", "shop", "--out", key)
	file := in.write("year.csv", "InvoiceNo,Quantity,UnitPrice\n1,2,0.1\n2,-3,1.005\n1,10,0.20\n")
	in.run("publish", file, "--to", in.grpc, "--key-file", key, "--id", "InvoiceNo", "--type", "invoice.issued", "--ordering-key", "invoice/{InvoiceNo}")
	r.until("2 messages in 2 requests, sum of Quantity × UnitPrice -0.815\n")

	response, err := http.Post("http://"+address, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without a signature is answered with %d", response.StatusCode)
	}
	r.signal(syscall.SIGINT)
	if r.err != nil {
		t.Errorf("a graceful stop: %v\n%s", r.err, r.log)
	}
}
