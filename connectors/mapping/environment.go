package mapping

import (
	"fmt"
	"regexp"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
)

// Environment says which variables and functions expressions may use. It is immutable
// and may be used from many goroutines at once.
type Environment struct {
	cel       *cel.Env
	variables []string // all that are declared, those of $each too
	steps     []string // nil: any
}

// Events is the environment of routes' maps, steps and recipes: event, body, outlet, steps, existing,
// and the functions lookup and reference.
func Events() *Environment { return environments().events }

// Webhooks is the environment of what a receiver makes an event of: body, headers (by
// lower-case name), query (by name). There are no mapping tables yet, so lookup and
// reference are not there either.
func Webhooks() *Environment { return environments().webhooks }

// With declares further variables of any type, given by Scope.Variables.
func (e *Environment) With(variables ...string) (*Environment, error) {
	all := slices.Clone(e.variables)
	var options []cel.EnvOption
	for _, name := range variables {
		if !variableName.MatchString(name) || slices.Contains(reserved, name) {
			return nil, fmt.Errorf("%q cannot name a variable: letters, digits and _ can, beginning with a small letter", name)
		}
		if slices.Contains(all, name) {
			return nil, fmt.Errorf("%q is the name of a variable already", name)
		}
		all = append(all, name)
		options = append(options, cel.Variable(name, cel.DynType))
	}
	extended, err := e.cel.Extend(options...)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &Environment{cel: extended, variables: all, steps: e.steps}, nil
}

// WithSteps says which steps come earlier, so that `steps.NAME` with any other name is an
// error at load. Without it every name is taken.
func (e *Environment) WithSteps(names ...string) *Environment {
	with := *e
	with.steps = append([]string{}, names...)
	return &with
}

var variableName = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,63}$`)

// reserved are CEL's reserved words, as far as they look like a variable's name.
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
	"namespace", "null", "package", "return", "true", "var", "void", "while",
}

type builtEnvironments struct{ events, webhooks *Environment }

// environments are made once: each takes a millisecond.
var environments = sync.OnceValue(func() builtEnvironments {
	return builtEnvironments{
		events: declare("event", "body", "outlet", "steps", "existing"), webhooks: declare("body", "headers", "query"),
	}
})

// declare panics where CEL refuses, which no input can bring about.
func declare(variables ...string) *Environment {
	base, err := environment()
	if err != nil {
		panic(err)
	}
	e := &Environment{cel: base, variables: []string{"event", "body"}}
	for _, name := range variables {
		if slices.Contains(e.variables, name) {
			continue
		}
		if e, err = e.With(name); err != nil {
			panic(err)
		}
	}
	return e
}
