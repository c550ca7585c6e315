package mapping

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// Environment says which variables and functions the expressions of templates and texts
// may use. It is immutable and may be used from many goroutines at once.
type Environment struct {
	cel       *cel.Env
	variables []string
	steps     []string // nil: any
	// without are variables and functions that may not be used, with the reason.
	without map[string]string
}

// Events is the environment of what routes and recipes make of an event: event, body,
// outlet, steps, existing, and every function.
func Events() *Environment { return environments().events }

// Webhooks is the environment of what a receiver makes an event of: body, headers (by
// lower-case name) and query (by name), the latter two given by Scope.Variables. There is
// no destination yet, so lookup and reference are not there either.
func Webhooks() *Environment { return environments().webhooks }

// With declares further variables, whose values Scope.Variables gives. A name has at most
// 64 letters, digits and _, and begins with a small letter.
func (e *Environment) With(variables ...string) (*Environment, error) {
	all := slices.Clone(e.variables)
	var options []cel.EnvOption
	for _, name := range variables {
		switch {
		case !variableName.MatchString(name) || slices.Contains(reserved, name):
			return nil, fmt.Errorf("%q cannot name a variable: at most 64 letters, digits and _ can, beginning with a small letter", name)
		case slices.Contains(all, name):
			return nil, fmt.Errorf("%q is the name of a variable already", name)
		}
		all = append(all, name)
		options = append(options, cel.Variable(name, cel.DynType))
	}
	extended, err := e.cel.Extend(options...)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &Environment{cel: extended, variables: all, steps: e.steps, without: e.without}, nil
}

// WithSteps says which steps come earlier, so that `steps.NAME` with any other name is an
// error at load. Without it every name is taken.
func (e *Environment) WithSteps(names ...string) *Environment {
	with := *e
	with.steps = append([]string{}, names...)
	return &with
}

// Without says which variables and functions of it an expression may not use: that is an
// error at load, which gives the reason.
func (e *Environment) Without(why string, names ...string) *Environment {
	with := *e
	with.without = maps.Clone(e.without)
	if with.without == nil {
		with.without = make(map[string]string, len(names))
	}
	for _, name := range names {
		with.without[name] = why
	}
	return &with
}

var variableName = regexp.MustCompile(`^[a-z][A-Za-z0-9_]{0,63}$`)

// reserved are CEL's reserved words and the names of its types, as far as they look like
// a variable's name.
var reserved = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
	"namespace", "null", "package", "return", "true", "var", "void", "while",
	"bool", "bytes", "decimal", "int", "list", "map", "null_type", "optional", "string", "type", "uint",
}

// environments are made once: each takes a millisecond or more.
var environments = sync.OnceValue(func() (made struct{ events, webhooks *Environment }) {
	common := slices.Concat(
		[]cel.EnvOption{
			// There are no doubles: a fraction is a decimal. And whole numbers divide
			// without losing what is left over.
			cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: []*env.Function{
				{Name: "double"},
				{Name: operators.Divide, Overloads: []*env.Overload{{ID: overloads.DivideInt64}}},
			}})),
			cel.OptionalTypes(),
			cel.ParserExpressionSizeLimit(maxExpressionRunes),
			cel.Variable("body", cel.DynType),
		},
		declareOperators(), declareConstants(), declareNumbers(), declareDates(), declareTexts(), declareRequired(),
	)
	made.webhooks = declare([]string{"body", "headers", "query"}, append(slices.Clip(common),
		cel.Variable("headers", cel.DynType), cel.Variable("query", cel.DynType))...)
	made.events = declare([]string{"event", "body", "outlet", "steps", "existing"}, slices.Concat(common, declareLookup(), []cel.EnvOption{
		cel.Variable("event", eventType), cel.Variable("outlet", outletType),
		cel.Variable("steps", cel.DynType), cel.Variable("existing", cel.DynType),
	})...)
	return made
})

// declare panics where CEL refuses our own declarations, which no input can bring about.
func declare(variables []string, options ...cel.EnvOption) *Environment {
	registry, err := types.NewRegistry()
	if err != nil {
		panic(err)
	}
	made, err := cel.NewCustomEnv(append([]cel.EnvOption{
		cel.CustomTypeAdapter(bodyAdapter{registry, exactNumber}),
		cel.CustomTypeProvider(objectProvider{registry, map[string]map[string]*types.FieldType{eventTypeName: eventFields, outletTypeName: outletFields}}),
	}, options...)...)
	if err != nil {
		panic(err)
	}
	return &Environment{cel: made, variables: variables}
}
