package dispatch

import (
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
)

// What needs action at a destination with a class of its own is of that class, and what
// else becomes of a delivery is as anywhere.
func TestDecide_ClassOfTheDestination(t *testing.T) {
	now := time.Now()
	p := Policy{Retry: outbox.DefaultRetry, Class: outbox.ClassNoticeFailed}
	got := Decide(&outbox.Delivery{AcceptedAt: now}, Attempt{Sent: true, StartedAt: now, Outcome: connectors.Outcome{Kind: kindValidation, Rule: "status 550"}}, p, now, 0.5)
	if got.To != outbox.StateNeedsAction || got.Cause != (outbox.Cause{Class: outbox.ClassNoticeFailed, Rule: "status 550"}) {
		t.Errorf("%+v", got)
	}
	if got := Decide(&outbox.Delivery{AcceptedAt: now}, Attempt{Sent: true, StartedAt: now, Outcome: connectors.Outcome{Kind: kindTransient}}, p, now, 0.5); got.To != outbox.StateWaiting || got.Cause.Class != "" {
		t.Errorf("%+v", got)
	}
}
