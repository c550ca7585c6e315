package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A platform that is down for longer than its route allows becomes one exception with
// all that waits, and a source that falls silent another; both resolve by themselves.
func TestProgram_SilenceIsAFailure(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var down atomic.Bool
	down.Store(true)
	r.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (handled, effect bool) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load(), false
	}
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {silent_after: 10s}}
destinations:
  books: {webhook: {url: %q, secret: %q}, breaker: {open_for: 500ms}}
routes:
  all: {from: till, to: books, retry: {initial: 50ms, cap: 500ms, attempts: 1000}, deliver_within: 1s}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	publish := func(id string) {
		event := in.write("event.jsonl", fmt.Sprintf(`{"id":%q,"type":"order.created","orderingKey":"order/1","textData":"{}"}`+"\n", id))
		in.run("publish", event, "--to", in.grpc, "--key-file", key)
	}
	publish("e1")
	publish("e2") // waits behind the other

	db := in.database()
	becomes := func(class, status string, held int) {
		t.Helper()
		sql := fmt.Sprintf(`SELECT count(*) FROM exceptions WHERE class = '%s' AND status = '%s' AND held = %d`, class, status, held)
		waitUntil(t, func() bool { return query[int](t, db, sql) == 1 }, func() string {
			return fmt.Sprintf("no exception %s %s that holds %d\n%s", class, status, held, p.log)
		})
	}
	becomes("LATE", "NEEDS_ACTION", 2)
	becomes("SOURCE_SILENT", "NEEDS_ACTION", 0)
	down.Store(false)
	becomes("LATE", "RESOLVED", 0)
	publish("e3")
	becomes("SOURCE_SILENT", "RESOLVED", 0)
	if n := query[int](t, db, `SELECT count(*) FROM exceptions`); n != 2 {
		t.Errorf("%d exceptions, want one of each class", n)
	}
}
