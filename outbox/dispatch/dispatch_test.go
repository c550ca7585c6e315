package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestDispatcher_Delivers(t *testing.T) {
	t.Parallel()
	books, stock := newPlatform(nil), newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books, "stock": stock})
	var batch []outbox.Entry
	want := make(map[string][]string)
	for i := range 500 {
		id, key := fmt.Sprintf("e%03d", i), fmt.Sprintf("order/%d", i%7)
		batch = append(batch, b.entry("sales", id, key, "books", "stock"))
		want[key] = append(want[key], id)
	}
	b.append(batch[:250]...)
	d, stop := b.start()
	b.append(batch[250:]...)
	d.Wake([]int16{0, 1, 2})
	b.untilDrained()
	for name, p := range b.platforms {
		for key, ids := range want {
			if diff := cmp.Diff(ids, p.orderOf(key)); diff != "" {
				t.Errorf("%s: order of %s (-want +got):\n%s", name, key, diff)
			}
		}
		if n := len(p.seen()); n != 500 {
			t.Errorf("%s saw %d requests, want 500", name, n)
		}
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state = 'DELIVERED' AND started_at IS NOT NULL`); n != 1000 {
		t.Errorf("%d delivered entries, want 1000", n)
	}
	if n := value[int](b, `SELECT sum(delivered)::int FROM tallies`); n != 1000 {
		t.Errorf("the tallies count %d, want 1000", n)
	}
	stop()
	if n := value[int](b, `SELECT count(*) FROM lanes WHERE replica IS NOT NULL`); n != 0 {
		t.Errorf("%d lanes are still held after a graceful stop", n)
	}
	if n := value[int](b, `SELECT count(*) FROM replicas`); n != 0 {
		t.Errorf("%d replicas are left after a graceful stop", n)
	}
}

func TestDispatcher_RetriesUntilItSucceeds(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.Attempt < 4 {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503 Service Unavailable"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.append(b.entry("sales", "a", "order/1", "books"), b.entry("sales", "b", "order/1", "books"), b.entry("sales", "c", "order/2", "books"))
	b.start()
	b.untilDrained()
	if diff := cmp.Diff([]string{"a", "b"}, books.orderOf("order/1")); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state = 'WAITING' AND reason = '503 Service Unavailable' AND next_at > started_at`); n != 9 {
		t.Errorf("%d waiting entries, want 9", n)
	}
	keys := make(map[string]bool)
	for _, s := range books.seen() {
		keys[s.Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d idempotency keys over all attempts, want one an event", len(keys))
	}
}

