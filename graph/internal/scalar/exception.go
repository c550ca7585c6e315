package scalar

import (
	"github.com/99designs/gqlgen/graphql"

	"raffsync/outbox/view"
)

// MarshalExceptionOrder writes the enum's value.
func MarshalExceptionOrder(o view.ExceptionOrder) graphql.Marshaler { return quoted(string(o)) }

// UnmarshalExceptionOrder reads the enum's value.
func UnmarshalExceptionOrder(v any) (view.ExceptionOrder, error) { return text[view.ExceptionOrder](v) }

// MarshalSeverity writes the enum's value.
func MarshalSeverity(s string) graphql.Marshaler { return quoted(s) }

// UnmarshalSeverity reads the enum's value.
func UnmarshalSeverity(v any) (string, error) { return text[string](v) }
