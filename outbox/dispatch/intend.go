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
		if err := n.intend(ctx, n.requests.take(launchBatch)); err != nil {
			return unlessOver(ctx, err)
		}
	}
}

func (n *incarnation) intend(ctx context.Context, flights []*flight) error {
	if len(flights) == 0 {
		return nil
	}
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
	number, began := n.replica.NextBatch(), time.Now()
	err := n.persist(ctx, "storing intents", func(ctx context.Context) (err error) {
		if mutant.On(mutant.NoIntent) {
			stored = n.pretend(intended)
			return nil
		}
		stored, err = n.replica.Intend(ctx, number, leases, intended)
		return err
	})
	if err != nil {
		return err // the incarnation is over, and its breakers with it
	}
	tellBatch(n.config.Observe.Intended, len(intended), began)
	b := &batch{number: number, open: len(stored.Members), size: len(intended), began: began, durable: time.Now()}
	for _, f := range flights {
		if !stored.Members[f.delivery.Position()] {
			f.settle(context.Canceled)
			n.news.put(func(s *scheduler) { s.returned(f) })
			continue
		}
		f.attempt.Sent, f.attempt.StartedAt, f.batch = true, stored.At, b
		n.sending.Go(func() { n.send(ctx, f) })
	}
	return nil
}

// left is how much of the lease is there for a request, up to most.
func (n *incarnation) left(most time.Duration) (left time.Duration, cut bool) {
	left = time.Until(n.replica.Deadline().Add(-n.config.Margin))
	if mutant.On(mutant.NoFence) {
		left = most
	}
	return min(left, most), left < most
}