func TestDispatcher_RaisesOneExceptionACause(t *testing.T) {
	t.Parallel()
	refuse := true
	books := newPlatform(nil)
	books.answer = func(context.Context, sent) connectors.Outcome {
		books.mu.Lock()
		defer books.mu.Unlock()
		if refuse {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Code: "unknown_sku", Field: "lines[0].sku", Status: 422, Reason: "unknown SKU LATTE-OAT"}
		}
		return delivered
	}
	b := newBench(t, map[string]*platform{"books": books})
	for i := range 5 {
		key := fmt.Sprintf("order/%d", i)
		b.append(b.entry("sales", key+"/created", key, "books"), b.entry("sales", key+"/paid", key, "books"))
	}
	b.start()
	b.until("the first of each key is held", `SELECT held = 5 FROM exceptions WHERE class = 'VALIDATION' AND code = 'unknown_sku' AND closed_at IS NULL`)
	if n := value[int](b, `SELECT count(*) FROM exceptions`); n != 1 {
		t.Errorf("%d exceptions, want 1", n)
	}
	if n := len(books.seen()); n != 5 {
		t.Errorf("%d requests, want 5: what waits behind a held event is not sent", n)
	}
	if n := value[int](b, `SELECT needs_action::int FROM tallies WHERE needs_action <> 0`); n != 5 {
		t.Errorf("the tallies count %d, want 5", n)
	}

	books.mu.Lock()
	refuse = false
	books.mu.Unlock()
	ayu := outbox.Actor{Tenant: "kopi", Name: "ayu"}
	type row struct {
		At          time.Time
		Event       outbox.Seq
		Destination int32
		Version     int32
	}
	open := values[row](b, `SELECT event_at AS at, event, destination, version FROM deliveries WHERE state = 2 ORDER BY seq`)
	for i, r := range open {
		q := outbox.OperatorRequest{
			RequestID: fmt.Sprint("request ", i), ExpectedVersion: r.Version, Reason: "the SKU is known now",
			Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: r.At, Seq: r.Event}, Destination: r.Destination},
		}
		operate := b.store.Retry
		if i == 0 {
			operate = b.store.Skip
		}
		first, err := operate(t.Context(), ayu, q)
		if err != nil {
			t.Fatal(err)
		}
		again, err := operate(t.Context(), ayu, q)
		if err != nil || again != first {
			t.Errorf("the repeat of a request answered %v, %v; want %v", again, err, first)
		}
	}
	b.untilDrained()
	if diff := cmp.Diff([]string{"order/0/paid"}, books.orderOf("order/0")); diff != "" {
		t.Errorf("after the skip (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"order/3/created", "order/3/paid"}, books.orderOf("order/3")); diff != "" {
		t.Errorf("after the retry (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE status = 'RESOLVED' AND held = 0 AND closed_at IS NOT NULL`); n != 1 {
		t.Error("the exception is not resolved")
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE actor = 'ayu' AND reason = 'the SKU is known now' AND what IN ('retry', 'skip', 'resolved')`); n != 6 {
		t.Errorf("%d entries of the operator, want 6", n)
	}
	if n := value[int](b, `SELECT sum(needs_action)::int FROM tallies`); n != 0 {
		t.Errorf("the tallies still count %d", n)
	}
}

func TestDispatcher_PassesAnExceptionWhereTheRouteSaysSo(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID < "x40" {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "no"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	var batch []outbox.Entry
	for i := range 50 { // more held ones than a line keeps in memory
		batch = append(batch, b.entry("pass", fmt.Sprintf("x%02d", i), "order/1", "books"))
	}
	b.append(batch...)
	b.start()
	b.until("forty are held, and the others pass", `SELECT count(*) = 40 AND bool_and(state = 2) FROM deliveries`)
	if n := len(books.orderOf("order/1")); n != 10 {
		t.Errorf("%d passed, want 10", n)
	}
}

// The fifth of the ten bugs: two dispatchers, a slow or failing head, and the order
// of its key.
func TestDispatcher_TwoReplicasKeepTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(ctx context.Context, s sent) connectors.Outcome {
		n := len(s.ID)
		switch {
		case s.ID[n-1]%2 == 1 && s.Attempt == 1: // odd ones are slow
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		case s.ID[n-2] == '0' && s.Attempt <= 2:
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Rule: "status 429", Status: 429, RetryAfter: 5 * time.Millisecond, Reason: "429"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.start()
	b.start()
	second, err := b.store.OpenWriter(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close(context.Background())
	want := make(map[string][]string)
	for i := range 300 {
		key := fmt.Sprintf("order/%d", i%10)
		id := fmt.Sprintf("%03d", i)
		want[key] = append(want[key], id)
		// Two brokers accept a key's events in turn, each after the other's commit.
		w := b.writer
		if i/10%2 == 1 {
			w = second
		}
		appendBy(b, w, b.entry("sales", id, key, "books"))
	}
	b.untilDrained()
	for key, ids := range want {
		if diff := cmp.Diff(ids, books.orderOf(key)); diff != "" {
			t.Errorf("order of %s (-want +got):\n%s", key, diff)
		}
	}
	if !b.spreadEvenly() {
		t.Error("the lanes are not shared by the two replicas")
	}
}

func (b *bench) spreadEvenly() bool {
	counts := values[int](b, `SELECT count(*) FROM lanes GROUP BY replica ORDER BY 1`)
	return slices.Equal(counts, []int{32, 32})
}
