package dispatch

import (
	"cmp"
	"context"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// policy of a delivery, with what it takes to ask about one of unknown outcome.
func (d *Dispatcher) policy(plan *Plan, of *outbox.Delivery) Policy {
	p := plan.policy(of)
	if destination := plan.Destinations[of.Destination]; destination != nil {
		_, p.Asks = destination.Connector.(connectors.Reconciler)
		p.Over = cmp.Or(destination.Timeout, outbox.DefaultTimeout) + d.config.Margin
	}
	return p
}

// asks tells whether the flight is to ask what became of an earlier request instead of
// sending another: wherever one may have had its effect, and the platform can be asked.
// It needs nothing but what is stored, so no crash makes anybody forget to.
func (f *flight) asks() bool { return f.policy.Asks && f.delivery.UnknownAt != nil }

// tooEarly tells whether the request in question may still be under way: it could take
// effect after the platform has said that there is none. The flight then waits until
// that is over. Only an operator's retry comes so soon; what waits by itself waits for
// long enough.
func (n *incarnation) tooEarly(f *flight) bool {
	if !f.asks() {
		return false
	}
	left := f.delivery.UnknownAt.Add(f.policy.Over).Sub(n.replica.Now())
	if left <= 0 {
		return false
	}
	f.attempt.Asked = true
	f.attempt.Outcome = connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "request under way", RetryAfter: left,
		Reason: "an earlier request may still be under way; the platform is asked about it when that is over",
	}
	return true
}

// ask puts a question on the wire in place of the request.
func (f *flight) ask(ctx context.Context, request connectors.Request) (connectors.Finding, connectors.Outcome) {
	r := f.destination.Connector.(connectors.Reconciler).Reconcile(ctx, request)
	o := r.Outcome
	o.Reason = "asked about an earlier request: " + o.Reason
	switch {
	case r.Finding == connectors.Found:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	case r.Finding == connectors.Absent:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED
	case o.Kind <= raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		o.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	}
	return r.Finding, o
}

// decideAsked says what the platform's word makes of a delivery of unknown outcome, in
// the transition that [Decide] has begun.
//
//	found       → DELIVERED
//	absent      → WAITING for no time, to be sent again, while attempts and age last
//	token ended → WAITING for no time, to be asked with a new one, as in [Decide]
//	cannot tell → WAITING, to be asked again; it spends an attempt, but for a rate limit;
//	              NEEDS_ACTION of unknown outcome once attempts or age run out
//	not asked   → WAITING until the question can be asked
//
// A finding spends no attempt: the request that it is about has.
func decideAsked(t outbox.Transition, a *Attempt, p *Policy, now time.Time, dice float64) outbox.Transition {
	tries, class := t.Spent, outbox.Class(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME)
	delay := a.RetryAfter
	switch {
	case !a.Sent:
		t.To, t.Delay, t.Spent = outbox.StateWaiting, delay, t.Attempts
		return t
	case a.Finding == connectors.Found:
		t.To, t.Spent = outbox.StateDelivered, t.Attempts
		return t
	case a.Finding == connectors.Absent:
		t.Spent, class = t.Attempts, outbox.ClassRetriesExhausted
	case a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_EXPIRED:
		t.Spent = t.Attempts // the question goes again at once
	case a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED:
		return needsAction(t, outbox.Class(a.Kind))
	case a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, a.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA:
		t.Spent, tries = t.Attempts, t.Requests+1
		fallthrough
	default:
		delay = max(delay, backoff(p.Retry, int(tries), dice))
	}
	if int(t.Spent) >= p.Retry.Attempts || now.Add(delay).Sub(triedSince(t.Delivery, a)) > p.Retry.Age {
		return needsAction(t, class)
	}
	t.To, t.Delay = outbox.StateWaiting, delay
	return t
}
