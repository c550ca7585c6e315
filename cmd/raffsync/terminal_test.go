package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// All of an exception's resolving is done from a terminal: found by its outlet and by whose
// turn it is, one order put right by two people, the other sent elsewhere; and what makes
// no sense is refused in words.
func TestProgram_ResolvesFromATerminal(t *testing.T) {
	t.Parallel()
	books, stock := newReceiver(t), newReceiver(t)
	var refuses atomic.Bool
	refuses.Store(true)
	books.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (handled, effect bool) {
		if refuses.Load() {
			http.Error(w, "the tax is not that of the price", http.StatusUnprocessableEntity)
			return true, false
		}
		return false, false
	}
	in := newInstallation(t)
	secret := "file:" + in.write("secret", receiverSecret)
	p := in.start("serve", "--development", "--config", in.write("raffsync.yaml", fmt.Sprintf(`
tenant: kopi
outlets: {mall: {team: jakarta}, kiosk: {}}
teams: {jakarta: {notify: ["https://chat.example.com/x"]}, finance: {notify: ["https://chat.example.com/y"]}}
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
  stock: {webhook: {url: %q, secret: %q}}
routes:
  orders:
    from: till
    to: books
    edits: {allow: [/note], second_person: ["/lines/*/tax"]}
  spare: {from: till, to: stock, when: 'false'}
`, books.server.URL, secret, stock.server.URL, secret)))
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	for _, id := range []string{"wrong", "elsewhere"} {
		fmt.Fprintf(&lines, `{"id":%q,"type":"order.created","orderingKey":"order/%[1]s","outlet":"mall","textData":"{\"lines\":[{\"Quantity\":\"2\",\"UnitPrice\":\"10.00\",\"tax\":1.10}]}"}`+"\n", id)
	}
	in.run("publish", in.write("events.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == 2 }, p.log.String)

	list := func(arguments ...string) []toldException {
		t.Helper()
		var listed struct{ Exceptions []toldException }
		if err := json.Unmarshal([]byte(in.run(append([]string{"exceptions", "list", "--json"}, arguments...)...)), &listed); err != nil {
			t.Fatal(err)
		}
		return listed.Exceptions
	}
	for arguments, want := range map[string]int{
		"--outlet mall": 1, "--outlet kiosk": 0, "--team jakarta": 1, "--team finance": 0, "--outlet mall --team jakarta --by exposure": 1, "--outlet nowhere --all": 0,
	} {
		if n := len(list(strings.Fields(arguments)...)); n != want {
			t.Errorf("%s: %d exceptions, want %d", arguments, n, want)
		}
	}
	x := list()[0]
	if x.KeysBlocked != 2 || x.Turn != "jakarta" || x.OldestHeldAt == nil || !x.OldestHeldAt.Equal(query[time.Time](t, db, `SELECT min(accepted_at) FROM events`)) {
		t.Errorf("the exception is %+v", x)
	}
	if got := in.run("exceptions"); !strings.Contains(got, "2 keys blocked") || !strings.Contains(got, "turn of jakarta") {
		t.Errorf("the list says\n%s", got)
	}
	var shown struct{ Held []toldHeld }
	if err := json.Unmarshal([]byte(in.run("exceptions", "show", x.ID, "--json")), &shown); err != nil || len(shown.Held) != 2 {
		t.Fatalf("%+v, %v", shown, err)
	}
	held := map[string]string{}
	for _, h := range shown.Held {
		held[h.Event] = h.ID
	}
	refused := func(code int, says string, arguments ...string) {
		t.Helper()
		if _, stderr, got := in.try(arguments...); got != code || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit %d, %s; want %d: %s", arguments, got, stderr, code, says)
		}
	}
	refused(1, "does not allow to change /total", "edit", held["wrong"], "/total=1", "--reason", "r")
	refused(1, "a text has quotes", "edit", held["wrong"], "/note=by hand", "--reason", "r")
	refused(1, "expected a path and a value", "edit", held["wrong"], "note=1", "--reason", "r")
	refused(3, "look at it again", "edit", held["wrong"], "/note=1", "--if-version", "99", "--reason", "r")
	refused(1, "", "edit", "dlv_x", "/note=1", "--reason", "r")
	refused(1, "there is no destination", "redirect", held["elsewhere"], "nowhere", "--reason", "r")
	refused(1, "there is no such edit", "edits", "approve", "99", "--reason", "r")

	if got := in.run("edit", held["wrong"], "/lines/0/tax=1.375", "--reason", "as the invoice says"); !strings.Contains(got, "PENDING") || !strings.Contains(got, "raffsync edits approve 1") {
		t.Errorf("asked:\n%s", got)
	}
	refused(1, "nobody approves their own", "edits", "approve", "1", "--reason", "me again")
	if got := in.run("edits", "reject", "1", "--reason", "typed wrong"); !strings.Contains(got, "REJECTED") {
		t.Errorf("taken back:\n%s", got)
	}
	// Somebody else asks, over the API; this login approves.
	_, password, _ := strings.Cut(strings.TrimSpace(in.run("keys", "operator", "ayu")), " / ")
	ayu := &apiClient{t: t, url: "http://" + in.http + "/graphql", name: "ayu", secret: password}
	var done struct {
		EditDelivery struct{ UserErrors []struct{ Message string } }
	}
	version := query[int](t, db, `SELECT d.version FROM deliveries d JOIN events e ON e.seq = d.event WHERE e.id = 'wrong'`)
	ayu.query(fmt.Sprintf(`mutation { editDelivery(input: {id: %q, expectedVersion: %d, requestId: "r", reason: "as the invoice says", changes: [{path: "/lines/0/tax", value: "1.375"}]}) { userErrors { message } } }`,
		held["wrong"], version), &done)
	if len(done.EditDelivery.UserErrors) > 0 {
		t.Fatalf("asked over the API: %+v", done)
	}
	refuses.Store(false)
	if got := in.run("edits", "approve", "2", "--reason", "seen the invoice"); !strings.Contains(got, "APPLIED") {
		t.Errorf("approved:\n%s", got)
	}
	if got := in.run("redirect", held["elsewhere"], "stock", "--route", "spare", "--reason", "books has closed the period"); !strings.Contains(got, "by route spare") {
		t.Errorf("redirected:\n%s", got)
	}
	waitUntil(t, func() bool { return books.effectsOf("wrong") == 1 && stock.effectsOf("elsewhere") == 1 }, p.log.String)
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	refused(1, "", "edit", held["wrong"], "/note=1", "--reason", "it is delivered")
	refused(1, "", "redirect", held["wrong"], "stock", "--reason", "it is delivered")
	if got := in.run("edits", "--status", "APPLIED"); !strings.Contains(got, "edit 2 APPLIED") || !strings.Contains(got, "/lines/0/tax = 1.375") || strings.Contains(got, "edit 1") {
		t.Errorf("the list of edits:\n%s", got)
	}
	if books.effectsOf("elsewhere") != 0 {
		t.Error("what was redirected came to both")
	}
	if got := list("--all", "--outlet", "mall"); len(got) != 1 || got[0].Status != "RESOLVED" || got[0].KeysBlocked != 0 {
		t.Errorf("once it is over: %+v", got)
	}
}
