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

// sortie is the time on the wire that the requests of one batch to one destination share.
// They begin together, and a context and a timer for each would cost more than all else
// that is done here. The context ends at the deadline, or once all have returned.
type sortie struct {
	context.Context
	end      context.CancelFunc
	deadline time.Time
	cut      bool // by the lease, before the destination's time-out
	late     *time.Timer
	out      atomic.Int32 // how many connectors have not returned
	// owed has a place for each flight, which is there from when its connector is about to
	// be called until its outcome is told: whoever takes it out tells.
	owed []atomic.Pointer[flight]
}

// sendAll puts requests on the wire whose intents are durable.
func (n *incarnation) sendAll(ctx context.Context, flights []*flight) {
	groups := make(map[*Destination][]*flight)
	for _, f := range flights {
		groups[f.destination] = append(groups[f.destination], f)
	}
	for destination, group := range groups {
		most, cut := n.left(destination.Timeout)
		s := &sortie{deadline: time.Now().Add(most), cut: cut, owed: make([]atomic.Pointer[flight], len(group))}
		s.Context, s.end = context.WithDeadline(ctx, s.deadline)
		s.out.Store(int32(len(group)))
		s.late = time.AfterFunc(most+overdue, func() { n.giveUp(ctx, s) })
		for i, f := range group {
			n.sending.run(func() {
				n.send(ctx, s, &s.owed[i], f)
				if s.out.Add(-1) == 0 {
					s.late.Stop()
					s.end()
				}
			})
		}
	}
}

// send puts one request on the wire, and ends before the lease does.
func (n *incarnation) send(ctx context.Context, s *sortie, owed *atomic.Pointer[flight], f *flight) {
	// It may be large, and many flights wait until their outcome is stored.
	request := f.request
	f.request = nil
	if n.tooLate(f) { // it may be long since it was prepared
		n.unsent(f)
		return
	}
	if f.destination.Every > 0 {
		f.gate.pass(s, f.destination) // within its time: whoever asks about it waits no longer
	}
	f.sent = time.Now()
	owed.Store(f)
	if !time.Now().Before(s.deadline) { // as where the process stood still; giveUp may be over
		if owed.Swap(nil) != nil {
			n.outOfTime(s, f)
		}
		return
	}
	n.call(n.sendingContext(s, f), f, request, func(finding connectors.Finding, outcome connectors.Outcome) {
		if owed.Swap(nil) != nil {
			n.answered(ctx, s, f, finding, outcome)
		}
	})
}

// outOfTime ends a flight whose time was over before its connector was called.
func (n *incarnation) outOfTime(s *sortie, f *flight) {
	f.sent = time.Time{}
	f.attempt.Outcome = connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "turn",
		Reason: "not sent: its time was over before its turn came",
	}
	if s.cut {
		f.attempt.Rule, f.attempt.Reason = "lease", "not sent: the lease of its lane was about to end"
	}
	f.attempt.Ours = true
	n.unsent(f)
}

// giveUp ends the flights whose connectors did not return by their deadline, so that none
// keeps a slot, or a probe of the breaker, for ever. One that comes to its connector only
// after this finds that its time is over.
func (n *incarnation) giveUp(ctx context.Context, s *sortie) {
	for i := range s.owed {
		f := s.owed[i].Swap(nil)
		if f == nil {
			continue
		}
		n.config.Log.Error("a connector did not return by its deadline", "destination", f.destination.Name)
		n.answered(ctx, s, f, connectors.CannotTell, connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deadline",
			Reason: "the connector did not return by its deadline",
		})
	}
}

// answered takes up what came of a request, once. From then on the flight is somebody
// else's.
func (n *incarnation) answered(ctx context.Context, s *sortie, f *flight, finding connectors.Finding, outcome connectors.Outcome) {
	now := time.Now()
	f.attempt.Finding, f.attempt.Outcome = finding, outcome
	f.attempt.refusedAgain(f.delivery)
	f.attempt.RetryAfter = min(max(f.attempt.RetryAfter, 0), maxRetryAfter)
	f.attempt.Duration = now.Sub(f.sent)
	f.attempt.Ours = ctx.Err() != nil || s.cut && !now.Before(s.deadline)
	f.outcome = f.health()
	f.settle(f.outcome)
	n.land(f)
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

// call calls the connector, and tells what came of it, whatever the connector does.
func (n *incarnation) call(ctx context.Context, f *flight, request connectors.Request, tell func(connectors.Finding, connectors.Outcome)) {
	method, call, doubt := "Send", f.send, "; whether the request had an effect is unknown"
	if f.attempt.Asked {
		method, call, doubt = "Reconcile", f.ask, ""
	}
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
		tell(finding, outcome)
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
// woken for each landing, and admits together what takes the slots of all of them, or of as
// many as may go beside that. Whatever wakes it, it hears of them before it admits anything.
func (n *incarnation) land(f *flight) {
	gathered := n.news.lay(func(s *scheduler) { s.landed(f) })
	if busy := n.intending.Load(); busy == 0 || busy < intenders && gathered >= besideAnother {
		n.news.wake()
	}
	n.outcomes.put(f)
}
