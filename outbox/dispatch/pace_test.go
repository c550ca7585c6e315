package dispatch_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// A platform that asks to be left alone is left alone, by every key.
func TestDispatcher_RateLimitPacesTheDestination(t *testing.T) {
	t.Parallel()
	const asked = 700 * time.Millisecond
	var refused, early atomic.Int64 // when it refused, by the clock that no one sets
	begin := time.Now()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		now := int64(time.Since(begin))
		if refused.CompareAndSwap(0, now) {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Rule: "status 429", Status: 429, RetryAfter: asked, Reason: "429 Too Many Requests"}
		}
		if now < refused.Load()+int64(asked) {
			early.Add(1)
		}
		return delivered
	})
	stock := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books, "stock": stock})
	b.destination("books").Concurrency = 1 // nothing else is on the wire when it refuses
	var batch []outbox.Entry
	for i := range 30 {
		batch = append(batch, b.entry("sales", fmt.Sprintf("e%02d", i), fmt.Sprintf("order/%d", i), "books", "stock"))
	}
	b.append(batch...)
	b.start()
	b.until("others see that it is left alone", `SELECT count(*) = 1 FROM breakers WHERE paced_until > now() AND state = 'CLOSED'`)
	b.untilDrained()
	if n := early.Load(); n > 0 {
		t.Errorf("%d requests came before the time that the platform asked for", n)
	}
	if n := len(books.seen()); n != 31 {
		t.Errorf("%d requests, want one a delivery and the one that was refused", n)
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'WAITING' AND next_at >= started_at + interval '700 ms'`); n != 1 {
		t.Error("the refused one does not wait as long as asked")
	}
	b.until("others see that it is over", `SELECT count(*) = 1 FROM breakers WHERE paced_until IS NULL`)
}

// An answer that is about one delivery holds no other, whatever its Retry-After says.
func TestDispatcher_ARefusalWithRetryAfterHoldsItsDeliveryOnly(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "stale" && s.Attempt == 1 {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_STALE, Rule: "status 409", Status: 409, RetryAfter: 30 * time.Minute, Reason: "409 Conflict"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.destination("books").Concurrency = 1
	// In one lane, so that they are read, and sent, in this order.
	b.append(b.entry("sales", "stale", "order/1", "books"), b.entry("sales", "other", b.keyInLaneOf("order/1"), "books"))
	b.start()
	b.until("the other one is delivered", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
	b.until("the stale one waits as long as asked", `SELECT count(*) = 1 FROM deliveries WHERE state = 1 AND due_at > now() + interval '29 minutes'`)
	if n := value[int](b, `SELECT count(*) FROM breakers WHERE paced_until IS NOT NULL`); n != 0 {
		t.Error("the destination is left alone")
	}
}

// Nothing is sent once the platform may have forgotten the key of a request that may
// have had its effect, whatever delayed it.
func TestDispatcher_SendsNothingPastTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		switch {
		case s.ID == "unknown" && s.Attempt == 1:
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "no answer", Reason: "the connection broke"}
		case s.ID == "limited" && s.Attempt == 1: // keeps the other one waiting
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Rule: "status 429", Status: 429, RetryAfter: 1500 * time.Millisecond, Reason: "429"}
		}
		return delivered
	})
	books.traits = connectors.Traits{Idempotent: true, DeduplicationWindow: time.Second}
	b := newBench(t, map[string]*platform{"books": books})
	d := b.destination("books")
	d.Concurrency, d.Timeout = 1, 100*time.Millisecond
	// In one lane, so that they are read, and sent, in this order.
	b.append(b.entry("sales", "unknown", "order/1", "books"), b.entry("sales", "limited", b.keyInLaneOf("order/1"), "books"))
	b.start()
	b.until("a person is to decide", `SELECT count(*) = 1 FROM exceptions WHERE class = 'UNKNOWN_OUTCOME' AND rule = 'deduplication window' AND held = 1`)
	b.until("the other one is delivered", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
	for _, s := range books.seen() {
		if s.ID == "unknown" && s.Attempt > 1 {
			t.Error("it was sent again")
		}
	}

	// A person decides that it is to be sent.
	type row struct {
		At          time.Time
		Event       outbox.Seq
		Destination int32
		Version     int32
	}
	r := values[row](b, `SELECT event_at AS at, event, destination, version FROM deliveries`)[0]
	if _, err := b.store.Retry(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.OperatorRequest{
		RequestID: "1", Reason: "the platform does not have it", ExpectedVersion: r.Version,
		Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: r.At, Seq: r.Event}, Destination: r.Destination},
	}); err != nil {
		t.Fatal(err)
	}
	b.untilDrained()
}

// A connector that does not return costs its own delivery, and holds its slot no
// longer than its time.
func TestDispatcher_AConnectorThatHangsCostsItsOwnDelivery(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "hangs" && s.Attempt == 1 {
			<-release // whatever its context says
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	d := b.destination("books")
	d.Concurrency, d.Timeout = 1, 100*time.Millisecond
	b.append(b.entry("sales", "hangs", "order/1", "books"), b.entry("sales", "behind", "order/2", "books"))
	b.start()
	b.untilDrained()
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND kind = 3 AND detail ->> 'rule' = 'deadline' AND state = 'WAITING'`); n != 1 {
		t.Errorf("%d attempts of unknown outcome, want the one that did not return", n)
	}
	if keys := books.keysOf("hangs"); len(keys) != 1 {
		t.Errorf("%d keys for one event", len(keys))
	}
}

