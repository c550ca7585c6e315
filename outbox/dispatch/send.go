package dispatch

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
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
		n.unsent(f)
		return
	}
	if n.tooLate(f) { // it may be long since it was prepared
		n.unsent(f)
		return
	}
	deadline := begin.Add(most)
	sending, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if f.destination.Every > 0 {
		f.gate.pass(sending, f.destination) // within its time: whoever asks about it waits no longer
	}
	f.sent = time.Now()
	n.sendBounded(n.sendingContext(sending, f), f, request, deadline, func(finding connectors.Finding, outcome connectors.Outcome) {
		f.attempt.Finding, f.attempt.Outcome = finding, outcome
		f.attempt.refusedAgain(f.delivery)
		f.attempt.RetryAfter = min(max(f.attempt.RetryAfter, 0), maxRetryAfter)
		f.attempt.Duration = time.Since(f.sent)
		f.attempt.Ours = ctx.Err() != nil || cut && !time.Now().Before(deadline)
		f.outcome = f.health()
		f.settle(f.outcome)
		n.land(f)
	})
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

// sendBounded has the connector called, and tells once what came of it: what the connector
// says, or that it did not return by its deadline, so that none keeps a slot, or a probe of
// the breaker, for ever.
func (n *incarnation) sendBounded(ctx context.Context, f *flight, request connectors.Request, deadline time.Time, tell func(connectors.Finding, connectors.Outcome)) {
	method, call, doubt := "Send", f.send, "; whether the request had an effect is unknown"
	if f.attempt.Asked {
		method, call, doubt = "Reconcile", f.ask, ""
	}
	var told atomic.Bool // from then on the flight is somebody else's
	late := time.AfterFunc(time.Until(deadline)+overdue, func() {
		if told.Swap(true) {
			return
		}
		n.config.Log.Error("a connector did not return by its deadline", "destination", f.destination.Name)
		tell(connectors.CannotTell, connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deadline",
			Reason: "the connector did not return by its deadline",
		})
	})
	var finding connectors.Finding
	var outcome connectors.Outcome
	finished := false
	defer func() {
		if !finished {
			p := recover()
			n.config.Log.Error("a connector panicked in "+method, "destination", f.destination.Name, "type", fmt.Sprintf("%T", p))
			finding, outcome = connectors.CannotTell, connectors.Outcome{
				Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: strings.ToLower(method),
				Reason: "the connector panicked in " + method + doubt,
			}
		}
		late.Stop()
		if !told.Swap(true) {
			tell(finding, outcome)
		}
	}()
	finding, outcome = call(ctx, request)
	finished = true
}

// send puts the request on the wire.
func (f *flight) send(ctx context.Context, request connectors.Request) (connectors.Finding, connectors.Outcome) {
	o := f.destination.Connector.Send(ctx, request)
	if mutant.On(mutant.HiddenReplay) && o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME {
		o = f.destination.Connector.Send(ctx, request)
	}
	return connectors.CannotTell, o
}

// land frees the flight's slot, and hands its outcome on to be stored. While intents are
// being stored, the next one for that slot would have to wait: the scheduler need not be
// woken for each landing, and admits together what takes the slots of all of them. Whatever
// wakes it, it hears of them before it admits anything.
func (n *incarnation) land(f *flight) {
	n.news.lay(func(s *scheduler) { s.landed(f) })
	if !n.intending.Load() {
		n.news.wake()
	}
	n.outcomes.put(f)
}
