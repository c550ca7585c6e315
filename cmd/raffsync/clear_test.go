package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// orders of a shop, which go to the platform by a recipe.
const orders = `
tenant: kopi
sources: {till: {}}
destinations:
  stock:
    recipe:
      url: %s
      idempotent: true
      idempotency_key: {header: Idempotency-Key}
      calls:
        order:
          url: /orders
          map: {order: "${event.ordering_key}", what: "${event.type}", item: "${lookup('sku', body.sku)}"}
routes:
  orders: {from: till, to: stock, steps: [{name: order, call: order}]}
`

// README's "Clear an exception": each of its commands does what it says, on an exception of
// its own where the one before was closed.
func TestProgram_ReadmeClearsExceptions(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Clear an exception\n")
	section, _, _ = strings.Cut(section, "\n## ")
	platform := newPlatform(t)
	platform.answers = map[string]int{"order/1": http.StatusUnprocessableEntity, "order/2": http.StatusUnprocessableEntity}
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", fmt.Sprintf(orders, platform.server.URL)))
	p.until(`"msg":"ready"`)
	in.run("mappings", "set", "stock", "sku", "TEA=ITM-1", "--reason", "sold for years")
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	publish := func(number int, sku string) {
		in.run("publish", in.write("one.jsonl", fmt.Sprintf(`{"id":"e%[1]d","type":"created","orderingKey":"order/%[1]d","textData":"{\"sku\":\"%[2]s\"}"}`+"\n", number, sku)), "--to", in.grpc, "--key-file", key)
	}
	// open is the exception that holds something, once there is one.
	open := func() (id string) {
		t.Helper()
		waitUntil(t, func() bool {
			var listed struct{ Exceptions []toldException }
			if err := json.Unmarshal([]byte(in.run("exceptions", "list", "--json")), &listed); err != nil {
				t.Fatal(err)
			}
			if len(listed.Exceptions) == 1 {
				id = listed.Exceptions[0].ID
			}
			return id != ""
		}, p.log.String)
		return id
	}
	says := map[string]string{
		"exceptions --by": "SKU_UNMAPPED", "exceptions --outlet": "nothing needs a person", "exceptions show": "LATTE-OAT", "exceptions ack": "acknowledged until", "exceptions assign": "ACKNOWLEDGED",
		"exceptions start": "IN_PROGRESS", "exceptions comment": "IN_PROGRESS", "mappings set": "; 1 delivery waited for it",
		"exceptions retry": "RESOLVED; trying 1 delivery again", "exceptions dismiss": "DISMISSED; skipping 1 delivery",
	}
	publish(0, "LATTE-OAT")
	number, ran := 0, map[string]bool{}
	for line := range strings.Lines(section) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "raffsync ")
		if !ok || !strings.HasPrefix(line, "    ") {
			continue
		}
		command, _, _ = strings.Cut(command, " #")
		command, reason, _ := strings.Cut(command, ` --reason "`)
		words := strings.Fields(command)
		name := words[0] + " " + words[1]
		if name == "exceptions retry" || name == "exceptions dismiss" {
			number++
			publish(number, "TEA")
		}
		id := open()
		if name == "exceptions retry" {
			platform.mu.Lock()
			delete(platform.answers, "order/1")
			platform.mu.Unlock()
		}
		for i := range words {
			if words[i] == "ID" {
				words[i] = id
			}
		}
		if reason != "" {
			words = append(words, "--reason", strings.TrimSuffix(reason, `"`))
		}
		if out := in.run(words...); !strings.Contains(out, says[name]) {
			t.Errorf("%v says\n%s\nwant %q", words, out, says[name])
		}
		ran[name] = true
	}
	if len(ran) != len(says) {
		t.Errorf("README has the commands %v", ran)
	}
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	platform.mu.Lock()
	defer platform.mu.Unlock()
	if diff := cmp.Diff(map[string][]string{"order/0": {"created ITM-42"}, "order/1": {"created ITM-1"}}, platform.taken); diff != "" {
		t.Errorf("the platform (-want +got):\n%s", diff)
	}
}
