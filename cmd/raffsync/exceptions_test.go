package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A receiver takes the credential away: the list says so once, with the command that goes
// on from there; and that command does.
func TestProgram_ResolvesALostAuthorisation(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var refuses atomic.Bool
	refuses.Store(true)
	r.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (handled, effect bool) {
		if refuses.Load() {
			http.Error(w, "no such key", http.StatusUnauthorized)
			return true, false
		}
		return false, false
	}
	in := newInstallation(t)
	secret := "file:" + in.write("books.secret", receiverSecret)
	p := in.start("serve", "--development", "--config", in.write("raffsync.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q}}
routes:
  orders: {from: till, to: books}
`, r.server.URL, secret)))
	p.until(`"msg":"ready"`)
	if got := in.run("exceptions"); !strings.Contains(got, "nothing needs a person") {
		t.Errorf("before anything happened: %s", got)
	}
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	const events = 100
	for i := range events {
		fmt.Fprintf(&lines, `{"id":"e%02d","type":"order.created","orderingKey":"order/%d","textData":"{}"}`+"\n", i, i)
	}
	in.run("publish", in.write("events.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM controls`) == 1 }, p.log.String)

	var listed struct {
		Exceptions []toldException
	}
	if err := json.Unmarshal([]byte(in.run("exceptions", "list", "--json")), &listed); err != nil || len(listed.Exceptions) != 1 {
		t.Fatalf("the list: %+v, %v", listed, err)
	}
	x := listed.Exceptions[0]
	if x.Class != "AUTH_REVOKED" || x.Destination != "books" || x.Held != events || x.Command != "raffsync resume authorisation books --reason WHY" {
		t.Errorf("the exception is %+v", x)
	}
	if got := in.run("story", "e00"); !strings.Contains(strings.ToLower(got), "authorisation") {
		t.Errorf("the story of an event does not say what it waits for:\n%s", got)
	}
	refuses.Store(false)
	command := strings.Fields(strings.TrimPrefix(x.Command, "raffsync "))
	command[len(command)-1] = "the receiver has the key again"
	in.run(command...)
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	if got := in.run("exceptions", "show", x.ID); !strings.Contains(got, "RESOLVED") || !strings.Contains(got, "the receiver has the key again") {
		t.Errorf("afterwards it is shown as:\n%s", got)
	}
	for i := range events {
		if n := r.effectsOf(fmt.Sprintf("e%02d", i)); n != 1 {
			t.Errorf("event %d took effect %d times", i, n)
		}
	}
}
