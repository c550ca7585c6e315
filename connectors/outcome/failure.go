package outcome

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Kinds, short enough to keep the table readable.
const (
	delivered  = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient  = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown    = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	validation = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	poison     = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
)

// failureRules are for attempts without a usable status, in order. Their reason is
// the client's.
var failureRules = []struct {
	matches func(*egress.Error) bool
	kind    raffsyncv1.OutcomeKind
	name    string
}{
	{is(egress.ErrForbiddenAddress), validation, "address not allowed"},
	// Connectors prepare only what can be sent.
	{is(egress.ErrInvalidRequest), poison, "request not valid"},
	{is(egress.ErrNotSent, context.Canceled), transient, "cancelled before sending"},
	{is(egress.ErrNotSent, context.DeadlineExceeded), transient, "time-out before sending"},
	{in(egress.PhaseResolve), transient, "no address"},
	{in(egress.PhaseTLS), transient, "no TLS"},
	{is(egress.ErrNotSent), transient, "no connection"},
	{is(egress.ErrUnknown, context.Canceled), unknown, "cancelled after sending"},
	{is(egress.ErrUnknown, context.DeadlineExceeded), unknown, "time-out after sending"},
	{is(egress.ErrUnknown), unknown, "no answer"},
}

func is(targets ...error) func(*egress.Error) bool {
	return func(err *egress.Error) bool {
		return !slices.ContainsFunc(targets, func(target error) bool { return !errors.Is(err, target) })
	}
}

func in(phase egress.Phase) func(*egress.Error) bool {
	return func(err *egress.Error) bool { return err.Phase == phase && errors.Is(err, egress.ErrNotSent) }
}

// Failure is what it means that there is no answer. It takes what it does not know for an
// unknown outcome: the one that is never wrong.
func Failure(err error) connectors.Outcome {
	var failure *egress.Error
	if errors.As(err, &failure) {
		for _, rule := range failureRules {
			if rule.matches(failure) {
				return connectors.Outcome{Kind: rule.kind, Rule: rule.name, Reason: failure.Reason}
			}
		}
	}
	return connectors.Outcome{Kind: unknown, Rule: "no answer", Reason: "the request failed in a way that is not known"}
}

// NotValid is the outcome of what can't be sent at all.
func NotValid(reason string) connectors.Outcome {
	return connectors.Outcome{Kind: poison, Rule: "request not valid", Reason: reason}
}

// Foreign is the outcome of a request that another destination prepared.
func Foreign(prepared connectors.Request) connectors.Outcome {
	return NotValid(fmt.Sprintf("the request is a %T, which this destination did not prepare", prepared))
}
