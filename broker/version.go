package broker

import (
	"context"

	"raffsync/connectors/mapping"
	"raffsync/outbox"
)

// Version tells which snapshot an event is, by the version that its route names. ok is
// false where the event says nothing of it: it is then neither older nor newer than any.
// An error quotes nothing of the event.
type Version func(*outbox.Event) (v outbox.SnapshotVersion, ok bool, err error)

// CompileVersion compiles a route's version; nil where it names none. Its error is a
// [*mapping.SyntaxError] wherever the expression is at fault.
func CompileVersion(expression string) (Version, error) {
	if expression == "" {
		return nil, nil
	}
	compiled, err := mapping.CompileVersion(expression)
	if err != nil {
		return nil, err
	}
	return func(e *outbox.Event) (outbox.SnapshotVersion, bool, error) {
		var seen view
		event, body := seen.of(e)
		value, err := compiled.Of(context.Background(), event, body)
		if err != nil || value == nil {
			return outbox.SnapshotVersion{}, false, err
		}
		v, err := outbox.VersionOf(value)
		return v, err == nil, err
	}, nil
}
