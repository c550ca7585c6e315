package recipe

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a recipe, with its settings, or with what a route
// says of a step.
type Error struct {
	// Path is where, from the destination: "recipe.calls.invoice.url", "settings.host".
	Path string
	// Line and Column are within the text at Path, from 1; 0 where they are not known.
	Line, Column int
	// Message says what is wrong and what was expected. It holds no secret.
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Path + ": " + e.Message
	}
	return fmt.Sprintf("%s: line %d, column %d: %s", e.Path, e.Line, e.Column, e.Message)
}

// problems gathers all errors: one round of corrections, not seven.
type problems struct{ errs []error }

func (p *problems) fail(path, format string, args ...any) {
	p.errs = append(p.errs, &Error{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (p *problems) add(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// below joins a path and a name.
func below(path, name string) string {
	if path == "" || strings.HasPrefix(name, "[") {
		return path + name
	}
	return path + "." + name
}
