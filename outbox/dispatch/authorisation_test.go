package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// revocable is a platform that takes its authorisation away, and gives it back.
type revocable struct {
	*platform
	revoked atomic.Bool
}

func newRevocable() *revocable {
	g := &revocable{}
	g.platform = newPlatform(func(context.Context, sent) connectors.Outcome {
		if g.revoked.Load() {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED, Rule: "status 401", Status: 401, Reason: "401 Unauthorized"}
		}
		return delivered
	})
	return g
}

func (b *bench) manyKeys(keys, each int) {
	b.t.Helper()
	var batch []outbox.Entry
	for i := range each {
		for k := range keys {
			key := fmt.Sprint("order/", k)
			batch = append(batch, b.entry("sales", fmt.Sprint(key, " ", i), key, "books"))
		}
	}
	for page := range slices.Chunk(batch, 500) {
		b.append(page...)
	}
}

// inOrder wants each key's to have been delivered in order, each once.
func (p *platform) inOrder(t *testing.T, keys, each int) {
	t.Helper()
	for k := range keys {
		key := fmt.Sprint("order/", k)
		var want []string
		for i := range each {
			want = append(want, fmt.Sprint(key, " ", i))
		}
		if got := p.orderOf(key); !slices.Equal(got, want) {
			t.Errorf("%s was delivered as %v", key, got)
		}
	}
}

// The token is revoked under load: one exception, no attempt spent, and nothing is sent
// any more. Connected again, everything flows, in order.
func TestDispatcher_RevokedAuthorisationHoldsTheDestination(t *testing.T) {
	t.Parallel()
	g := newRevocable()
	stock := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": g.platform, "stock": stock})
	g.revoked.Store(true)
	const keys, each = 100, 5
	b.manyKeys(keys, each)
	d, _ := b.start()
	b.start()
	b.until("the destination is held", `SELECT EXISTS (SELECT FROM controls WHERE kind = 'authorisation' AND name = 'books' AND state = 'LOST')`)
	b.append(b.entry("sales", "other", "order/1", "stock"))
	b.until("what is on the wire is over, and others go on", `SELECT NOT EXISTS (SELECT FROM deliveries WHERE destination = $1)
		AND NOT EXISTS (SELECT FROM intents i, unnest(i.lanes, i.destinations, i.seqs, i.attempts) AS p(lane, destination, seq, attempt)
		  JOIN deliveries d ON d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.requests < p.attempt)`, b.applied.Names.Destinations["stock"])
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE class = 'AUTH_REVOKED' AND holds_destination AND closed_at IS NULL`); n != 1 {
		t.Errorf("%d exceptions, want one", n)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions`) + value[int](b, `SELECT count(*) FROM timeline WHERE what = 'exception'`); n != 2 {
		t.Error("somebody was told more than once")
	}
	if n := value[int](b, `SELECT (sum(attempts) + count(tried_at))::int FROM deliveries`); n != 0 {
		t.Errorf("%d attempts are spent, or their time runs", n)
	}
	tries := len(g.seen())
	if tries > 64 {
		t.Errorf("%d requests were made of a destination that had lost its authorisation at the first", tries)
	}

	g.revoked.Store(false)
	resume := outbox.ControlRequest{RequestID: "1", Kind: outbox.OfAuthorisation, Name: "books", State: outbox.Automatic, Reason: "connected again"}
	if err := b.store.Control(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, resume); err != nil {
		t.Fatal(err)
	}
	d.LookAtControls()
	b.untilDrained()
	g.inOrder(t, keys, each)
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what IN ('resolved', 'resume') AND actor = 'ayu' AND reason = 'connected again'`); n != 2 {
		t.Errorf("%d entries tell who connected it again, want two", n)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 0 {
		t.Error("the exception is open still")
	}
}

// Nobody says so, and the authorisation is back: a probe finds out, and everything flows.
func TestDispatcher_RegainsAuthorisationByItself(t *testing.T) {
	t.Parallel()
	g := newRevocable()
	b := newBench(t, map[string]*platform{"books": g.platform})
	b.destination("books").AuthorisationProbe = 300 * time.Millisecond
	g.revoked.Store(true)
	const keys, each = 40, 3
	b.manyKeys(keys, each)
	b.start()
	b.until("probes were made in vain", `SELECT count(DISTINCT at) > 3 FROM timeline WHERE what = 'attempt'`)
	if n := value[int](b, `SELECT count(*) FROM exceptions`); n != 1 {
		t.Errorf("%d exceptions, want one", n)
	}
	g.revoked.Store(false)
	b.untilDrained()
	g.inOrder(t, keys, each)
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what IN ('resolved', 'resume') AND actor IS NULL AND reason LIKE 'a request has succeeded%'`); n != 2 {
		t.Errorf("%d entries tell that it came back by itself, want two", n)
	}
	if n := value[int](b, `SELECT count(*) FROM controls`) + value[int](b, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); n != 0 {
		t.Error("it is held still")
	}
}

// What was sent before the destination was given back, and is answered only after it, is
// not a loss anew.
func TestDispatcher_LateRefusalIsNoNewLoss(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	var late atomic.Bool
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "late" && !late.Swap(true) {
			<-answer
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE, Reason: "the account is suspended"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.start()
	b.append(b.entry("sales", "late", "order/1", "books"))
	b.until("its intent is there", `SELECT EXISTS (SELECT FROM intents)`)
	b.until("it was lost and given back meanwhile", `WITH x AS (
		INSERT INTO exceptions (tenant, class, destination, holds_destination, status, closed_at) VALUES ('kopi', 'AUTH_REVOKED', $1, true, 'RESOLVED', clock_timestamp()) RETURNING id)
		SELECT count(*) = 1 FROM x`, b.applied.Names.Destinations["books"])
	close(answer)
	b.untilDrained()
	if n := value[int](b, `SELECT count(*) FROM exceptions`) + value[int](b, `SELECT count(*) FROM timeline WHERE what = 'exception'`); n != 1 {
		t.Error("an exception was raised")
	}
}