// Requests that go out together share their time and nothing else: one that hangs is given
// up by itself, and one that is slow keeps its context while the others return.
func TestDispatcher_AConnectorThatHangsCostsNothingOfItsBatch(t *testing.T) {
	t.Parallel()
	const quick = 6
	release, returned := make(chan struct{}), make(chan struct{})
	defer close(release)
	books := newPlatform(func(ctx context.Context, s sent) connectors.Outcome {
		switch {
		case s.ID == "hangs" && s.Attempt == 1:
			<-release // whatever its context says
		case s.ID == "slow":
			select {
			case <-returned:
			case <-ctx.Done():
				if ctx.Err() != context.DeadlineExceeded {
					t.Error("the slow one's context ended with another's")
				}
			}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	d := b.destination("books")
	d.Concurrency, d.Timeout = quick+2, 2*time.Second
	entries := []outbox.Entry{b.entry("sales", "slow", "order/slow", "books"), b.entry("sales", "hangs", "order/hangs", "books")}
	for i := range quick {
		entries = append(entries, b.entry("sales", fmt.Sprint("quick-", i), fmt.Sprint("order/", i), "books"))
	}
	b.append(entries...)
	b.start()
	b.until("the others are delivered", fmt.Sprintf(`SELECT count(*) = %d FROM timeline WHERE state = 'DELIVERED'`, quick))
	close(returned)
	b.untilDrained()
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state <> 'DELIVERED'`); n != 1 {
		t.Errorf("%d attempts that did not deliver, want the one that did not return", n)
	}
	if n := len(books.seen()); n != quick+3 {
		t.Errorf("%d requests, want one each and another of what was given up", n)
	}
}

// A connector that does not return from Prepare costs its own delivery: neither those
// behind it, nor another destination, nor the end of the program.
func TestDispatcher_AConnectorThatHangsInPrepareCostsItsOwnDelivery(t *testing.T) {
	t.Parallel()
	books, stock := newPlatform(nil), newPlatform(nil)
	books.hang, stock.hang = make(chan struct{}), make(chan struct{})
	defer close(books.hang)
	close(stock.hang) // it does not, there
	b := newBench(t, map[string]*platform{"books": books, "stock": stock})
	hangs := b.entry("sales", "hangs", "order/1", "books", "stock")
	hangs.Event.Type = "hang.prepare"
	b.append(hangs)
	for i := range 50 {
		b.append(b.entry("sales", fmt.Sprint("e", i), fmt.Sprint("order/", 2+i), "books", "stock"))
	}
	_, stop := b.start()
	b.until("all but one are delivered", `SELECT count(*) = 1 AND bool_and(state = 2) FROM deliveries`)
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); n != 101 {
		t.Errorf("%d delivered, want 101", n)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE class = 'POISON' AND rule = 'prepare' AND held = 1`); n != 1 {
		t.Errorf("%d exceptions of it, want 1", n)
	}
	stop()
}

// keysOf are the idempotency keys by which an event was sent.
func (p *platform) keysOf(id string) map[string]bool {
	keys := make(map[string]bool)
	for _, s := range p.seen() {
		if s.ID == id {
			keys[s.Key] = true
		}
	}
	return keys
}
