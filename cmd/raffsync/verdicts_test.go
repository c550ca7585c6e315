package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// README's "Look there": of two orders whose answers were lost at a platform that neither
// recognises repeats nor can be asked, a person finds one there and not the other.
func TestProgram_TakesAPersonsWordForWhatIsThere(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var loses atomic.Bool
	loses.Store(true)
	r.misbehave = func(http.ResponseWriter, *http.Request, int) (handled, effect bool) {
		if loses.Load() {
			panic(http.ErrAbortHandler)
		}
		return false, false
	}
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q, idempotent: false}}
routes:
  orders:
    from: till
    to: books
    version: body.as_of
    steps:
      - {name: order, effect: "order/${body.id}"}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret))))
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	publish := func(lines ...string) {
		var all strings.Builder
		for _, l := range lines {
			id, rest, _ := strings.Cut(l, " ")
			order, asOf, _ := strings.Cut(rest, " ")
			fmt.Fprintf(&all, `{"id":%q,"type":"order.paid","orderingKey":"order/%[2]s","references":{"order":"o-%[2]s"},"textData":"{\"id\":%[2]s,\"as_of\":%[3]s}"}`+"\n", id, order, asOf)
		}
		in.run("publish", in.write("till.jsonl", all.String()), "--to", in.grpc, "--key-file", key)
	}
	publish("there 1 5", "absent 2 5")
	db := in.database()
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2 AND unknown_at IS NOT NULL`) == 2
	}, p.log.String)
	loses.Store(false)

	id := func(order string) string {
		t.Helper()
		var told struct {
			Events []struct{ Deliveries []struct{ ID, State string } }
		}
		if err := json.Unmarshal([]byte(in.run("story", "o-"+order, "--json")), &told); err != nil {
			t.Fatal(err)
		}
		return told.Events[0].Deliveries[0].ID
	}
	there, absent := id("1"), id("2")
	if text := in.run("exceptions", "show", exceptionOf(t, in)); !strings.Contains(text, "mark-delivered") || !strings.Contains(text, "send-anyway") {
		t.Errorf("the exception does not say what to do:\n%s", text)
	}
	if _, stderr, code := in.try("send-anyway", absent, "--reason", "not there"); code != 1 || !strings.Contains(stderr, "--acknowledge-risk") {
		t.Errorf("without the risk: %d, %s", code, stderr)
	}
	if _, _, code := in.try("mark-delivered", there, "B-77", "--if-version", "1", "--reason", "seen there"); code != conflictStatus {
		t.Errorf("with an older version: exit status %d", code)
	}
	if out := in.run("mark-delivered", there, "B-77", "--url", "https://books.example/77", "--reason", "seen there"); !strings.Contains(out, "marked as delivered") {
		t.Errorf("marked: %s", out)
	}
	if out := in.run("send-anyway", absent, "--acknowledge-risk", "--reason", "not in their list"); !strings.Contains(out, "is sent") {
		t.Errorf("sent anyway: %s", out)
	}
	waitUntil(t, func() bool { return r.effectsOf("absent") == 1 }, p.log.String)
	if n := r.effectsOf("there"); n != 0 {
		t.Errorf("what is there was sent: %d times", n)
	}
	// The ledger has what was found, and the snapshot counts.
	publish("later 1 6", "older 1 4")
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	story := in.run("story", "o-1")
	for _, want := range []string{"found books order DELIVERED: seen there (", "order/1 is B-77 (https://books.example/77)", "by event there of till", "SUPERSEDED: version 4 is older than 6"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story does not say %q:\n%s", want, story)
		}
	}
	if story := in.run("story", "o-2"); !strings.Contains(story, "resend books → PENDING: not in their list") {
		t.Errorf("the story:\n%s", story)
	}
}

// exceptionOf is the newest exception.
func exceptionOf(t *testing.T, in *installation) string {
	t.Helper()
	var all struct{ Exceptions []struct{ ID string } }
	if err := json.Unmarshal([]byte(in.run("exceptions", "--json")), &all); err != nil || len(all.Exceptions) == 0 {
		t.Fatal(all, err)
	}
	return all.Exceptions[0].ID
}
