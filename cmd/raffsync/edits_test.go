package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// README's "Put one right": money and tax of an order that the platform refuses are put
// right by two people, and the timeline tells who; what may have had its effect is not
// edited any more.
func TestProgram_EditsWithASecondPerson(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	var refuses atomic.Bool
	refuses.Store(true)
	r.misbehave = func(w http.ResponseWriter, q *http.Request, _ int) (handled, effect bool) {
		switch {
		case q.Header.Get("Ce-Id") == "lost":
			panic(http.ErrAbortHandler) // nobody knows what became of it
		case refuses.Load():
			http.Error(w, "the tax is not that of the price", http.StatusUnprocessableEntity)
			return true, false
		}
		return false, false
	}
	in := newInstallation(t)
	p := in.start("serve", "--development", "--config", in.write("raffsync.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books: {webhook: {url: %q, secret: %q, idempotent: false}}
routes:
  orders:
    from: till
    to: books
    edits: {allow: [/note], second_person: ["/lines/*/UnitPrice", "/lines/*/tax"]}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret))))
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	for _, id := range []string{"wrong", "lost"} {
		fmt.Fprintf(&lines, `{"id":%q,"type":"order.created","orderingKey":"order/%[1]s","textData":"{\"lines\":[{\"Quantity\":\"2\",\"UnitPrice\":\"10.00\",\"tax\":1.10}]}"}`+"\n", id)
	}
	in.run("publish", in.write("events.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == 2 }, p.log.String)

	as := func(name string) *apiClient {
		_, secret, found := strings.Cut(strings.TrimSpace(in.run("keys", "operator", name)), " / ")
		if !found {
			t.Fatal("no secret was printed")
		}
		return &apiClient{t: t, url: "http://" + in.http + "/graphql", name: name, secret: secret}
	}
	ayu, budi := as("ayu"), as("budi")
	var open struct {
		Events struct {
			Nodes []struct {
				EventID    string
				Deliveries []struct {
					ID      string
					Version int
				}
			}
		}
	}
	ayu.query(`{ events(first: 5) { nodes { eventId deliveries { id version } } } }`, &open)
	type payload struct {
		Edit *struct {
			ID, State, Actor string
			DecidedBy        *string
		}
		UserErrors []struct{ Code, Message string }
	}
	const selected = ` { edit { id state actor decidedBy } userErrors { code message } } }`
	edit := func(who *apiClient, event, request, path, value string) payload {
		t.Helper()
		for _, e := range open.Events.Nodes {
			if e.EventID == event {
				text, _ := json.Marshal(value)
				var p struct{ EditDelivery payload }
				who.query(fmt.Sprintf(`mutation { editDelivery(input: {id: %q, expectedVersion: %d, requestId: %q, reason: "as the invoice says", changes: [{path: %q, value: %s}, {path: "/lines/0/UnitPrice", value: "\"12.50\""}]})`,
					e.Deliveries[0].ID, e.Deliveries[0].Version, request, path, text)+selected, &p)
				return p.EditDelivery
			}
		}
		t.Fatalf("there is no event %s", event)
		return payload{}
	}
	decide := func(who *apiClient, what, id string) (p payload) {
		t.Helper()
		var all map[string]payload
		who.query(fmt.Sprintf(`mutation { %s(input: {id: %q, reason: "seen the invoice"})`, what, id)+selected, &all)
		return all[what]
	}
	refused := func(p payload, code, says string) {
		t.Helper()
		if p.Edit != nil || len(p.UserErrors) != 1 || p.UserErrors[0].Code != code || !strings.Contains(p.UserErrors[0].Message, says) {
			t.Errorf("%+v, want %s: %s", p, code, says)
		}
	}
	refused(edit(ayu, "wrong", "r1", "/lines/0/Quantity", `"3"`), "INVALID", "does not allow to change /lines/0/Quantity")
	refused(edit(ayu, "lost", "r2", "/lines/0/tax", `1.375`), "REFUSED", "may have had its effect")
	asked := edit(ayu, "wrong", "r3", "/lines/0/tax", `1.375`)
	if asked.Edit == nil || asked.Edit.State != "PENDING" {
		t.Fatalf("asked: %+v", asked)
	}
	refused(decide(ayu, "approveEdit", asked.Edit.ID), "REFUSED", "nobody approves their own")
	if n := query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`); n != 2 {
		t.Errorf("%d need action: alone it did something", n)
	}
	refuses.Store(false)
	if done := decide(budi, "approveEdit", asked.Edit.ID); done.Edit == nil || done.Edit.State != "APPLIED" || done.Edit.Actor != "ayu" || *done.Edit.DecidedBy != "budi" {
		t.Fatalf("approved: %+v", done)
	}
	waitUntil(t, func() bool { return r.effectsOf("wrong") == 1 }, p.log.String)
	r.mu.Lock()
	if got := r.total.FloatString(2); got != "25.00" {
		t.Errorf("what came is worth %s", got)
	}
	r.mu.Unlock()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 1 }, p.log.String)
	if got := query[string](t, db, `SELECT convert_from(payload, 'UTF8') FROM events WHERE id = 'wrong'`); !strings.Contains(got, "10.00") {
		t.Errorf("the event is %s", got)
	}
	told := in.run("story", "wrong")
	for _, want := range []string{"edit", "(ayu)", "(budi)", "as the invoice says", "seen the invoice", "DELIVERED"} {
		if !strings.Contains(told, want) {
			t.Errorf("the story does not say %q:\n%s", want, told)
		}
	}
	var timeline struct {
		Timeline struct {
			Nodes []struct {
				Actor  string
				Detail struct {
					State    string
					AskedBy  string `json:"asked_by"`
					Paths    []string
					SecondBy bool `json:"second_person"`
				}
			}
		}
	}
	ayu.query(`{ timeline(filter: {what: [EDIT]}, first: 5) { nodes { actor detail } } }`, &timeline)
	if n := timeline.Timeline.Nodes; len(n) != 2 || n[0].Actor != "budi" || n[0].Detail.AskedBy != "ayu" || n[0].Detail.State != "APPLIED" || n[1].Detail.State != "PENDING" || strings.Join(n[0].Detail.Paths, " ") != "/lines/0/tax /lines/0/UnitPrice" {
		t.Errorf("the timeline: %+v", n)
	}
}
