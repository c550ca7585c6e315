// Command ledger serves Ledger, the made-up service of GUIDE.md, on this machine, to try the
// guide with: go run ./connectors/recipe/examples/ledger. Its token is the variable
// LEDGER_TOKEN; it forgets everything at its end.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"raffsync/connectors/simulator/ledger"
)

const address = "127.0.0.1:8099"

func main() {
	token := os.Getenv("LEDGER_TOKEN")
	if token == "" {
		log.Fatal("LEDGER_TOKEN is not set: the token that it is to take")
	}
	service := ledger.New(token)
	server := http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service.ServeHTTP(w, r)
		fmt.Printf("%s %s: %d customers, %d orders, %d invoices\n", r.Method, r.URL.RequestURI(),
			len(service.Entries("customers")), len(service.Entries("orders")), len(service.Entries("invoices")))
	})}
	fmt.Printf("Ledger at http://%s/v1\n", address)
	log.Fatal(server.ListenAndServe())
}
