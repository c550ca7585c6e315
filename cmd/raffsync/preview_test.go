package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// arrived is a request as a platform got it.
type arrived struct {
	Method, URI, Body string
	Header            http.Header
}

// recorder is a platform that keeps what it gets. Documents are numbered by their path.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	all []arrived
}

func newRecorder(t testing.TB) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.all = append(r.all, arrived{q.Method, q.RequestURI, string(body), q.Header})
		n := len(r.all)
		r.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id": "D-%d", "number": "N/%d"}`, n, n)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) requests() []arrived {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// ledgerConfig has a platform with two steps and look-ups, and one that takes events as they
// are. The mode of its route is written into it.
const ledgerConfig = `
tenant: kopi
outlets: {mall: {timezone: Asia/Jakarta}}
sources: {till: {}}
destinations:
  ledger:
    recipe:
      documentation: made up
      url: %[1]q
      settings: {token: {doc: the token, secret: true}}
      headers: {Authorization: "Bearer ${settings.token}", X-Order: "${string(body.id)}"}
      rules: [{name: done, status: 2xx, kind: DELIVERED}]
      answers: [{name: made, status: 200, body: {id: D-1}, expect: {kind: DELIVERED, rule: done}}]
      calls:
        order:
          url: "/orders/${body.id}"
          map:
            reference: "${reference(20)}"
            note: "${body.note}"
            lines: [{$each: {line: "${body.lines}"}, item: "${lookup('sku', line.sku)}", price: "${line.price}"}]
          receipt: {id: $.id, fields: {number: $.number}}
          update: {method: PUT, url: "/orders/${existing.id}"}
        invoice:
          url: /invoices
          body: form
          map: {order: "${steps.order.receipt.number}", total: "${body.total}", by: "${steps.order.receipt.id}"}
          receipt: {id: $.id}
    settings: {token: %[2]q}
  hooked: {webhook: {url: "%[1]s/hooks/T02AB34CD-hook-9e8d7c6b?token=q-5544332211", secret: %[3]q}}
routes:
  sales:
    to: ledger%[4]s
    steps:
      - {name: order, call: order, effect: "order/${body.id}", if_exists: update}
      - {name: invoice, call: invoice, effect: "invoice/${body.id}"}
  copy: {to: hooked}
`

