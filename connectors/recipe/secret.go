package recipe

import (
	"fmt"
	"io"

	"raffsync/connectors/outcome"
)

// secret is a text that is not to be seen. Whatever prints it prints "[redacted]". It is
// behind a function because fmt calls no method of an unexported field, but prints what it
// reaches by reflection.
type secret struct{ reveal func() string }

func newSecret(text string) secret { return secret{func() string { return text }} }

func (secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, outcome.Redacted) }
