package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// README's "Clear an exception", with a thousand orders: one SKU is missing in half of them.
func TestProgram_ClearsAnExceptionByOneMapping(t *testing.T) {
	t.Parallel()
	const orders = 1000
	platform := newLedger(t)
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", platform.config()))
	p.until(`"msg":"ready"`)
	in.run("mappings", "set", "stock", "sku", "TEA=ITM-1", "--reason", "sold for years")
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	event := func(i int, what, sku string) {
		currency := []string{"IDR", "USD", "SGD"}[i%3]
		fmt.Fprintf(&lines, `{"id":"%[2]s-%[1]d","type":"%[2]s","orderingKey":"order/%[1]d","textData":"{\"sku\":\"%[3]s\",\"total\":\"12.50\",\"currency\":\"%[4]s\",\"count\":2}"}`+"\n", i, what, sku, currency)
	}
	for i := range orders {
		event(i, "created", []string{"TEA", "LATTE-OAT"}[i%2])
	}
	for i := 1; i < orders; i += 2 { // what waits behind those that are held
		event(i, "paid", "TEA")
	}
	in.run("publish", in.write("orders.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == orders/2 && query[int](t, db, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`) == orders/2
	}, p.log.String)

	list := func(arguments ...string) []toldException {
		t.Helper()
		var listed struct{ Exceptions []toldException }
		if err := json.Unmarshal([]byte(in.run(append([]string{"exceptions", "list", "--json"}, arguments...)...)), &listed); err != nil {
			t.Fatal(err)
		}
		return listed.Exceptions
	}
	waitUntil(t, func() bool { return len(list("--severity", "HIGH")) == 1 }, p.log.String)
	all := list("--by", "exposure")
	if len(all) != 1 {
		t.Fatalf("%d exceptions, want one", len(all))
	}
	x := all[0]
	// Of the odd numbers below 1000 every third leaves 0, 1 or 2: 167, 167 and 166 of them.
	want := []toldExposure{{"IDR", "2087.5", "334"}, {"SGD", "2075", "332"}, {"USD", "2087.5", "334"}}
	if x.Class != "SKU_UNMAPPED" || x.Held != orders/2 || x.Value != "LATTE-OAT" || x.Command != "raffsync mappings set stock sku LATTE-OAT=TARGET --reason WHY" {
		t.Errorf("the exception is %+v", x)
	}
	if diff := cmp.Diff(want, x.Exposure); diff != "" {
		t.Errorf("at stake (-want +got):\n%s", diff)
	}
	if got := in.run("exceptions", "show", x.ID, "--language", "id"); !strings.Contains(got, "LATTE-OAT") || !strings.Contains(got, "500 kiriman") {
		t.Errorf("in Indonesian it is\n%s", got)
	}
	in.run("exceptions", "start", x.ID, "--reason", "asking the supplier")

	in.run("mappings", "set", "stock", "sku", "LATTE-OAT=ITM-42", "--reason", "new item")
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	for i := range orders {
		want := []string{"created ITM-1"}
		if i%2 == 1 {
			want = []string{"created ITM-42", "paid ITM-1"}
		}
		if got := platform.of(fmt.Sprint("order/", i)); !cmp.Equal(got, want) {
			t.Errorf("order %d: %v, want %v", i, got, want)
		}
	}
	for key, n := range platform.keys {
		if n != 1 {
			t.Errorf("%d requests by the key %s", n, key)
		}
	}
	if n := query[int](t, db, `SELECT count(*) FROM exposures`); n != 0 {
		t.Errorf("%d exposures are left", n)
	}
	shown := in.run("exceptions", "show", x.ID)
	if !strings.Contains(shown, "RESOLVED") || !strings.Contains(shown, "resolved by "+actor("kopi").Name+": ") || !strings.Contains(shown, "new item") {
		t.Errorf("afterwards it is shown as\n%s", shown)
	}
	if _, stderr, code := in.try("exceptions", "resolve", x.ID, "--reason", "late to the party"); code != conflictStatus || !strings.Contains(stderr, "it is RESOLVED") || !strings.Contains(stderr, "resolved by "+actor("kopi").Name) {
		t.Errorf("resolved once more: status %d, %s", code, stderr)
	}
}

// What comes behind an order that a person has to decide about waits, says for what, and
// follows in order once it is retried.
func TestProgram_LaterEventsWaitForTheFirst(t *testing.T) {
	t.Parallel()
	platform := newLedger(t)
	var known sync.Map
	platform.refuses = func(order, _ string) bool { _, ok := known.Load(order); return !ok }
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", platform.config()))
	p.until(`"msg":"ready"`)
	in.run("mappings", "set", "stock", "sku", "TEA=ITM-1", "--reason", "sold for years")
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	for _, what := range []string{"created", "paid", "refunded"} {
		for _, order := range []string{"1042", "1043"} {
			fmt.Fprintf(&lines, `{"id":"%[1]s-%[2]s","type":"%[1]s","orderingKey":"order/%[2]s","references":{"order":"%[2]s"},"textData":"{\"sku\":\"TEA\"}"}`+"\n", what, order)
		}
	}
	in.run("publish", in.write("orders.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == 2 }, p.log.String)
	story := in.run("story", "1042")
	for _, waits := range []string{"paid", "refunded"} {
		if !strings.Contains(story, waits) || !strings.Contains(story, "created-1042") {
			t.Errorf("the story does not say what %s waits for:\n%s", waits, story)
		}
	}
	var listed struct{ Exceptions []toldException }
	if err := json.Unmarshal([]byte(in.run("exceptions", "list", "--json")), &listed); err != nil || len(listed.Exceptions) != 1 || listed.Exceptions[0].Held != 2 {
		t.Fatalf("the list: %+v, %v", listed, err)
	}
	known.Store("order/1042", true)
	known.Store("order/1043", true)
	if got := in.run("exceptions", "retry", listed.Exceptions[0].ID, "--reason", "the customer exists there now"); !strings.Contains(got, "trying 2 deliveries again") {
		t.Errorf("retried: %s", got)
	}
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	for _, order := range []string{"order/1042", "order/1043"} {
		if got := platform.of(order); !cmp.Equal(got, []string{"created ITM-1", "paid ITM-1", "refunded ITM-1"}) {
			t.Errorf("%s: %v", order, got)
		}
	}
}

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
	platform := newLedger(t)
	refused := map[string]bool{"order/1": true, "order/2": true}
	platform.refuses = func(order, _ string) bool { return refused[order] } // under the platform's lock
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", platform.config()))
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
		"exceptions --by": "SKU_UNMAPPED", "exceptions show": "LATTE-OAT", "exceptions ack": "acknowledged until", "exceptions assign": "ACKNOWLEDGED",
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
			delete(refused, "order/1")
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
	if got := [][]string{platform.of("order/0"), platform.of("order/1"), platform.of("order/2")}; !cmp.Equal(got, [][]string{{"created ITM-42"}, {"created ITM-1"}, {}}) {
		t.Errorf("the platform has %v", got)
	}
}
