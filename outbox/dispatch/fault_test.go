package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// The ninth of the ten bugs: some among a thousand are poison, each in another way.
// They become exceptions of their own, and nothing else is stopped.
func TestDispatcher_PoisonStopsNothingElse(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		switch s.ID {
		case "e0500":
			panic("a connector's bug in Send")
		case "e0600": // an answer that Postgres cannot hold as it is
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Code: "a\x00b\xff", Reason: "no \x00 good \xff"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	var batch []outbox.Entry
	for i := range 1000 {
		e := b.entry("sales", fmt.Sprintf("e%04d", i), fmt.Sprintf("order/%d", i), "books")
		if i == 400 {
			e.Event.Type = "panic.prepare"
		}
		batch = append(batch, e)
	}
	b.append(batch...)
	if _, err := b.db.Exec(t.Context(), `DROP TRIGGER events_is_append_only ON events`); err != nil { // it would refuse
		t.Fatal(err)
	}
	for _, damage := range []string{ // behind our back
		`DELETE FROM events WHERE id = 'e0700'`,
		`UPDATE events SET refs = '[1, 2]' WHERE id = 'e0750'`,
		`UPDATE events SET refs = '{"order": {"no": 1}}' WHERE id = 'e0751'`,
		`UPDATE events SET occurred_at = 'infinity' WHERE id = 'e0800'`,
		`UPDATE deliveries SET event_at = event_at + interval '1 day' WHERE seq = (SELECT seq FROM events WHERE id = 'e0900')`,
	} {
		if tag, err := b.db.Exec(t.Context(), damage); err != nil || tag.RowsAffected() != 1 {
			t.Fatalf("%s: %v, %v", damage, tag, err)
		}
	}
	// What could not even be held by an exception cannot be there.
	for _, column := range []string{"event_at", "accepted_at", "unknown_at"} {
		if _, err := b.db.Exec(t.Context(), `UPDATE deliveries SET `+column+` = 'infinity'`); err == nil {
			t.Errorf("a delivery without a %s that can be read is accepted", column)
		}
	}
	b.start()
	b.until("all but eight are delivered, and those are held", `SELECT count(*) = 8 AND bool_and(state = 2) FROM deliveries`)
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); n != 992 {
		t.Errorf("%d delivered, want 992", n)
	}
	held := values[string](b, `SELECT concat_ws(' ', class, rule, held) FROM exceptions WHERE closed_at IS NULL ORDER BY 1`)
	if diff := cmp.Diff([]string{"POISON prepare 6", "POISON send 1", "VALIDATION status 422 1"}, held); diff != "" {
		t.Errorf("exceptions (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT requests FROM deliveries d JOIN events e ON e.seq = d.event WHERE e.id = 'e0500'`); n != 1 {
		t.Errorf("the panic in Send consumed %d requests, want 1", n)
	}
	if n := value[int](b, `SELECT requests FROM deliveries d JOIN events e ON e.seq = d.event WHERE e.id = 'e0400'`); n != 0 {
		t.Errorf("the panic in Prepare consumed %d requests, want none", n)
	}
}

// A partition that is made too late delays outcomes, and makes exceptions of none.
func TestDispatcher_WaitsForAMissingPartition(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
	b.append(b.entry("sales", "a", "order/1", "books"), b.entry("sales", "b", "order/2", "books"))
	partition := value[string](b, `SELECT tableoid::regclass::text FROM timeline LIMIT 1`)
	bounds := value[string](b, `SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = $1::text::regclass`, partition)
	alter := func(how string) {
		t.Helper()
		if _, err := b.db.Exec(t.Context(), `ALTER TABLE timeline `+how+` PARTITION `+partition); err != nil {
			t.Fatal(err)
		}
	}
	alter("DETACH")
	refused := make(chan struct{})
	seen := sync.OnceFunc(func() { close(refused) })
	b.startLogging(func(line string) {
		if strings.Contains(line, "storing outcomes is tried again") {
			seen()
		}
	})
	select {
	case <-refused:
	case <-time.After(time.Minute):
		t.Fatal("nothing was tried again")
	}
	partition += " " + bounds
	alter("ATTACH")
	b.untilDrained()
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); n != 2 {
		t.Errorf("%d are delivered, want both", n)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions`); n != 0 {
		t.Errorf("%d exceptions were made", n)
	}
}

// A breaker opens on failures, stays open however long the probe hangs, and closes
// when the destination is well again. Refusals of single requests do not open it.
func TestDispatcher_BreakerOpensProbesAndCloses(t *testing.T) {
	t.Parallel()
	const refusing, failing, hanging, well = 0, 1, 2, 3
	var mode atomic.Int32
	books := newPlatform(func(ctx context.Context, s sent) connectors.Outcome {
		switch mode.Load() {
		case refusing:
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "422"}
		case failing:
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503 Service Unavailable"}
		case hanging:
			<-ctx.Done()
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "time-out", Reason: "no answer in time"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	d := b.destination("books")
	d.Timeout = 300 * time.Millisecond
	d.Breaker = outbox.BreakerConfig{Window: 10 * time.Second, MinRequests: 5, FailureRatio: 0.5, OpenFor: 300 * time.Millisecond, Probes: 1}
	route := b.plan.Routes[salesRoute]
	route.Retry.Attempts = 1000
	b.plan.Routes[salesRoute] = route
	b.start()
	send := func(from, to int) {
		for i := from; i < to; i++ {
			b.append(b.entry("sales", fmt.Sprintf("e%03d", i), fmt.Sprintf("order/%d", i), "books"))
		}
	}
	send(0, 20)
	b.until("twenty are refused", `SELECT count(*) = 20 FROM deliveries WHERE state = 2`)
	if n := value[int](b, `SELECT count(*) FROM breakers WHERE state <> 'CLOSED'`); n != 0 {
		t.Error("refusals opened the breaker")
	}
	mode.Store(failing)
	send(20, 60)
	b.until("the breaker is open", `SELECT count(*) = 1 FROM breakers WHERE state = 'OPEN' AND reason LIKE '%503%' AND probe_at IS NOT NULL`)
	mode.Store(hanging)
	b.until("a probe has hung and failed", `SELECT count(*) > 0 FROM timeline WHERE what = 'attempt' AND reason = 'no answer in time'`)
	mode.Store(well)
	b.until("what waited is delivered", `SELECT count(*) = 40 FROM timeline WHERE state = 'DELIVERED'`)
	b.until("the breaker is closed", `SELECT count(*) = 1 FROM breakers WHERE state = 'CLOSED'`)
	states := values[string](b, `SELECT split_part(reason, ':', 1) FROM timeline WHERE what = 'breaker' ORDER BY at, entry`)
	if len(states) < 2 || states[0] != "open" || states[len(states)-1] != "closed" {
		t.Errorf("the timeline tells of the breaker %q, want from open to closed", states)
	}
}

// Postgres crashes in the middle and comes back: everything is delivered in the end,
// and every request that a platform saw is in the timeline.
func TestDispatcher_SurvivesACrashOfPostgres(t *testing.T) {
	t.Parallel()
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Fsync: true})
	arrived := make(chan struct{}, 1)
	books := newPlatform(func(context.Context, sent) connectors.Outcome {
		select {
		case arrived <- struct{}{}:
		default:
		}
		return delivered
	})
	b := newBenchAt(t, server.NewDatabase(), map[string]*platform{"books": books})
	var batch []outbox.Entry
	for i := range 3000 {
		batch = append(batch, b.entry("sales", fmt.Sprintf("e%04d", i), fmt.Sprintf("order/%d", i%100), "books"))
	}
	b.append(batch...)
	b.start()
	for range 2 {
		<-arrived
		server.Kill()
		server.Start()
		select { // what arrived before the crash does not count
		case <-arrived:
		default:
		}
	}
	b.untilDrained()
	for key := range 100 {
		key := fmt.Sprintf("order/%d", key)
		seen := make(map[string]bool)
		last := ""
		for _, id := range books.orderOf(key) { // repeats of one message are the receiver's to drop
			if !seen[id] && id < last {
				t.Errorf("%s: %s took effect after %s", key, id, last)
			}
			if !seen[id] {
				last = id
			}
			seen[id] = true
		}
		if len(seen) != 30 {
			t.Errorf("%s: %d of 30 took effect", key, len(seen))
		}
	}
	requests := len(books.seen())
	if attempts := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt'`); attempts < requests {
		t.Errorf("%d requests on the wire, and %d attempts in the timeline", requests, attempts)
	}
	t.Logf("%d requests for 3000 deliveries over two crashes", requests)
}

