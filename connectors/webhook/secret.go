package webhook

import (
	"fmt"
	"io"

	"raffsync/connectors/outcome"
)

// secret is a text that is not to be seen. Whatever prints it prints "[redacted]".
//
// The text is behind a function because that holds where methods do not: fmt calls
// no method of an unexported field, but prints what it reaches by reflection.
type secret struct{ reveal func() string }

func newSecret(text string) secret { return secret{func() string { return text }} }

func (secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, outcome.Redacted) }
