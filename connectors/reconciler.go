package connectors

import "context"

// Reconciler is what a [Destination] is besides where its platform can be asked what
// became of a request, by a name that the request gave to its effect: an idempotency
// key, an external reference.
//
// It is asked before anything is sent again, once the request in question is surely
// over. A question is an attempt like any other: it takes a slot, has an intent,
// counts for the breaker and stands in the timeline.
type Reconciler interface {
	// Reconcile asks about the effect of the request, which [Destination.Prepare] made
	// and which may or may not have arrived. It changes nothing at the platform. It puts
	// at most one request on the wire, returns by the context's deadline, and is called
	// from many goroutines at once. A panic becomes an exception of the delivery.
	Reconcile(ctx context.Context, request Request) Reconciliation
}

// Finding is what a platform knows of an effect.
type Finding uint8

const (
	// CannotTell: the answer proves nothing either way. It is the zero value, which is
	// never wrong.
	CannotTell Finding = iota
	// Found: the effect is there. The delivery is done.
	Found
	// Absent: the effect is surely not there, and no request that was sent before will
	// bring it about. The step is sent again.
	Absent
)

// Reconciliation is the answer to a question.
type Reconciliation struct {
	Finding Finding
	// Outcome is how the asking went, in the words of any attempt: Rule, Reason, Status
	// and Excerpt; where Found, the receipt. Where the platform cannot tell, Kind says
	// why: TRANSIENT and UNKNOWN_OUTCOME count for the breaker, RATE_LIMITED and QUOTA
	// spend no attempt, POISON is not tried again; RetryAfter is honoured. Kind says
	// nothing besides a finding.
	Outcome
}
