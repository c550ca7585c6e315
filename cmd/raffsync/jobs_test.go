package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// README's section "Clear many at once", step by step: a platform refuses what it is sent
// until somebody has put that right there; one command has all of it prepared again.
func TestProgram_ClearsManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var refuses atomic.Bool
	refuses.Store(true)
	r.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) (handled, effect bool) {
		if refuses.Load() {
			http.Error(w, "the period is closed", http.StatusUnprocessableEntity)
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
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	const orders = 60
	publish := func(what string) {
		var lines strings.Builder
		for i := range orders {
			fmt.Fprintf(&lines, `{"id":"%s%02d","type":"order.%s","orderingKey":"order/%d","textData":"{}"}`+"\n", what, i, what, i)
		}
		in.run("publish", in.write(what+".jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	}
	publish("created")
	publish("paid") // waits behind it
	db := in.database()
	held := func(n int) {
		t.Helper()
		waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == n }, p.log.String)
	}
	held(orders)
	for _, c := range []struct {
		says      string
		arguments []string
	}{
		{"this is everything that has failed, of every destination", []string{"reprocess"}},
		{"nothing that waits for a retry or needs action matches", []string{"reprocess", "--class", "POISON"}},
		{`there is no destination "shelf"`, []string{"retry", "--destination", "shelf"}},
		{"named one by one, or by a filter", []string{"skip", "dlv_AAZElHQeaAAAAAEAAAAAAQAAAAEAAAAA", "--destination", "books"}},
		{"take ids as the API gave them", []string{"skip", "exc_1"}},
		{"has no job 99", []string{"jobs", "show", "99"}},
		{"has no job 99", []string{"jobs", "cancel", "99"}},
	} {
		if stdout, stderr, code := in.try(c.arguments...); code != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: status %d\n%s%s\nwant %q", c.arguments, code, stdout, stderr, c.says)
		}
	}
	filter := []string{"reprocess", "--destination", "books", "--class", "VALIDATION"}
	if got := in.run(append(filter, "--dry-run")...); !strings.Contains(got, "60 deliveries match: 60 need action, 0 wait for a retry") || !strings.Contains(got, "nothing is started") {
		t.Errorf("the dry run says:\n%s", got)
	}
	refuses.Store(false)
	asked := append(filter, "--request", "monday", "--reason", "the period is open again")
	started := in.run(asked...)
	var number string
	if _, err := fmt.Sscanf(started, "job %s", &number); err != nil || !strings.Contains(started, "REPROCESS: RUNNING, 0 of 60 done, 0 failed, 100/s") {
		t.Fatalf("started:\n%s", started)
	}
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	if got := in.run("jobs", "show", number); !strings.Contains(got, "DONE, 60 of 60 done, 0 failed") {
		t.Errorf("afterwards:\n%s", got)
	}
	if got := in.run(asked...); !strings.Contains(got, "job "+number+" REPROCESS: DONE") {
		t.Errorf("asked again by the same name:\n%s", got)
	}
	if got := in.run("story", "created07"); !strings.Contains(got, "reprocess") || !strings.Contains(got, "the period is open again") {
		t.Errorf("the story:\n%s", got)
	}
	if n := query[int](t, db, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 0 {
		t.Errorf("%d exceptions are open", n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range orders {
		if got := r.order[fmt.Sprintf("order/%d", i)]; !slices.Equal(got, []string{fmt.Sprintf("created%02d", i), fmt.Sprintf("paid%02d", i)}) {
			t.Errorf("order %d took effect as %v", i, got)
		}
	}
	var listed []toldJob
	if err := json.Unmarshal([]byte(in.run("jobs", "--json")), &listed); err != nil || len(listed) != 1 || listed[0].Done != orders {
		t.Errorf("the list: %+v, %v", listed, err)
	}
}
