package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Two processes on one database: one is killed in the middle of its decision, one between
// its decision and the sending. Each level is told once all the same.
func TestProgram_EscalatesOnceOverReplicas(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	w.begin("2027-11-24T03:00", `
tenant: kopi
mail: {server: "${mail}", from: sync@kopi.example}
teams:
  first: {notify: ["mailto:first@kopi.example"]}
  second: {notify: ["mailto:second@kopi.example"]}
  third: {notify: ["mailto:third@kopi.example"]}
escalation: [{levels: [{team: first}, {after: 30m, team: second}, {after: 1h, team: third}]}]
sources: {till: {}}
destinations:
  stock: {recipe: {url: "${platform}", calls: {order: {url: /orders, map: {item: "${lookup('sku', body.sku)}"}}}}}
routes:
  orders: {from: till, to: stock, steps: [{name: order, call: order}]}
`)
	w.clock.Run() // for what the dead held is free once their lease has run out
	one, other := w.program, w.another()
	letters := func(want ...string) {
		t.Helper()
		var got []string
		waitUntil(t, func() bool {
			got = nil
			for _, m := range w.mail.Messages() {
				got = append(got, m.To)
			}
			return len(got) >= len(want)
		}, func() string { return strings.Join(got, " ") + "\n" + one.log.String() + other.log.String() })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("letters (-want +got):\n%s", diff)
		}
	}
	e := testEvent("e-1", "order/1", "created")
	e.ContentType, e.Data = "application/json", &raffsyncv1.Event_TextData{TextData: `{"sku": "LATTE-OAT"}`}
	send(t, t.Context(), w.in, w.key, e)
	letters("first@kopi.example")

	// In its decision: the other one is frozen, so that it is this one's; who was told last
	// is locked, so that it stays in the middle.
	if err := other.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.cmd.Process.Signal(syscall.SIGCONT) })
	lock, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), `LOCK TABLE team_notices IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(30 * time.Minute)
	aside, err := pgx.Connect(t.Context(), w.db.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer aside.Close(t.Context())
	waitUntil(t, func() bool {
		return query[int](t, aside, `SELECT count(*) FROM pg_locks WHERE relation = 'team_notices'::regclass AND NOT granted`) == 1
	}, one.log.String)
	one.signal(syscall.SIGKILL)
	if err := other.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	letters("first@kopi.example", "second@kopi.example")

	// Between the decision and the sending: the mail server is down, and whoever has
	// decided is killed.
	one = w.another()
	w.mail.Down()
	decided := func(p *process) int { return strings.Count(p.log.String(), "teams are told of exceptions") }
	before := map[*process]int{one: decided(one), other: decided(other)}
	w.clock.Advance(time.Hour)
	var killed *process
	waitUntil(t, func() bool {
		for _, p := range []*process{one, other} {
			if decided(p) > before[p] {
				killed = p
			}
		}
		return killed != nil
	}, func() string { return one.log.String() + other.log.String() })
	killed.signal(syscall.SIGKILL)
	if err := w.mail.Up(); err != nil {
		t.Fatal(err)
	}
	w.another()
	waitUntil(t, func() bool { w.clock.Advance(time.Minute); return len(w.mail.Messages()) > 2 }, func() string { return one.log.String() + other.log.String() })
	w.clock.Advance(24 * time.Hour)
	w.rest()
	letters("first@kopi.example", "second@kopi.example", "third@kopi.example")
	const want = "level 1: team first is told; level 2: team second is told; level 3: team third is told"
	if got := query[string](t, w.db, `SELECT string_agg(reason, '; ' ORDER BY at, entry) FROM timeline WHERE what = 'escalate'`); got != want {
		t.Errorf("the timeline tells %q", got)
	}
}
