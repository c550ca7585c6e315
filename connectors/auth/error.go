package auth

import (
	"context"
	"errors"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

type kindOf = raffsyncv1.OutcomeKind

const (
	revoked   = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	transient = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
)

// Error is why a request can't be authorised. It holds no secret.
type Error struct {
	// Kind is AUTH_REVOKED where a person must act, TRANSIENT where it is tried again.
	Kind   raffsyncv1.OutcomeKind
	Reason string
	// unknown: the platform may have carried the request out.
	unknown bool
}

func (e *Error) Error() string { return e.Reason }

// unreachable is what a request came to that has no answer.
func unreachable(name string, err error) *Error {
	e := &Error{Kind: transient, Reason: name + ": no answer", unknown: true}
	var failed *egress.Error
	if errors.As(err, &failed) { // its words are a fixed vocabulary
		e.Reason = name + ": " + failed.Target + ": " + failed.Reason
		e.unknown = errors.Is(failed, egress.ErrUnknown)
		if failed.Permanent() {
			e.Kind = revoked
		}
	}
	return e
}

// asError is any error as ours. What the store says is for the log, and not for the
// timeline.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, connectors.ErrNoKey):
		return &Error{Kind: revoked, Reason: connectors.ErrNoKey.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: transient, Reason: "the authorisation did not come in time"}
	}
	return &Error{Kind: transient, Reason: "what the platform gave cannot be read from the database, or kept in it"}
}
