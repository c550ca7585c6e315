package dispatch

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	finishBatch = 1024
	pruneBatch  = 64
	// finishEvery is the least time between two batches of outcomes: to store one costs about
	// as much as forty of its outcomes do. No slot waits for it, and the first outcome after a
	// rest is stored at once.
	finishEvery = 5 * time.Millisecond
	// finishWithin is how long outcomes may gather where none of them is urgent, many come,
	// and so many at most. Those that are lost with the process are sent or asked about again.
	finishWithin = 20 * time.Millisecond
	finishSome   = 40
	finishMany   = 256
)

// finishAll decides what the outcomes come to, and stores it in batches.
func (n *incarnation) finishAll(ctx context.Context) error {
	prune := time.NewTicker(lookEvery)
	defer prune.Stop()
	var over []int64 // batches of intents with nothing open
	var last time.Time
	for {
		idle := false
		select {
		case <-ctx.Done():
			return nil
		case <-n.outcomes.signal:
		case <-prune.C:
			idle = true
		}
		if !idle {
			n.gather(ctx, last)
		}
		last = time.Now()
		flights := n.outcomes.take(finishBatch)
		if err := n.finish(ctx, flights); err != nil {
			return unlessOver(ctx, err)
		}
		for _, f := range flights {
			if f.batch == nil {
				continue
			}
			if f.batch.open--; f.batch.open == 0 {
				over = append(over, f.batch.number)
			}
		}
		if len(over) >= pruneBatch || idle && len(over) > 0 {
			// What stays is deleted with the next ones: it costs readers time, no more.
			if err := within(ctx, n.config.Lease, func(ctx context.Context) error { return n.replica.Prune(ctx, over) }); err == nil {
				over = over[:0]
			}
		}
	}
}

// gather waits until outcomes are worth a batch; last is when the one before was taken.
func (n *incarnation) gather(ctx context.Context, last time.Time) {
	time.Sleep(time.Until(last.Add(finishEvery)))
	if n.outcomes.len() < finishSome {
		return
	}
	late := time.NewTimer(time.Until(last.Add(finishWithin)))
	defer late.Stop()
	select {
	case <-ctx.Done():
	case <-late.C:
	case <-n.urgent:
	}
}

// hurry has what gathered stored soon.
func (n *incarnation) hurry() {
	select {
	case n.urgent <- struct{}{}:
	default:
	}
}

// urgent tells whether somebody waits for the outcome, as the next step does, or those that
// wait for a claim; or whether losing it with the process would take a person, since neither
// may the request be repeated nor the platform be asked.
func (f *flight) urgent() bool {
	return f.step != nil || f.attempt.Sent && !f.policy.Asks && !f.policy.Traits.Idempotent
}

func (n *incarnation) finish(ctx context.Context, flights []*flight) error {
	if len(flights) == 0 {
		return nil
	}
	transitions := make([]outbox.Transition, len(flights))
	leases := make(map[int16]outbox.Lease)
	now := n.replica.Now()
	for i, f := range flights {
		transitions[i] = Decide(f.delivery, f.attempt, f.policy, now, n.config.Dice())
		leases[f.lease.Lane] = f.lease
	}
	lost, err := n.noteLosses(ctx, flights)
	if err != nil {
		return err
	}
	stored, began := make(map[outbox.Position]bool, len(flights)), time.Now()
	if err := n.store(ctx, transitions, leases, stored); err != nil {
		return err
	}
	regained, err := n.noteRegained(ctx, flights)
	if err != nil {
		return err
	}
	tellBatch(n.config.Observe.Finished, len(transitions), began)
	c := n.clocks()
	for i, f := range flights {
		if stored[f.delivery.Position()] {
			n.observed(ctx, f, &transitions[i], c)
		}
	}
	n.news.put(func(s *scheduler) {
		for i, f := range flights {
			if !outdated(f, stored) {
				s.settled(f, transitions[i].To, stored[f.delivery.Position()])
			}
		}
	})
	n.prepareAgain(ctx, flights, stored)
	if lost || regained {
		n.LookAtControls() // what the scheduler has taken for lost may not be held
	}
	return nil
}

// store stores transitions. One that Postgres refuses is found by halving, and
// becomes an exception of its own, so that it stops nothing else.
func (n *incarnation) store(ctx context.Context, transitions []outbox.Transition, leases map[int16]outbox.Lease, stored map[outbox.Position]bool) error {
	var refused error
	err := n.persist(ctx, "storing outcomes", func(ctx context.Context) error {
		changed, err := n.replica.Finish(ctx, leasesOf(transitions, leases), transitions)
		maps.Copy(stored, changed)
		if isDataError(err) {
			refused = err
			return nil
		}
		return err
	})
	if err != nil || refused == nil {
		return err
	}
	if len(transitions) > 1 {
		half := len(transitions) / 2
		if err := n.store(ctx, transitions[:half], leases, stored); err != nil {
			return err
		}
		return n.store(ctx, transitions[half:], leases, stored)
	}
	t := &transitions[0]
	if t.Cause.Class == outbox.Class(raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON) && t.Cause.Rule == "store" {
		return refused // even the plain words are refused: nothing here can mend that
	}
	n.config.Log.ErrorContext(ctx, "an outcome cannot be stored as it is", "destination", t.Destination, "event", t.Event, "error", refused)
	t.Kind, t.Reason, t.Detail = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, "the outcome of this attempt cannot be stored", outbox.Detail{}
	t.Exposure = nil
	t.To, t.Cause = outbox.StateNeedsAction, outbox.Cause{Class: outbox.Class(t.Kind), Rule: "store"}
	return n.store(ctx, transitions, leases, stored)
}

// isDataError tells whether an error is about a value, so that trying again is no use:
// SQLSTATE class 22 or 23, or 54000 (too large for an index). A check that fails without
// a constraint's name is a partition that is missing, which will be there in a moment.
func isDataError(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return false
	}
	noPartition := pg.Code == "23514" && pg.ConstraintName == ""
	return pg.Code[:2] == "22" || pg.Code[:2] == "23" && !noPartition || pg.Code == "54000"
}
