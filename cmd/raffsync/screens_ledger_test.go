package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// ledger is a platform that takes anything at /orders, and counts.
type ledger struct {
	server *httptest.Server
	// refuses may refuse a request by what is asked for.
	refuses func(order, what string) bool

	mu    sync.Mutex
	keys  map[string]int      // requests that it took, by idempotency key
	taken map[string][]string // what of each order, in the order in which it came
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{keys: make(map[string]int), taken: make(map[string][]string)}
	l.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body struct{ Order, What, Item string }
		if err := json.NewDecoder(q.Body).Decode(&body); err != nil {
			t.Errorf("a request cannot be read: %v", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.refuses != nil && l.refuses(body.Order, body.What) {
			http.Error(w, `{"error": "no such customer"}`, http.StatusUnprocessableEntity)
			return
		}
		if l.keys[q.Header.Get("Idempotency-Key")]++; l.keys[q.Header.Get("Idempotency-Key")] == 1 {
			l.taken[body.Order] = append(l.taken[body.Order], body.What+" "+body.Item)
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(l.server.Close)
	return l
}

func (l *ledger) of(order string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.taken[order]...)
}

// config of a shop whose orders go to it by a recipe.
func (l *ledger) config() string {
	return fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  stock:
    limits: {concurrency: 32}
    recipe:
      url: %s
      idempotent: true
      idempotency_key: {header: Idempotency-Key}
      calls:
        order:
          url: /orders
          map: {order: "${event.ordering_key}", what: "${event.type}", item: "${lookup('sku', body.sku)}"}
routes:
  orders:
    from: till
    to: stock
    exposure: {amount: "${money(body.total, body.currency)}", currency: "${body.currency}", units: "${body.count}"}
    steps: [{name: order, call: order}]
severity:
  - {when: 'exposure.USD > 1000', is: HIGH}
`, l.server.URL)
}
