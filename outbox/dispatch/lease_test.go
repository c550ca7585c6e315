package dispatch_test

import (
	"context"
	"fmt"
	"testing"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Its lease is lost while a request is on the wire: the request is given up, the next
// incarnation gives it the outcome that is true, and sends it again by the same key.
func TestDispatcher_LosesItsLease(t *testing.T) {
	t.Parallel()
	onWire := make(chan struct{})
	books := newPlatform(func(ctx context.Context, s sent) connectors.Outcome {
		if s.Attempt == 1 {
			close(onWire)
			<-ctx.Done()
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "cancelled after sending", Reason: "given up"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.destination("books").Breaker = outbox.BreakerConfig{MinRequests: 1, FailureRatio: 0.1, OpenFor: testLease, Window: testLease, Probes: 1}
	b.append(b.entry("sales", "a", "order/1", "books"))
	b.start()
	<-onWire
	if _, err := b.db.Exec(t.Context(), `UPDATE replicas SET lease_until = now()`); err != nil {
		t.Fatal(err)
	}
	b.untilDrained()
	if keys := books.keysOf("a"); len(keys) != 1 || len(books.seen()) != 2 {
		t.Errorf("%d requests by the keys %v, want two by one key", len(books.seen()), keys)
	}
	states := values[string](b, `SELECT concat_ws(' ', attempt, kind, state, detail ->> 'rule') FROM timeline WHERE what = 'attempt' ORDER BY at, entry`)
	if len(states) != 2 || states[0] != "1 3 WAITING owner died" || states[1] != "2 1 DELIVERED" {
		t.Errorf("the timeline tells of the attempts %q", states)
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'breaker'`); n != 0 {
		t.Error("what was given up opened the breaker")
	}
}

// Its sessions are ended again and again: what was unclear is asked again, and nothing
// is lost or made twice.
func TestDispatcher_LosesItsSessions(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.Attempt == 1 && s.ID[len(s.ID)-1] == '3' {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.start()
	b.until("it holds the lanes", `SELECT count(*) = 64 FROM lanes WHERE replica IS NOT NULL`)
	const n = 600
	for i := 0; i < n; i += 20 {
		var batch []outbox.Entry
		for j := range 20 {
			batch = append(batch, b.entry("sales", fmt.Sprintf("e%04d", i+j), fmt.Sprintf("order/%d", (i+j)%50), "books"))
		}
		b.append(batch...)
		if _, err := b.db.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'raffsync replica%' AND datname = current_database() AND random() < 0.3`); err != nil {
			t.Fatal(err)
		}
	}
	b.untilDrained()
	if got := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); got != n {
		t.Errorf("%d delivered entries, want %d", got, n)
	}
	// Each request has its attempt: counted by the numbers that the platform was told.
	attempts := make(map[string]int)
	for _, r := range values[struct {
		ID       string
		Attempts int
	}](b, `SELECT e.id, count(*)::int AS attempts FROM timeline t JOIN events e ON e.seq = t.event WHERE t.what = 'attempt' GROUP BY e.id`) {
		attempts[r.ID] = r.Attempts
	}
	requests := make(map[string]int)
	for _, s := range books.seen() {
		requests[s.ID]++
		if s.Attempt > attempts[s.ID] {
			t.Errorf("request %d of %s is not in the timeline", s.Attempt, s.ID)
		}
	}
	for id, made := range requests {
		if made > attempts[id] {
			t.Errorf("%s: %d requests, %d attempts", id, made, attempts[id])
		}
	}
}

// What a dead owner left is held by who takes over, and is worth as much as where the
// owner had said so itself: nobody prepares it there.
func TestDispatcher_KnowsWhatItInheritsIsWorth(t *testing.T) {
	t.Parallel()
	onWire := make(chan struct{})
	books := newPlatform(func(ctx context.Context, _ sent) connectors.Outcome {
		close(onWire)
		<-ctx.Done()
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "cancelled after sending", Reason: "given up"}
	})
	books.traits = connectors.Traits{} // a second request could have a second effect
	b := newBench(t, map[string]*platform{"books": books})
	sales := dispatch.RouteKey{Tenant: "kopi", Name: "sales"}
	route := b.plan.Routes[sales]
	route.Exposure = func(e *outbox.Event) *outbox.Exposure {
		return &outbox.Exposure{Currency: "IDR", Amount: "31000", Units: "2"}
	}
	b.plan.Routes[sales] = route
	entry := b.entry("sales", "a", "order/1", "books")
	entry.Event.Outlet = "mall"
	b.append(entry)
	b.start()
	<-onWire
	if _, err := b.db.Exec(t.Context(), `UPDATE replicas SET lease_until = now()`); err != nil {
		t.Fatal(err)
	}
	b.until("it is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2`)
	got := value[string](b, `SELECT concat_ws(' ', x.class, x.held, x.blocked, x.oldest_at = e.accepted_at, o.outlet, o.held, f.currency, trim_scale(f.amount), trim_scale(f.units))
		FROM exceptions x JOIN events e ON e.id = 'a' LEFT JOIN held_outlets o ON o.exception = x.id LEFT JOIN exposures f ON f.exception = x.id`)
	if want := "UNKNOWN_OUTCOME 1 1 t mall 1 IDR 31000 2"; got != want {
		t.Errorf("at stake: %s, want %s", got, want)
	}
}
