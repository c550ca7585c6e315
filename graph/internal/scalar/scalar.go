// Package scalar turns Go values into GraphQL's and back: times, large integers, and
// the enums whose values stand elsewhere.
package scalar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// ErrInput: the caller's value is none of the type. Errors of this package wrap it.
var ErrInput = errors.New("not a valid value")

func badInput(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInput, fmt.Sprintf(format, args...))
}

func quoted(s string) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { io.WriteString(w, strconv.Quote(s)) })
}

// MarshalTime writes RFC 3339 in UTC, to the microsecond, as Postgres keeps it.
func MarshalTime(t time.Time) graphql.Marshaler {
	return quoted(t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano))
}

// UnmarshalTime reads RFC 3339 with an offset, of the years 1970 to 9999.
func UnmarshalTime(v any) (time.Time, error) {
	text, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Unix() < 0 || t.UTC().Year() > 9999 {
		return time.Time{}, badInput("expected a time like 2026-11-23T10:41:10Z")
	}
	return t, nil
}

// MarshalInt64 writes a JSON number.
func MarshalInt64(n int64) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { io.WriteString(w, strconv.FormatInt(n, 10)) })
}

// UnmarshalInt64 reads a JSON number without a fraction.
func UnmarshalInt64(v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
	}
	return 0, badInput("expected an integer of up to 64 bits")
}

// MarshalJSON writes a value that is JSON already.
func MarshalJSON(raw json.RawMessage) graphql.Marshaler {
	if len(raw) == 0 {
		return graphql.Null
	}
	return graphql.WriterFunc(func(w io.Writer) { w.Write(raw) })
}

// UnmarshalJSON is never asked: no input is of this type.
func UnmarshalJSON(any) (json.RawMessage, error) { return nil, badInput("JSON is not taken") }

func text[T ~string](v any) (T, error) {
	s, ok := v.(string)
	if !ok {
		return "", badInput("expected one of the enum's values")
	}
	return T(s), nil
}

// MarshalDeliveryState writes the enum's value.
func MarshalDeliveryState(s view.State) graphql.Marshaler { return quoted(string(s)) }

// UnmarshalDeliveryState reads the enum's value.
func UnmarshalDeliveryState(v any) (view.State, error) { return text[view.State](v) }

// MarshalWaitingReason writes the enum's value.
func MarshalWaitingReason(r view.WaitingReason) graphql.Marshaler { return quoted(string(r)) }

// UnmarshalWaitingReason reads the enum's value.
func UnmarshalWaitingReason(v any) (view.WaitingReason, error) { return text[view.WaitingReason](v) }

// MarshalBreakerState writes the enum's value.
func MarshalBreakerState(s view.BreakerState) graphql.Marshaler { return quoted(string(s)) }

// UnmarshalBreakerState reads the enum's value.
func UnmarshalBreakerState(v any) (view.BreakerState, error) { return text[view.BreakerState](v) }

// MarshalExceptionStatus writes the enum's value.
func MarshalExceptionStatus(s string) graphql.Marshaler { return quoted(s) }

// UnmarshalExceptionStatus reads the enum's value.
func UnmarshalExceptionStatus(v any) (string, error) { return text[string](v) }

// MarshalControlKind writes what the table spells in lower case.
func MarshalControlKind(k outbox.ControlKind) graphql.Marshaler {
	return quoted(strings.ToUpper(string(k)))
}

// UnmarshalControlKind reads it into the table's spelling.
func UnmarshalControlKind(v any) (outbox.ControlKind, error) {
	s, err := text[string](v)
	return outbox.ControlKind(strings.ToLower(s)), err
}

// MarshalControlState writes the enum's value.
func MarshalControlState(s outbox.ControlState) graphql.Marshaler { return quoted(string(s)) }

// UnmarshalControlState reads the enum's value.
func UnmarshalControlState(v any) (outbox.ControlState, error) { return text[outbox.ControlState](v) }

const kindPrefix = "OUTCOME_KIND_"

// MarshalOutcomeKind writes the name of the contract, without its prefix. A kind that
// a newer version has stored is unclassified to this one.
func MarshalOutcomeKind(k raffsyncv1.OutcomeKind) graphql.Marshaler {
	if raffsyncv1.OutcomeKind_name[int32(k)] == "" {
		k = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
	}
	return quoted(strings.TrimPrefix(k.String(), kindPrefix))
}

// UnmarshalOutcomeKind reads the enum's value.
func UnmarshalOutcomeKind(v any) (raffsyncv1.OutcomeKind, error) {
	s, err := text[string](v)
	return raffsyncv1.OutcomeKind(raffsyncv1.OutcomeKind_value[kindPrefix+s]), err
}

// MarshalTimelineWhat writes what the table spells in lower case.
func MarshalTimelineWhat(s string) graphql.Marshaler { return quoted(strings.ToUpper(s)) }

// UnmarshalTimelineWhat reads it into the table's spelling.
func UnmarshalTimelineWhat(v any) (string, error) {
	s, err := text[string](v)
	return strings.ToLower(s), err
}

// MarshalPreviewProspect writes the enum's value.
func MarshalPreviewProspect(p outbox.Prospect) graphql.Marshaler { return quoted(string(p)) }

// UnmarshalPreviewProspect reads the enum's value.
func UnmarshalPreviewProspect(v any) (outbox.Prospect, error) { return text[outbox.Prospect](v) }
