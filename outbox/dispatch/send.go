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
// They begin together, or as places come free, and a context and a timer for each would cost
// more than all else that is done here. The context ends at the deadline, or once all have
// returned.
type sortie struct {
	context.Context
	end      context.CancelFunc
	work     context.Context // that the incarnation does
	began    time.Time
	deadline time.Time
	cut      bool // by the lease, before the destination's time-out
	late     *time.Timer
	out      atomic.Int32 // how many have not come to their end
	// owed has a place for each flight, which is there from when its connector is about to
	// be called until its outcome is told: whoever takes it out tells.
	owed []atomic.Pointer[flight]
}

// ended says that one of them has come to its end.
func (s *sortie) ended() {
	if s.out.Add(-1) == 0 {
		s.late.Stop()
		s.end()
	}
}

// sendAll puts requests on the wire whose intents are durable, each once there is a place.
func (n *incarnation) sendAll(ctx context.Context, flights []*flight) {
	groups := make(map[*Destination][]*flight)
	for _, f := range flights {
		groups[f.destination] = append(groups[f.destination], f)
	}
	for destination, group := range groups {
		most, cut := n.left(destination.Timeout)
		s := &sortie{work: ctx, began: time.Now(), cut: cut, owed: make([]atomic.Pointer[flight], len(group))}
		s.deadline = s.began.Add(most)
		s.Context, s.end = context.WithDeadline(ctx, s.deadline)
		s.out.Store(int32(len(group)))
		s.late = time.AfterFunc(most+overdue, func() { n.giveUp(s) })
		for i, f := range group {
			if r := (&rider{flight: f, sortie: s, nth: i}); f.slots.take(r) {
				n.sending.run(func() { n.ride(r) })
			}
		}
	}
}

// ride sends a request that has a place, and then those that get the place after it.
func (n *incarnation) ride(r *rider) {
	for r != nil {
		slots, s := r.flight.slots, r.sortie
		passes := n.send(r)
		s.ended()
		r = nil
		if passes {
			r = slots.pass()
		}
	}
}

// send puts one request on the wire, and ends before the lease does. It tells whether the
// place is the next one's: so it is where the platform took this request. After anything else
// the scheduler frees it when it hears of that, and decides who goes.
func (n *incarnation) send(r *rider) (passes bool) {
	f, s, owed := r.flight, r.sortie, &r.sortie.owed[r.nth]
	f.placed = true
	// It may be large, and many flights wait until their outcome is stored.
	request := f.request
	f.request = nil
	if n.tooLate(f) { // it may be long since it was prepared
		n.unsent(f)
		return false
	}
	if f.destination.Every > 0 {
		f.gate.pass(s, f.destination) // within its time: whoever asks about it waits no longer
	}
	f.sent = time.Now()
	owed.Store(f)
	if s.tooShort(r) { // as where the process stood still; giveUp may be over
		if owed.Swap(nil) != nil {
			n.outOfTime(s, f)
		}
		return false
	}
	n.call(n.sendingContext(s, f), f, request, func(finding connectors.Finding, outcome connectors.Outcome) {
		if owed.Swap(nil) == nil {
			return
		}
		passes = outcome.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED && s.work.Err() == nil
		f.placed = !passes
		n.answered(s, f, finding, outcome)
	})
	return passes
}

// tooShort tells whether the time that is left is too short to begin. One that had to wait
// for a place is not begun in the second half of its time, where it may be cut off, and its
// outcome unknown.
func (s *sortie) tooShort(r *rider) bool {
	left := time.Until(s.deadline)
	return s.Err() != nil || left <= 0 || r.waited && left < s.deadline.Sub(s.began)/2
}

// outOfTime ends a flight whose time was over before its connector was called.
func (n *incarnation) outOfTime(s *sortie, f *flight) {
	f.sent = time.Time{}
	if s.cut {
		f.notMade("lease", "not sent: the lease of its lane was about to end")
	} else {
		f.notMade("turn", "not sent: its time was over before its turn came")
	}
	n.unsent(f)
}

// notMade says of a flight whose intent is durable that its request was not made after all.
func (f *flight) notMade(rule, reason string) {
	f.request = nil
	f.attempt.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: rule, Reason: reason}
	f.attempt.NotMade, f.attempt.Ours = true, true
}

// giveUp ends the flights whose connectors did not return by their deadline, so that none
// keeps a slot, or a probe of the breaker, for ever. One that comes to its connector only
// after this finds that its time is over.
func (n *incarnation) giveUp(s *sortie) {
	for i := range s.owed {
		f := s.owed[i].Swap(nil)
		if f == nil {
			continue
		}
		n.config.Log.Error("a connector did not return by its deadline", "destination", f.destination.Name)
		n.answered(s, f, connectors.CannotTell, connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deadline",
			Reason: "the connector did not return by its deadline",
		})
	}
}

// answered takes up what came of a request, once. From then on the flight is somebody
// else's.
func (n *incarnation) answered(s *sortie, f *flight, finding connectors.Finding, outcome connectors.Outcome) {
	now := time.Now()
	f.attempt.Finding, f.attempt.Outcome = finding, outcome
	f.attempt.refusedAgain(f.delivery)
	f.attempt.RetryAfter = min(max(f.attempt.RetryAfter, 0), maxRetryAfter)
	f.attempt.Duration = now.Sub(f.sent)
	f.attempt.Ours = s.work.Err() != nil || s.cut && !now.Before(s.deadline)
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

// land tells the scheduler that a flight is over, and hands its outcome on to be stored. While
// intents are being stored, the next one for that slot would have to wait: the scheduler need
// not be woken for each landing, and admits together what takes the slots of all of them, or of
// as many as may go beside that. Whatever wakes it, it hears of them before it admits anything.
func (n *incarnation) land(f *flight) {
	gathered := n.news.lay(func(s *scheduler) { s.landed(f) })
	if busy := n.intending.Load(); busy == 0 || busy < intenders && gathered >= besideAnother {
		n.news.wake()
	}
	urgent := f.urgent() // before it is somebody else's
	if gathered := n.outcomes.lay(f); urgent || gathered >= finishMany {
		n.hurry()
	}
	n.outcomes.wake()
}
