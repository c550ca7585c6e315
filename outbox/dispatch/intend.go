package dispatch

import (
	"context"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

const (
	// intenders is how many batches of intents may be on their way to be durable: most of
	// that is waiting for a disk, which takes what several have written at once.
	intenders = 2
	// besideAnother is from how many intents on a batch goes beside another: to store a
	// batch costs about as much as forty of its intents do.
	besideAnother = 64
)

// intendAll makes the intents of prepared requests durable, and only then sends them. It
// runs as often as there are intenders.
func (n *incarnation) intendAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.requests.signal:
		}
		gathered := n.beginIntents()
		if len(gathered) == 0 {
			continue // whoever is busy looks again when that is over
		}
		for _, flights := range rounds(gathered) {
			if err := n.intend(ctx, flights); err != nil {
				return unlessOver(ctx, err)
			}
		}
		n.endIntents()
	}
}

// beginIntents takes what gathered, unless that is too little to go beside another batch.
func (n *incarnation) beginIntents() []*flight {
	n.intentsMu.Lock()
	defer n.intentsMu.Unlock()
	if n.intending.Load() > 0 && n.requests.len() < besideAnother {
		return nil
	}
	flights := n.requests.take(launchBatch)
	if len(flights) > 0 {
		n.intending.Add(1)
	}
	return flights
}

func (n *incarnation) endIntents() {
	n.intentsMu.Lock()
	n.intending.Add(-1)
	n.intentsMu.Unlock()
	n.requests.remind()
	n.news.remind()
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
