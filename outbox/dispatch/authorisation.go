package dispatch

import (
	"cmp"
	"context"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// losesDestination tells whether the answer is about the connection or the account as a
// whole: every other request would get it too. One that is about a permission only may
// concern single calls, and holds single deliveries.
func losesDestination(kind raffsyncv1.OutcomeKind) bool {
	return kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED || kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE
}

// lost leaves a delivery as it was, to go first when its destination is given back. It
// spends no attempt.
func lost(t outbox.Transition) outbox.Transition {
	t.To, t.Delay, t.Spent = outbox.StateWaiting, 0, t.Attempts
	return t
}

// noteLosses has the destinations held whose platforms take their authorisation away,
// each once, and before any of their deliveries is stored as waiting for that.
func (n *incarnation) noteLosses(ctx context.Context, flights []*flight) (any bool, err error) {
	last := make(map[int32]*flight) // of each destination
	for _, f := range flights {
		if !f.attempt.Sent || !losesDestination(f.attempt.Kind) {
			continue
		}
		if l := last[f.delivery.Destination]; l == nil || l.attempt.StartedAt.Before(f.attempt.StartedAt) {
			last[f.delivery.Destination] = f
		}
	}
	for id, f := range last {
		loss := outbox.Loss{
			Tenant: f.delivery.Tenant, Destination: id, Name: f.destination.Name,
			Class: outbox.Class(f.attempt.Kind), Reason: f.attempt.Reason, SentAt: f.attempt.StartedAt,
		}
		err := n.persist(ctx, "holding a destination", func(ctx context.Context) error { return n.replica.Lose(ctx, loss) })
		if err != nil {
			return true, err
		}
	}
	return len(last) > 0, nil
}

// noteRegained lets go of destinations of which a request has succeeded after their
// authorisation was lost.
func (n *incarnation) noteRegained(ctx context.Context, flights []*flight) (any bool, err error) {
	held := *n.holding.Load()
	if len(held) == 0 {
		return false, nil
	}
	seen := make(map[int32]bool)
	for _, f := range flights {
		id := f.delivery.Destination
		c := held[controlled{f.delivery.Tenant, outbox.OfAuthorisation, f.destination.Name}]
		if seen[id] || c.State != outbox.Lost || f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED || !f.attempt.StartedAt.After(c.Since) {
			continue
		}
		seen[id] = true
		err := n.persist(ctx, "letting go of a destination", func(ctx context.Context) error {
			return n.replica.Regain(ctx, f.delivery.Tenant, f.destination.Name, f.attempt.StartedAt)
		})
		if err != nil {
			return true, err
		}
	}
	return len(seen) > 0, nil
}

// lose stops the target at once: the others are told when it is stored.
func (t *target) lose() {
	if !t.lost {
		t.lost, t.probeAt = true, time.Now().Add(t.probeEvery())
	}
	t.probes = 0
}

// holdAuthorisation takes up whether the authorisation is lost, as it is stored.
func (t *target) holdAuthorisation(lost bool) {
	switch {
	case lost:
		if !t.lost {
			t.lose()
		}
	default:
		t.lost, t.probes = false, 0
	}
}

func (t *target) probeEvery() time.Duration {
	return cmp.Or(t.AuthorisationProbe, outbox.DefaultAuthorisationProbe)
}

// probe lets one request through, now and then.
func (t *target) probe(now time.Time) {
	if t.lost && !now.Before(t.probeAt) {
		t.probes, t.probeAt = 1, now.Add(t.probeEvery())
	}
}