// A key with a long line behind a held delivery delays no other key, and goes on in
// order when the head is released.
func TestDispatcher_LongLineBehindAHeldDelivery(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	refuse.Store(true)
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "held" && refuse.Load() {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "422"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	const behind, others, sent = 20_000, 500, 300
	batch := []outbox.Entry{b.entry("sales", "held", "order/1", "books")}
	for i := range behind {
		batch = append(batch, b.entry("sales", fmt.Sprintf("b%05d", i), "order/1", "books"))
	}
	for i := range others { // in the same lane, and so behind the long line
		batch = append(batch, b.entry("sales", fmt.Sprintf("o%05d", i), b.keyInLaneOf("order/1"), "books"))
	}
	for part := range slices.Chunk(batch, 5000) {
		b.append(part...)
	}
	_, stop := b.start()
	b.until("the others are delivered", `SELECT count(*) = $1 FROM timeline WHERE state = 'DELIVERED'`, others)
	refuse.Store(false)
	type row struct {
		At      time.Time
		Event   outbox.Seq
		Dest    int32
		Version int32
	}
	held := values[row](b, `SELECT event_at AS at, event, destination AS dest, version FROM deliveries WHERE state = 2`)
	if len(held) != 1 {
		t.Fatalf("%d held, want 1", len(held))
	}
	if _, err := b.store.Retry(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.OperatorRequest{
		RequestID: "1", Reason: "it is good now", ExpectedVersion: held[0].Version,
		Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: held[0].At, Seq: held[0].Event}, Destination: held[0].Dest},
	}); err != nil {
		t.Fatal(err)
	}
	b.until("the line goes on", `SELECT count(*) >= $1 FROM timeline WHERE state = 'DELIVERED'`, others+sent)
	stop()
	order := books.orderOf("order/1")
	if order[0] != "held" {
		t.Fatalf("the first of the line is %s", order[0])
	}
	for i, id := range order[1:] {
		if want := fmt.Sprintf("b%05d", i); id != want {
			t.Fatalf("place %d of the line: %s, want %s", i+1, id, want)
		}
	}
}

// A graceful stop waits for what is on the wire, and stores its outcome.
func TestDispatcher_StopWaitsForWhatIsOnTheWire(t *testing.T) {
	t.Parallel()
	onWire, release := make(chan struct{}), make(chan struct{})
	books := newPlatform(func(context.Context, sent) connectors.Outcome {
		close(onWire)
		<-release
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	_, stop := b.start()
	b.append(b.entry("sales", "a", "order/1", "books"), b.entry("sales", "b", "order/1", "books"))
	<-onWire
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	close(release)
	<-stopped
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); n != 1 {
		t.Errorf("%d outcomes are stored, want the one that was on the wire", n)
	}
	if n := value[int](b, `SELECT count(*) FROM intents i, unnest(i.seqs, i.attempts) AS p(seq, attempt) JOIN deliveries d ON d.seq = p.seq AND d.requests < p.attempt`); n != 0 {
		t.Errorf("%d intents are left open", n)
	}
	if n := value[int](b, `SELECT count(*) FROM lanes WHERE replica IS NOT NULL`); n != 0 {
		t.Errorf("%d lanes are still held", n)
	}
}
