package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

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

// verdict is what a rule makes of an attempt that got no answer; rule is its name.
type verdict struct {
	kind         raffsyncv1.OutcomeKind
	rule, reason string
}

// failureRules are for attempts without a usable status, in order. Their reason is
// the client's.
var failureRules = []struct {
	matches func(*egress.Error) bool
	kind    raffsyncv1.OutcomeKind
	name    string
}{
	{is(egress.ErrForbiddenAddress), validation, "address not allowed"},
	// Prepare lets through only what can be sent.
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

// classifyFailure takes what it does not know for an unknown outcome: the one that
// is never wrong.
func classifyFailure(err error) verdict {
	var failure *egress.Error
	if errors.As(err, &failure) {
		for _, rule := range failureRules {
			if rule.matches(failure) {
				return verdict{rule.kind, rule.name, failure.Reason}
			}
		}
	}
	return verdict{unknown, "no answer", "the request failed in a way that is not known"}
}

// statusText is "422 Unprocessable Entity", or the number where it has no name.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}
