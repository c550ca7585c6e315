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
		for _, flights := range rounds(n.requests.take(launchBatch)) {
			if err := n.intend(ctx, flights); err != nil {
				return unlessOver(ctx, err)
			}
		}
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
	var stored outbox.Batch
	var claimed map[outbox.Position]outbox.Claimed
	number, began := n.replica.NextBatch(), time.Now()
	err := n.persist(ctx, "storing intents", func(ctx context.Context) (err error) {
		if mutant.On(mutant.NoIntent) {
			stored = n.pretend(intended)
			return nil
		}
		stored, claimed, err = n.storeIntents(ctx, number, leases, flights, intended)
		return err
	})
	if err != nil {
		return err // the incarnation is over, and its breakers with it
	}
	tellBatch(n.config.Observe.Intended, len(intended), began)
	if err := n.recordUses(ctx, stored, flights); err != nil {
		return err
	}
	b := &batch{number: number, open: len(stored.Members), size: len(intended), began: began, durable: time.Now()}
	for _, f := range flights {
		c := claimed[f.delivery.Position()]
		f.delivery.Claimed = f.delivery.Claimed || c.Won
		if !stored.Members[f.delivery.Position()] {
			n.notIntended(f, c)
			continue
		}
		f.attempt.Sent, f.attempt.StartedAt, f.batch = true, stored.At, b
		n.sending.run(ctx, func() { n.send(ctx, f) })
	}
	return nil
}

// recordUses keeps which mappings requests were made with, before any of them goes out. A
// question changes nothing.
func (n *incarnation) recordUses(ctx context.Context, stored outbox.Batch, flights []*flight) error {
	var uses []outbox.Using
	for _, f := range flights {
		if len(f.used) > 0 && !f.attempt.Asked && stored.Members[f.delivery.Position()] {
			uses = append(uses, outbox.Using{Delivery: f.delivery, LookedUp: f.used})
		}
		f.used = nil
	}
	if len(uses) == 0 {
		return nil
	}
	return n.persist(ctx, "recording uses of mappings", func(ctx context.Context) error { return n.replica.RecordUses(ctx, stored.At, uses) })
}

// left is how much of the lease is there for a request, up to most.
func (n *incarnation) left(most time.Duration) (left time.Duration, cut bool) {
	left = time.Until(n.replica.Deadline().Add(-n.config.Margin))
	if mutant.On(mutant.NoFence) {
		left = most
	}
	return min(left, most), left < most
}
