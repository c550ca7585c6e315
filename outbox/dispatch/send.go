package dispatch

import (
	"context"
	"fmt"
	"time"

	"raffsync/connectors"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// overdue is how long after its deadline a connector may take to return.
const overdue = time.Second

// send puts one request on the wire, and ends before the lease does.
func (n *incarnation) send(ctx context.Context, f *flight) {
	defer n.land(f)
	begin := time.Now()
	most, cut := n.left(f.destination.Timeout)
	if most <= 0 {
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "lease",
			Reason: "not sent: the lease of its lane was about to end",
		}
		f.settle(context.Canceled)
		return
	}
	if n.tooLate(f) { // it may be long since it was prepared
		f.settle(context.Canceled)
		return
	}
	deadline := begin.Add(most)
	sending, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	f.sent = begin
	f.attempt.Outcome = n.sendBounded(n.sendingContext(sending, f), f, deadline)
	f.attempt.Duration = time.Since(begin)
	ours := ctx.Err() != nil || cut && !time.Now().Before(deadline) // we gave up, not the destination
	f.outcome = f.health(ours)
	f.settle(f.outcome)
}

// health is what the attempt says about the destination: nil, that it is well;
// [errDestination], that it is not; context.Canceled, nothing.
func (f *flight) health(ours bool) error {
	o := &f.attempt.Outcome
	switch {
	case ours:
		return context.Canceled
	case countsForBreaker(o.Kind):
		f.breaker.failed(o.Reason)
		return errDestination
	case o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		return nil
	case o.Status != 0 && o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED:
		return nil // it answered, and did not like the request
	default:
		return context.Canceled
	}
}

// sendBounded holds the connector to its deadline, so that no connector keeps a slot,
// or a probe of the breaker, for ever.
func (n *incarnation) sendBounded(ctx context.Context, f *flight, deadline time.Time) connectors.Outcome {
	answered := make(chan connectors.Outcome, 1)
	n.sending.Go(func() {
		finished := false
		defer func() {
			if finished {
				return
			}
			p := recover()
			n.config.Log.Error("a connector panicked in Send", "destination", f.destination.Name, "type", fmt.Sprintf("%T", p))
			answered <- connectors.Outcome{
				Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "send",
				Reason: "the connector panicked while it sent the request; whether the request had an effect is unknown",
			}
		}()
		o := f.destination.Connector.Send(ctx, f.request)
		if mutant.On(mutant.HiddenReplay) && o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME {
			o = f.destination.Connector.Send(ctx, f.request)
		}
		finished = true
		answered <- o
	})
	late := time.NewTimer(time.Until(deadline) + overdue)
	defer late.Stop()
	select {
	case o := <-answered:
		return o
	case <-late.C:
		n.config.Log.Error("a connector did not return by its deadline", "destination", f.destination.Name)
		return connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deadline",
			Reason: "the connector did not return by its deadline",
		}
	}
}

// land frees the flight's slot, and hands its outcome on to be stored.
func (n *incarnation) land(f *flight) {
	n.news.put(func(s *scheduler) { s.landed(f) })
	n.outcomes.put(f)
}
