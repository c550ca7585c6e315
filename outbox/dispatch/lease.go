package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// keepLease renews the lease, and does nothing else, so that nothing keeps it from
// that.
func (n *incarnation) keepLease(ctx context.Context) error {
	every := n.config.Lease / 5
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := within(ctx, 2*every, n.replica.Renew)
		switch {
		case err == nil || mutant.On(mutant.NoFence):
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, outbox.ErrLeaseLost) || time.Now().After(n.replica.Deadline()):
			return fmt.Errorf("%w: %w", outbox.ErrLeaseLost, err)
		default:
			n.config.Log.WarnContext(ctx, "the lease is not renewed yet", "error", err, "left", time.Until(n.replica.Deadline()))
		}
	}
}

// keepLanes takes lanes, and has excess ones released, until it drains.
func (n *incarnation) keepLanes(ctx context.Context, drain <-chan struct{}) error {
	tick := time.NewTicker(min(n.config.Lease/5, time.Second))
	defer tick.Stop()
	for {
		if err := n.spread(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, outbox.ErrLeaseLost) && !mutant.On(mutant.NoFence) {
				return err
			}
			n.config.Log.WarnContext(ctx, "no look at the lanes", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-drain:
			return nil
		case <-tick.C:
		}
	}
}

func (n *incarnation) spread(ctx context.Context) error {
	taken, excess, err := n.replica.Spread(ctx, n.held.lanes())
	if err != nil {
		return err
	}
	if excess > 0 {
		n.news.put(func(s *scheduler) { s.release(excess) })
	}
	if len(taken) == 0 {
		return nil
	}
	n.held.add(taken)
	// What a dead owner left open is settled before anything of these lanes is read.
	err = n.persist(ctx, "settling what the last owner left", func(ctx context.Context) error { return n.recover(ctx, taken) })
	if err != nil {
		return err
	}
	n.news.put(func(s *scheduler) { s.take(taken) })
	n.config.Log.InfoContext(ctx, "lanes taken", "replica", n.replica.ID(), "lanes", len(taken))
	return nil
}

// recoverPage bounds how many orphans are settled in one transaction.
const recoverPage = 500

// recover gives every open intent of a dead owner its outcome: unknown.
func (n *incarnation) recover(ctx context.Context, taken []outbox.Lease) error {
	leases := make(map[int16]outbox.Lease)
	var lanes []int16
	for _, l := range taken {
		leases[l.Lane] = l
		lanes = append(lanes, l.Lane)
	}
	for row := (&outbox.IntentRow{}); row != nil; {
		orphans, next, err := n.replica.Orphans(ctx, lanes, *row)
		if err != nil {
			return err
		}
		if mutant.On(mutant.OrphansForgotten) {
			return nil
		}
		if err := n.settleOrphans(ctx, orphans, leases); err != nil {
			return err
		}
		row = next
	}
	return nil
}

func (n *incarnation) settleOrphans(ctx context.Context, orphans []outbox.Orphan, leases map[int16]outbox.Lease) error {
	plan := n.plan.Load()
	for page := range slices.Chunk(orphans, recoverPage) {
		transitions := make([]outbox.Transition, len(page))
		for i := range page {
			o := &page[i]
			rule, reason := "owner died", "the process that was sending it ended before its outcome was stored"
			if o.Restored {
				rule, reason = "restored", "the database was restored from a backup, which does not tell whether it was sent"
			}
			// It may have been a question. Taking it for a request is never wrong.
			transitions[i] = Decide(&o.Delivery, Attempt{Sent: true, StartedAt: o.IntendedAt, Outcome: connectors.Outcome{
				Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: rule, Reason: reason,
			}}, n.policy(plan, &o.Delivery), n.replica.Now(), n.config.Dice())
		}
		if err := n.appraiseHeld(ctx, plan, transitions); err != nil {
			return err
		}
		// One that cannot be stored must not keep the lanes from being served.
		stored := make(map[outbox.Position]bool)
		if err := n.store(ctx, transitions, leases, stored); err != nil {
			return err
		}
		n.observedOrphans(ctx, plan, transitions, stored)
	}
	return nil
}

// appraiseHeld reads the events of what is to be held: nobody has prepared them here. One
// that cannot be read is worth nothing that anybody knows.
func (n *incarnation) appraiseHeld(ctx context.Context, plan *Plan, transitions []outbox.Transition) error {
	var held []*outbox.Transition
	var deliveries []*outbox.Delivery
	for i := range transitions {
		if t := &transitions[i]; t.To == outbox.StateNeedsAction {
			held, deliveries = append(held, t), append(deliveries, t.Delivery)
		}
	}
	if len(held) == 0 {
		return nil
	}
	events, err := n.replica.Load(ctx, deliveries)
	if err != nil {
		return err
	}
	for i, t := range held {
		if events[i] != nil {
			p := n.policy(plan, t.Delivery)
			t.Exposure, t.Outlet = p.appraise(events[i])
		}
	}
	return nil
}

func leasesOf(transitions []outbox.Transition, by map[int16]outbox.Lease) []outbox.Lease {
	seen := make(map[int16]bool)
	var leases []outbox.Lease
	for i := range transitions {
		if lane := transitions[i].Lane; !seen[lane] {
			seen[lane] = true
			leases = append(leases, by[lane])
		}
	}
	return leases
}