func TestProgram_PreviewIsWhatIsSent(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(ledgerConfig, r.URL, "file:"+in.write("token", "tok-8f2b61d0a9-ledger"), "file:"+in.write("hook.secret", receiverSecret), ""))
	p := in.start("serve", "--development", "--config", config)
	p.until(`"msg":"ready"`)
	in.run("pause", "destination", "ledger", "--reason", "look first")
	in.run("pause", "destination", "hooked", "--reason", "look first")
	p.signal(syscall.SIGTERM) // a pause is taken up soon, and by the next one before anything else
	p = in.start("serve", "--development")
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))

	shapes := []string{
		`{"id": 1, "note": "plain", "total": 100, "lines": [{"sku": "TEA", "price": 1.10}, {"sku": "tea", "price": 0.001}]}`,
		`{"id": 9007199254740993, "note": "kopi ☕ \"susu\" <b>&amp;", "total": 12.30, "lines": [{"sku": "TEA", "price": 12345678901234567890}]}`,
		`{"id": 3, "note": "", "total": 0.10, "lines": []}`,
		`{"id": "a b/c?d=%", "note": null, "total": -5, "lines": [{"sku": "TEA", "price": "free"}]}`,
		`{"id": 5, "note": "line\nbreak\ttab", "total": 1e3, "lines": [{"sku": "TEA", "price": 1}, {"sku": "UNKNOWN", "price": 2}, {"sku": "LATTE-OAT", "price": 3}]}`,
	}
	var lines strings.Builder
	for i, shape := range shapes {
		text, _ := json.Marshal(shape)
		fmt.Fprintf(&lines, `{"id":"e%[1]d","type":"order.paid","orderingKey":"order/%[1]d","outlet":"mall","references":{"order":"o-%[1]d"},"textData":%[2]s}`+"\n", i, text)
	}
	in.run("publish", in.write("till.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	in.run("mappings", "set", "--shared", "sku", "TEA=ITM-1", "tea=ITM-2", "--reason", "new")

	preview := func(reference string, more ...string) (told []previewTold) {
		t.Helper()
		var out struct{ Previews []previewTold }
		text := in.run(append([]string{"preview", reference, "--json"}, more...)...)
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		for _, secret := range []string{"tok-8f2b61d0a9", "T02AB34CD", "q-5544332211", receiverSecret} {
			if strings.Contains(text, secret) {
				t.Errorf("a preview shows a secret:\n%s", text)
			}
		}
		return out.Previews
	}
	// The last one misses two values, all of which are named at once; nothing hangs on it.
	missing := preview("o-4", "--destination", "ledger")[0].Steps[0]
	want := []toldMissing{{"sku", "UNKNOWN", "lines[1].item"}, {"sku", "LATTE-OAT", "lines[2].item"}}
	if missing.Prospect != "HOLD" || missing.Class != "SKU_UNMAPPED" || missing.Request != nil {
		t.Errorf("what misses look-ups: %+v", missing)
	}
	for i, m := range missing.Missing {
		if i >= len(want) || m.Table != want[i].Table || m.Value != want[i].Value || m.Path == "" {
			t.Errorf("missing: %+v", missing.Missing)
		}
	}
	in.run("mappings", "set", "ledger", "sku", "UNKNOWN=ITM-3", "--reason", "new")
	in.run("mappings", "default", "--shared", "sku", "ITM-0", "--reason", "anything else")
	if used := preview("o-4", "--destination", "ledger")[0].Steps[0].LookUps; !cmp.Equal(used, []toldLookUp{
		{"sku", "TEA", "ITM-1", true, false, 1}, {"sku", "UNKNOWN", "ITM-3", false, false, 2}, {"sku", "LATTE-OAT", "ITM-0", true, true, 3},
	}) {
		t.Errorf("looked up: %+v", used)
	}

	var previews [][]previewTold
	for i := range shapes {
		previews = append(previews, preview(fmt.Sprintf("o-%d", i)))
	}
	if n := len(r.requests()); n != 0 {
		t.Fatalf("previews sent %d requests", n)
	}
	in.run("resume", "destination", "ledger", "--reason", "as it should be")
	in.run("resume", "destination", "hooked", "--reason", "as it should be")
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, p.log.String)
	got := r.requests()
	if len(got) != 3*len(shapes) {
		t.Fatalf("%d requests arrived", len(got))
	}
	for i, told := range previews {
		if len(told) != 2 || len(told[0].Steps) != 1 || len(told[1].Steps) != 2 {
			t.Fatalf("event %d: previews %+v", i, told)
		}
		sameAsSent(t, r, got, told[0].Steps[0].Request, nil)
		order, invoice := told[1].Steps[0], told[1].Steps[1]
		n := sameAsSent(t, r, got, order.Request, nil)
		if order.Provisional || !invoice.Provisional {
			t.Errorf("event %d: provisional are %v and %v", i, order.Provisional, invoice.Provisional)
		}
		sameAsSent(t, r, got, invoice.Request, strings.NewReplacer("%7Border.number%7D", fmt.Sprintf("N%%2F%d", n), "%7Border.id%7D", fmt.Sprintf("D-%d", n)))
	}

	// What has been sent is compared with what would be sent now.
	step := preview("o-0", "--destination", "ledger")[0].Steps[0]
	if step.Prospect != "SKIP" || step.Same == nil || !*step.Same || step.Existing == nil || step.Existing.Event != "e0" {
		t.Errorf("what is there: %+v", step)
	}
	text, _ := json.Marshal(`{"id": 1, "note": "changed", "total": 100, "lines": [{"sku": "TEA", "price": 1.10}, {"sku": "tea", "price": 0.001}]}`)
	in.run("publish", in.write("again.jsonl", fmt.Sprintf(`{"id":"e9","type":"order.paid","orderingKey":"order/0","references":{"order":"o-9"},"textData":%s}`, text)), "--to", in.grpc, "--key-file", key)
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM effects WHERE event = 'e9'`) == 1 }, p.log.String)
	step = preview("o-0", "--destination", "ledger")[0].Steps[0]
	if step.Prospect != "UPDATE" || !strings.Contains(step.Diff, `-  "note": "changed"`) || !strings.Contains(step.Diff, `+  "note": "plain"`) {
		t.Errorf("the difference to what was sent before: %+v", step)
	}
	// By a route that it never took.
	if told := preview("o-9", "--route", "copy"); len(told) != 1 || told[0].Destination != "hooked" || told[0].Steps[0].Prospect != "SEND" {
		t.Errorf("by another route: %+v", told)
	}
	if out := in.run("preview", "o-9"); !strings.Contains(out, "makes order/1") || !strings.Contains(out, "→ ITM-1 (shared)") {
		t.Errorf("in words:\n%s", out)
	}
	in.run("mappings", "set", "--shared", "sku", "TEA=ITM-9", "--reason", "was wrong")
	step = preview("o-9", "--destination", "ledger")[0].Steps[0]
	if step.Prospect != "UPDATE" || *step.Same || step.Diff != "" || !strings.Contains(step.NoDiff, "not stored") {
		t.Errorf("after a mapping has changed: %+v", step)
	}
}

// sameAsSent checks that exactly one request is, byte for byte, the one that was shown, and
// tells which, from 1.
func sameAsSent(t *testing.T, r *recorder, sent []arrived, shown *toldRequest, filled *strings.Replacer) int {
	t.Helper()
	if shown == nil {
		t.Error("no request was shown")
		return 0
	}
	body := shown.Body
	if filled != nil {
		body = filled.Replace(body)
	}
	found := 0
	for i, s := range sent {
		address := r.URL + s.URI
		if hook := strings.Contains(shown.URL, "{secret}"); hook {
			address = strings.NewReplacer("T02AB34CD-hook-9e8d7c6b", "{secret}", "q-5544332211", "{secret}").Replace(address)
		}
		same := s.Method == shown.Method && address == shown.URL && s.Body == body
		for name, value := range shown.Headers {
			same = same && (value == "[redacted]" || strings.Join(s.Header[name], ", ") == value)
		}
		if same && found > 0 {
			t.Errorf("two requests are the one that was shown: %+v", shown)
		}
		if same {
			found = i + 1
		}
	}
	if found == 0 {
		t.Errorf("no request that arrived is the one that was shown: %+v\nof %+v", shown, sent)
	}
	return found
}

// A route in shadow sends nothing, holds nothing, and says what it would have done; live,
// what comes from then on is sent, and a replay sends what came before.
func TestProgram_Shadow(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	in := newInstallation(t)
	written := func(mode string) string {
		return in.write("shop.yaml", fmt.Sprintf(ledgerConfig, r.URL, "file:"+in.write("token", "tok-8f2b61d0a9-ledger"), "file:"+in.write("hook.secret", receiverSecret), mode))
	}
	p := in.start("serve", "--development", "--config", written("\n    mode: shadow"))
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	publish := func(from, until int) {
		var lines strings.Builder
		for i := from; i < until; i++ {
			text, _ := json.Marshal(fmt.Sprintf(`{"id": %d, "note": "x", "total": 1, "lines": [{"sku": "SKU-%d", "price": 1}, {"sku": "TEA", "price": 2}]}`, i, i%3))
			fmt.Fprintf(&lines, `{"id":"e%d","type":"order.paid","orderingKey":"order/1","references":{"order":"o-%d"},"textData":%s}`+"\n", i, i, text)
		}
		in.run("publish", in.write("till.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	}
	in.run("mappings", "set", "--shared", "sku", "TEA=ITM-1", "SKU-0=ITM-2", "--reason", "new")
	publish(0, 9)
	db := in.database()
	drained := func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }
	waitUntil(t, drained, p.log.String)
	if n := len(r.requests()); n != 9 { // those of the other route
		t.Errorf("%d requests arrived, want 9", n)
	}
	for what, sql := range map[string]string{
		"exceptions": `SELECT count(*) FROM exceptions`, "holds": `SELECT count(*) FROM holds`, "effects": `SELECT count(*) FROM effects`,
		"uses of mappings": `SELECT count(*) FROM mapping_used`,
	} {
		if n := query[int](t, db, sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	var found struct{ Findings []toldShadow }
	if err := json.Unmarshal([]byte(in.run("shadow", "sales", "--json")), &found); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found.Findings {
		got = append(got, fmt.Sprintf("%s %s %s %s %d", f.Prospect, f.Class, f.Field, f.Code, f.Seen))
	}
	want := []string{"HOLD    6", "SEND    3", "HOLD SKU_UNMAPPED sku SKU-1 3", "HOLD SKU_UNMAPPED sku SKU-2 3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what it found (-want +got):\n%s", diff)
	}
	if text := in.run("shadow"); !strings.Contains(text, "6 would need a person") || !strings.Contains(text, "SKU_UNMAPPED  sku SKU-1, as of e") {
		t.Errorf("in words:\n%s", text)
	}
	if story := in.run("story", "o-3"); !strings.Contains(story, "shadow ledger → SKIPPED: in shadow: would be sent: order, invoice") {
		t.Errorf("the story:\n%s", story)
	}

	in.run("mappings", "default", "--shared", "sku", "ITM-0", "--reason", "anything else")
	in.run("apply", written(""), "--development", "--reason", "going live")
	publish(9, 12)
	waitUntil(t, func() bool { return drained() && len(r.requests()) == 12+6 }, p.log.String)
	in.run("replay", "--to", "ledger", "--from-time", "1h", "--rate", "1000/s")
	waitUntil(t, func() bool { return len(r.requests()) == 12+24 && drained() }, p.log.String)
	if n := query[int](t, db, `SELECT count(*) FROM effects WHERE revision > 0`); n != 24 {
		t.Errorf("%d effects, want an order and an invoice of each of 12", n)
	}

	// An entry turns out wrong: every document that was made with it, and what to correct.
	// What shadows and previews looked up was never sent.
	in.run("preview", "o-3")
	uses := func(arguments ...string) (told []toldUse) {
		t.Helper()
		var out struct{ Uses []toldUse }
		if err := json.Unmarshal([]byte(in.run(append([]string{"mappings", "uses", "ledger", "sku"}, arguments...)...)), &out); err != nil {
			t.Fatal(err)
		}
		return out.Uses
	}
	all := uses("SKU-1", "--json")
	if len(all) != 4 {
		t.Fatalf("%d uses, want 4: %+v", len(all), all)
	}
	for _, u := range all {
		if u.Step != "order" || u.Outcome != "DELIVERED" || !strings.HasPrefix(u.Document, "D-") || u.Target != "ITM-0" || !u.Default || !u.Shared || u.Correct || u.Effect == "" {
			t.Errorf("a use: %+v", u)
		}
	}
	if got := uses("TEA", "--json", "--target", "ITM-9"); len(got) != 0 {
		t.Errorf("as it was never called: %+v", got)
	}
	in.run("mappings", "set", "--shared", "sku", "TEA=ITM-9", "--reason", "was wrong")
	lines := strings.Split(strings.TrimSpace(in.run("mappings", "uses", "ledger", "sku", "TEA", "--target", "ITM-1", "--csv", "--limit", "1")), "\n")
	if len(lines) != 13 || !strings.HasSuffix(lines[1], ",ITM-1,ITM-9,true") || !strings.Contains(lines[1], ",order,order/") {
		t.Errorf("what to correct:\n%s", strings.Join(lines, "\n"))
	}
	if n := query[int](t, db, `SELECT count(*) FROM mapping_used WHERE steps <> ARRAY[0::smallint]`); n != 0 {
		t.Errorf("%d uses of a step that looks nothing up", n)
	}
}

// A changed file is tried against what has come already: what becomes of it that does not
// today, and nothing is stored or sent.
func TestProgram_AppliesAgainstThePast(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	in := newInstallation(t)
	config := fmt.Sprintf(ledgerConfig, r.URL, "file:"+in.write("token", "tok-8f2b61d0a9-ledger"), "file:"+in.write("hook.secret", receiverSecret), "")
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", config))
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	in.run("mappings", "default", "--shared", "sku", "ITM-0", "--reason", "anything")
	var lines strings.Builder
	for i := range 12 {
		text, _ := json.Marshal(fmt.Sprintf(`{"id": %d, "note": "n%d", "total": %d, "lines": [{"sku": "TEA", "price": 1}], "outlet": "%c"}`, i, i, i, "ab"[i%2]))
		fmt.Fprintf(&lines, `{"id":"e%d","type":"order.paid","orderingKey":"order/%d","textData":%s}`+"\n", i, i, text)
	}
	in.run("publish", in.write("till.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool {
		return len(r.requests()) == 36 && query[int](t, db, `SELECT count(*) FROM deliveries`) == 0
	}, p.log.String)
	entries := query[int](t, db, `SELECT count(*) FROM timeline`)

	against := func(changed string) (out struct {
		Changes []any
		Against againstPast
	},
	) {
		t.Helper()
		text := in.run("apply", in.write("changed.yaml", changed), "--development", "--dry-run", "--against", "7d", "--json")
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return out
	}
	routes := func(a againstPast) map[string]againstRoute {
		found := make(map[string]againstRoute)
		for _, r := range a.Routes {
			found[r.Route] = r
		}
		return found
	}
	same := against(config).Against
	if got := routes(same); same.Looked != 12 || !same.Complete || got["sales"].Same != 12 || got["copy"].Same != 12 {
		t.Errorf("of the same configuration: %+v", same)
	}
	changed := strings.NewReplacer(
		"    to: ledger", "    to: ledger\n    when: body.id >= 4",
		`note: "${body.note}"`, `note: "${body.id < 8 ? body.note : 'other'}"`,
		`lookup('sku', line.sku)`, `body.id == 6 ? lookup('tax', line.sku) : lookup('sku', line.sku)`,
		"  copy: {to: hooked}", "  few: {to: hooked, when: body.id == 0}\n  again: {to: new}",
		"  hooked: {", fmt.Sprintf("  new: {webhook: {url: %q, secret: %q}}\n  hooked: {", r.URL, "file:"+in.write("hook.secret", receiverSecret)),
	).Replace(config)
	got := against(changed).Against
	by := routes(got)
	sales := by["sales"]
	if sales.NotRouted.Count != 4 || sales.NewlyMissing.Count != 1 || sales.RequestChanged.Count != 4 || sales.Same != 3 || sales.Deliveries != 12 {
		t.Errorf("the route that was changed: %+v", sales)
	}
	if e := sales.NewlyMissing.Examples; len(e) != 1 || e[0].Event != "e6" || e[0].What != "tax TEA" {
		t.Errorf("what would be missing: %+v", e)
	}
	if e := sales.RequestChanged.Examples; len(e) != 3 || !strings.Contains(e[0].What, `+  "note": "other"`) {
		t.Errorf("what would be sent otherwise: %+v", e)
	}
	if by["again"].NewlyRouted.Count != 12 || by["few"].OtherRoute.Count != 1 || by["copy"].NotRouted.Count != 11 || got.Unrouted.Count != 0 {
		t.Errorf("the others: %+v", got)
	}
	text := in.run("apply", in.write("changed.yaml", changed), "--development", "--dry-run", "--against", "7d")
	if !strings.Contains(text, "4 would be sent otherwise") || !strings.Contains(text, "nothing is stored") {
		t.Errorf("in words:\n%s", text)
	}
	if _, stderr, code := in.try("apply", in.write("changed.yaml", changed), "--development", "--against", "7d"); code == 0 || !strings.Contains(stderr, "--dry-run") {
		t.Errorf("without --dry-run: status %d, %s", code, stderr)
	}
	if n := query[int](t, db, `SELECT count(*) FROM timeline`); n != entries || len(r.requests()) != 36 {
		t.Errorf("a rehearsal left %d entries and %d requests, there were %d and 36", n, len(r.requests()), entries)
	}
}
