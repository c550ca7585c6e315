package mapping

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

const (
	// maxExpressionRunes is far above what a person writes, and small enough to
	// compile at once.
	maxExpressionRunes = 4096
	// costLimit of one evaluation, in CEL's units: a comparison is one, a string is
	// one for ten bytes looked at. The limit admits one search through the largest
	// payload and takes some milliseconds at most.
	costLimit = 100_000
	// interruptEvery is how many turns of a loop pass between looks at the context.
	interruptEvery = 100
)

// Condition is a compiled expression that answers yes or no. It may be used from
// many goroutines at once.
type Condition struct {
	program cel.Program
}

// SyntaxError says what is wrong with an expression, and where: line and column
// count from 1, columns in characters.
type SyntaxError struct {
	Line, Column int
	Message      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// environment is made once: it takes a millisecond, an expression microseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeAdapter(bodyAdapter{registry, looseNumber}),
		cel.CustomTypeProvider(objectProvider{registry, map[string]map[string]*types.FieldType{eventTypeName: eventFields}}),
		cel.Variable("event", eventType),
		cel.Variable("body", cel.DynType),
		cel.ParserExpressionSizeLimit(maxExpressionRunes),
	)
})

// CompileCondition compiles a CEL expression of at most 4,096 characters. Its error
// is a [*SyntaxError] wherever the expression is at fault.
func CompileCondition(expression string) (*Condition, error) {
	program, err := compile(expression, "a condition answers true or false, this gives %s; compare it with something", cel.BoolType)
	if err != nil {
		return nil, err
	}
	return &Condition{program: program}, nil
}

// compile compiles an expression that gives one of these types, or one that only an
// event shows; otherwise says what is wrong with any other.
func compile(expression, otherwise string, gives ...*cel.Type) (cel.Program, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	ast, issues := env.Compile(expression)
	if all := issues.Errors(); len(all) > 0 {
		first := all[0]
		return nil, &SyntaxError{
			Line: max(first.Location.Line(), 1), Column: max(first.Location.Column(), 0) + 1,
			Message: shortened(first.Message),
		}
	}
	if out := ast.OutputType(); !slices.ContainsFunc(append(gives, cel.DynType), out.IsExactType) {
		return nil, &SyntaxError{Line: 1, Column: 1, Message: fmt.Sprintf(otherwise, out)}
	}
	program, err := env.Program(ast,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostTracking(costs{}),
		cel.CostLimit(costLimit),
		cel.InterruptCheckFrequency(interruptEvery),
	)
	if err != nil {
		// A constant regular expression that does not compile is found here.
		return nil, &SyntaxError{Line: 1, Column: 1, Message: err.Error()}
	}
	return program, nil
}

// unexpected is how CEL's parser begins when a token does not fit; what it would have
// expected follows, as a list of all its tokens.
var unexpected = regexp.MustCompile(`^Syntax error: (?:mismatched|extraneous) input ('.*?') expecting .*$`)

// shortened is CEL's message as far as it helps people.
func shortened(message string) string {
	if found := unexpected.FindStringSubmatch(message); found != nil {
		if found[1] == "'<EOF>'" {
			return "the expression ends too early"
		}
		return found[1] + " does not fit here"
	}
	return strings.TrimSuffix(message, " (in container '')")
}

// Matches evaluates the condition. The package's documentation says what counts as
// false and what as an error. An error never quotes the body.
func (c *Condition) Matches(ctx context.Context, event *Event, body *Body) (bool, error) {
	out, _, err := c.program.ContextEval(ctx, &activation{event: event, body: body})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case isAbsence(err):
		return false, nil
	default:
		return false, describe(err)
	}
	matches, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gave %s, and has to give true or false", out.Type().TypeName())
	}
	return matches, nil
}

// isAbsence tells whether something that is not there was read. cel-go exports no
// type for it; a test holds these words against it.
func isAbsence(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		if strings.HasPrefix(text, "no such key") || strings.HasPrefix(text, "index out of bounds") {
			return true
		}
	}
	return false
}

// describe keeps to messages that are known to quote no value.
func describe(err error) error {
	var ours saying
	if errors.As(err, &ours) {
		return ours
	}
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "no such overload"):
		return errors.New("it compares or combines values of types that do not go together (" + text + ")")
	case strings.Contains(text, "cost limit exceeded"):
		return fmt.Errorf("it takes more work than the limit of %d", costLimit)
	case text == "division by zero", text == "modulus by zero", strings.HasSuffix(text, "overflow"):
		return errors.New(text)
	}
	return errors.New("it cannot be evaluated with the values of this event")
}

// activation hands the two variables over without a map, and parses the body only
// for an expression that reads it.
type activation struct {
	event *Event
	body  *Body
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return a.event, true
	case "body":
		return a.body.value(), true
	}
	return nil, false
}

func (a *activation) Parent() cel.Activation { return nil }
