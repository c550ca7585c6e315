package dispatch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// overdue is how long after its deadline a connector may take to return.
const overdue = time.Second

// maxRetryAfter bounds what any connector may pass on of a platform's wish to be left
// alone. The longest that is reasonable is until a daily quota is reset.
const maxRetryAfter = 24 * time.Hour

// send puts one request on the wire, and ends before the lease does.
func (n *incarnation) send(ctx context.Context, f *flight) {
	defer n.land(f)
	// It may be large, and many flights wait until their outcome is stored.
	request := f.request
	f.request = nil
	begin := time.Now()
	most, cut := n.left(f.destination.Timeout)
	if most <= 0 {
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "lease",
			Reason: "not sent: the lease of its lane was about to end",
		}
		f.attempt.Ours = true
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
	f.attempt.Finding, f.attempt.Outcome = n.sendBounded(n.sendingContext(sending, f), f, request, deadline)
	f.attempt.refusedAgain(f.delivery)
	f.attempt.RetryAfter = min(max(f.attempt.RetryAfter, 0), maxRetryAfter)
	f.attempt.Duration = time.Since(begin)
	f.attempt.Ours = ctx.Err() != nil || cut && !time.Now().Before(deadline)
	f.outcome = f.health()
	f.settle(f.outcome)
}

// health is what the attempt says about the destination: nil, that it is well;
// [errDestination], that it is not; context.Canceled, nothing.
func (f *flight) health() error {
	o := &f.attempt.Outcome
	switch {
	case f.attempt.Ours:
		return context.Canceled
	case countsForBreaker(o.Kind):
		f.breaker.failed(o.Reason)
		return errDestination
	case o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED || f.attempt.Finding != connectors.CannotTell:
		return nil
	case o.Status != 0 && o.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED:
		return nil // it answered, and did not like the request
	default:
		return context.Canceled
	}
}

// sendBounded holds the connector to its deadline, so that no connector keeps a slot,
// or a probe of the breaker, for ever.
func (n *incarnation) sendBounded(ctx context.Context, f *flight, request connectors.Request, deadline time.Time) (connectors.Finding, connectors.Outcome) {
	method, call, doubt := "Send", f.send, "; whether the request had an effect is unknown"
	if f.attempt.Asked {
		method, call, doubt = "Reconcile", f.ask, ""
	}
	type answer struct {
		finding connectors.Finding
		outcome connectors.Outcome
	}
	answered := make(chan answer, 1)
	n.sending.Go(func() {
		finished := false
		defer func() {
			if finished {
				return
			}
			p := recover()
			n.config.Log.Error("a connector panicked in "+method, "destination", f.destination.Name, "type", fmt.Sprintf("%T", p))
			answered <- answer{outcome: connectors.Outcome{
				Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: strings.ToLower(method),
				Reason: "the connector panicked in " + method + doubt,
			}}
		}()
		finding, outcome := call(ctx, request)
		finished = true
		answered <- answer{finding, outcome}
	})
	late := time.NewTimer(time.Until(deadline) + overdue)
	defer late.Stop()
	select {
	case a := <-answered:
		return a.finding, a.outcome
	case <-late.C:
		n.config.Log.Error("a connector did not return by its deadline", "destination", f.destination.Name)
		return connectors.CannotTell, connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deadline",
			Reason: "the connector did not return by its deadline",
		}
	}
}

// send puts the request on the wire.
func (f *flight) send(ctx context.Context, request connectors.Request) (connectors.Finding, connectors.Outcome) {
	o := f.destination.Connector.Send(ctx, request)
	if mutant.On(mutant.HiddenReplay) && o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME {
		o = f.destination.Connector.Send(ctx, request)
	}
	return connectors.CannotTell, o
}

// land frees the flight's slot, and hands its outcome on to be stored.
func (n *incarnation) land(f *flight) {
	n.news.put(func(s *scheduler) { s.landed(f) })
	n.outcomes.put(f)
}
