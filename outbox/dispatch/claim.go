package dispatch

import (
	"context"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// rounds parts flights so that no two of a part claim the same effect: first those that
// claim none.
func rounds(flights []*flight) (all [][]*flight) {
	claimed := make(map[outbox.EffectName]int)
	parts := [][]*flight{nil}
	for _, f := range flights {
		i := 0
		if f.claims() {
			name := outbox.EffectName{Tenant: f.delivery.Tenant, Destination: f.delivery.Destination, Effect: f.step.effect}
			claimed[name]++
			i = claimed[name]
		}
		for len(parts) <= i {
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], f)
	}
	for _, part := range parts {
		if len(part) > 0 {
			all = append(all, part)
		}
	}
	return all
}

// claims tells whether the flight's request needs a claim on its effect.
func (f *flight) claims() bool {
	return f.step != nil && f.step.effect != "" && !mutant.On(mutant.NoClaim)
}

// claim is what the flight asks for.
func (f *flight) claim() outbox.Claim {
	c := outbox.Claim{Effect: f.step.effect, Key: f.key}
	if f.step.found != nil {
		c.Revision = f.step.found.Revision
	}
	if f.delivery.UnknownAt != nil {
		c.Key = "" // that of the request which may have had it stays
	}
	return c
}

// storeIntents stores the intents of flights, what mappings their requests were made with,
// and what they claim, where the first of them claims
// anything: all do then.
func (n *incarnation) storeIntents(ctx context.Context, number int64, leases []outbox.Lease, flights []*flight, intended []*outbox.Delivery, uses []outbox.Using) (stored outbox.Batch, claimed map[outbox.Position]outbox.Claimed, err error) {
	if !flights[0].claims() {
		stored, err = n.replica.Intend(ctx, number, leases, intended, uses...)
		return stored, nil, err
	}
	claims := make([]outbox.Claim, len(flights))
	for i, f := range flights {
		claims[i] = f.claim()
	}
	return n.replica.IntendClaiming(ctx, number, leases, intended, claims, uses...)
}

// notIntended lets go of a flight that is not in its batch: its delivery had changed, or
// its effect is another delivery's or has changed, or nobody knows whether it is there.
func (n *incarnation) notIntended(f *flight, claimed outbox.Claimed) {
	switch {
	case claimed.UnknownAt != nil:
		f.attempt.Effect.InheritedAt = claimed.UnknownAt
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "effect",
			Reason: "an earlier delivery, which was ended without its outcome known, may have brought about " + f.step.effect,
		}
		f.request = nil
		n.unsent(f)
		return
	case claimed.By != nil:
		f.settle(context.Canceled)
		n.news.put(func(s *scheduler) { s.waits(f) })
		return
	}
	f.settle(context.Canceled)
	n.news.put(func(s *scheduler) { s.returned(f) })
}

// waits says that a flight was not sent, since its effect is another delivery's for now. It
// is due once that has ended, which may have been already.
func (s *scheduler) waits(f *flight) {
	f.target.wire--
	f.target.unsent()
	s.flying--
	l := f.line
	if l.again != nil || l.doubt {
		l.returned()
		return
	}
	l.queue.flying--
	l.rest(waiting)
}
