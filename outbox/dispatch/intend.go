package dispatch

import (
	"context"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// intendAll makes the intents of prepared requests durable, and only then sends them.
func (n *incarnation) intendAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.requests.signal:
		}
		n.intending.Store(true)
		for _, flights := range rounds(n.requests.take(launchBatch)) {
			if err := n.intend(ctx, flights); err != nil {
				return unlessOver(ctx, err)
			}
		}
		n.intending.Store(false)
		n.news.remind()
	}
}

func (n *incarnation) intend(ctx context.Context, flights []*flight) error {
	intended := make([]*outbox.Delivery, len(flights))
	byLane := make(map[int16]outbox.Lease)
	for i, f := range flights {
		intended[i] = f.delivery
		byLane[f.lease.Lane] = f.lease
	}
	leases := make([]outbox.Lease, 0, len(byLane))
	for _, l := range byLane {
		leases = append(leases, l)
	}
	uses := usesOf(flights)
	var stored outbox.Batch
	var claimed map[outbox.Position]outbox.Claimed
	number, began := n.replica.NextBatch(), time.Now()
	err := n.persist(ctx, "storing intents", func(ctx context.Context) (err error) {
		if mutant.On(mutant.NoIntent) {
			stored = n.pretend(intended)
			return nil
		}
		stored, claimed, err = n.storeIntents(ctx, number, leases, flights, intended, uses)
		return err
	})
	if err != nil {
		return err // the incarnation is over, and its breakers with it
	}
	tellBatch(n.config.Observe.Intended, len(intended), began)
	b := &batch{number: number, open: stored.Size, size: len(intended), began: began, durable: time.Now()}
	var ready []*flight
	for _, f := range flights {
		c := claimed[f.delivery.Position()]
		f.delivery.Claimed = f.delivery.Claimed || c.Won
		if !stored.Announces(f.delivery) {
			n.notIntended(f, c)
			continue
		}
		f.attempt.Sent, f.attempt.StartedAt, f.batch = true, stored.At, b
		ready = append(ready, f)
	}
	n.sendAll(ctx, ready)
	return nil
}

// usesOf is what mappings the requests were made with. A question changes nothing.
func usesOf(flights []*flight) (uses []outbox.Using) {
	for _, f := range flights {
		if len(f.used) > 0 && !f.attempt.Asked {
			uses = append(uses, outbox.Using{Delivery: f.delivery, LookedUp: f.used})
		}
		f.used = nil
	}
	return uses
}

// left is how much of the lease is there for a request, up to most.
func (n *incarnation) left(most time.Duration) (left time.Duration, cut bool) {
	left = time.Until(n.replica.Deadline().Add(-n.config.Margin))
	if mutant.On(mutant.NoFence) {
		left = most
	}
	return min(left, most), left < most
}
