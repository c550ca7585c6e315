package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

const faultyShop = `
tenant: kopi
sources: {till: {}}
destinations:
  books:
    webhook: {url: %q, secret: %q}
    rules:
      - {name: fault, status: 200, body: {$.Fault: {exists: true}}, kind: VALIDATION, code: $.Fault.code, field: $.Fault.element}
      - {name: not now, status: 200, body: {$.s: wait}, kind: RATE_LIMITED, retry_after: $.seconds}
    answers:
      - {name: unknown item, status: 200, body: {Fault: {code: 610}}, expect: {kind: %s, code: 610}}
routes:
  all: {from: till, to: books, on_exception: pass, retry: {initial: 10ms, cap: 20ms}}
`

// A platform that says everything with status 200, and some of it not in UTF-8: what
// its rules say becomes of it, from the file to the timeline.
func TestProgram_OutcomeRules(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var waited atomic.Bool
	r.misbehave = func(w http.ResponseWriter, q *http.Request, _ int) (handled, effect bool) {
		switch id := q.Header.Get("Ce-Id"); {
		case id == "2":
			_, _ = io.WriteString(w, "{\"Fault\": {\"code\": \"610\xff\x7f\", \"element\": \"lines[0]\xc3(\"}, \"text\": \"\xfe\\u0000\"}")
			return true, false
		case id == "3" && waited.CompareAndSwap(false, true):
			_, _ = io.WriteString(w, `{"s": "wait", "seconds": 0.01}`)
			return true, false
		}
		return false, false
	}
	in := newInstallation(t)
	secret := "file:" + in.write("books.secret", receiverSecret)
	config := in.write("shop.yaml", fmt.Sprintf(faultyShop, r.server.URL, secret, "VALIDATION"))
	if out := in.run("check", config, "--development"); !strings.Contains(out, "rules of kind webhook") || !strings.Contains(out, `no recorded answer reaches "not now"`) {
		t.Errorf("check says %s", out)
	}
	wrong := in.write("wrong.yaml", fmt.Sprintf(faultyShop, r.server.URL, secret, "DELIVERED"))
	if _, stderr, code := in.try("check", wrong, "--development"); code == 0 || !strings.Contains(stderr, `wrong.yaml:11:9`) || !strings.Contains(stderr, "comes to VALIDATION") {
		t.Errorf("check of a wrong answer: status %d, %s", code, stderr)
	}

	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	key := filepath.Join(in.state, "till.key")
	in.run("keys", "create", "till", "--out", key)
	in.run("publish", in.write("orders.jsonl", `{"number": 1}`+"\n"+`{"number": 2}`+"\n"+`{"number": 3}`+"\n"), "--to", in.grpc, "--key-file", key,
		"--id", "number", "--type", "order.created", "--ordering-key", "order/{number}")
	db := in.database()
	finished := `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state IN ('DELIVERED', 'NEEDS_ACTION')`
	waitUntil(t, func() bool { return query[int](t, db, finished) == 3 }, func() string {
		return fmt.Sprintf("%d of 3 deliveries came to an end\n%s", query[int](t, db, finished), p.log)
	})

	if got := query[string](t, db, `SELECT class || ' | ' || rule || ' | ' || code || ' | ' || field FROM exceptions`); got != "VALIDATION | fault | 610\uFFFD | lines[0]\uFFFD(" {
		t.Errorf("the exception is %s", got)
	}
	var detail struct{ Rule, Excerpt string }
	if err := json.Unmarshal([]byte(query[string](t, db, `SELECT detail::text FROM timeline WHERE what = 'attempt' AND state = 'NEEDS_ACTION'`)), &detail); err != nil {
		t.Fatal(err)
	}
	if detail.Rule != "fault" || !strings.Contains(detail.Excerpt, "Fault") || !utf8.ValidString(detail.Excerpt) {
		t.Errorf("the timeline has %+v", detail)
	}
	if got := query[int](t, db, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state = 'WAITING' AND detail->>'rule' = 'not now'`); got != 1 {
		t.Errorf("%d attempts were told to wait, want 1", got)
	}
	if r.effectsOf("1") != 1 || r.effectsOf("2") != 0 || r.effectsOf("3") != 1 {
		t.Errorf("effects %v", r.events)
	}
}
