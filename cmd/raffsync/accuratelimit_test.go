package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/connectors/simulator/accurate"
)

// Eight calls a second and eight at once, which the recipe says of Accurate Online, hold
// through the whole program, at a platform that refuses the ninth.
func TestProgram_KeepsToTheLimitsOfARecipe(t *testing.T) {
	t.Parallel()
	sim, err := accurate.New(accurate.Config{
		Token: accurateToken, Secret: accurateSigning,
		Items: []accurate.Item{{No: "ITM-1"}}, Customers: []accurate.Customer{{No: "C-7", Name: "Ani"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var came []time.Time
	there, most := 0, 0
	platform := sim.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/accurate/") {
			mu.Lock()
			came, there = append(came, time.Now()), there+1
			most = max(most, there)
			mu.Unlock()
			defer func() { mu.Lock(); there--; mu.Unlock() }()
		}
		platform.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	in := newInstallation(t)
	in.env = append(in.env, accurateEnvironment()...)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  accurate:
    recipe: accurate-online
    settings: {walk_in: C-7}
    %s
routes:
  sales:
    to: accurate
    steps:
      - {name: invoice, call: sales-invoice.save, effect: "invoice/${body.number}"}
`, accurateAuth(server.URL))))
	p.until(`"msg":"ready"`)
	in.run("mappings", "set", "accurate", "sku", "LATTE=ITM-1", "--reason", "menu")
	key := filepath.Join(in.state, "till.key")
	in.run("keys", "create", "till", "--out", key)
	const orders = 40
	var lines strings.Builder
	for i := range orders {
		fmt.Fprintf(&lines, `{"id":"e-%[1]d","type":"order.paid","orderingKey":"order/%[1]d","textData":"{\"number\":%[1]d,\"date\":\"2026-11-23\",\"lines\":[{\"sku\":\"LATTE\",\"quantity\":1,\"price\":3.5}]}"}`+"\n", i)
	}
	in.run("publish", in.write("orders.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	waitUntil(t, func() bool { return sim.Count("sales-invoice") == orders }, func() string { return in.run("exceptions") + p.log.String() })
	mu.Lock()
	defer mu.Unlock()
	if len(came) != orders || sim.Limited() != 0 || most > 8 {
		t.Errorf("%d calls for %d invoices, %d refused, %d at once", len(came), orders, sim.Limited(), most)
	}
	for i := 8; i < len(came); i++ {
		if apart := came[i].Sub(came[i-8]); apart < time.Second {
			t.Errorf("calls %d to %d came within %s: nine", i-8, i, apart)
		}
	}
}
