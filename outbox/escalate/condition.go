package escalate

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// Facts of an exception are what conditions see.
type Facts struct {
	Class, Destination, Source string
	// Outlet of the first delivery that it holds; "" where it holds none, or that has none.
	Outlet string
	// Severity by the rules for it: LOW, MEDIUM, HIGH, CRITICAL; "" where there are none.
	Severity string
	// Exposure is the money at stake, by currency.
	Exposure map[string]float64
	Held     int64
	Age      time.Duration // since it was raised
}

// Condition is a compiled expression over [Facts]. It may be used from many goroutines at
// once.
type Condition struct{ program cel.Program }

// SyntaxError says what is wrong with a condition, and where: line and column count from
// 1, columns in characters.
type SyntaxError struct {
	Line, Column int
	Message      string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

const (
	// maxCondition is the most characters of an expression.
	maxCondition = 4096
	// conditionCost bounds one evaluation, in CEL's units: a comparison is one.
	conditionCost = 10_000
)

// environment is made once: it takes a millisecond.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("class", cel.StringType),
		cel.Variable("destination", cel.StringType),
		cel.Variable("outlet", cel.StringType),
		cel.Variable("source", cel.StringType),
		cel.Variable("severity", cel.StringType),
		cel.Variable("exposure", cel.MapType(cel.StringType, cel.DoubleType)),
		cel.Variable("held", cel.IntType),
		cel.Variable("age", cel.DurationType),
		cel.CrossTypeNumericComparisons(true), // exposure.IDR > 5000000
		cel.ParserExpressionSizeLimit(maxCondition),
	)
})

// CompileCondition compiles a CEL expression over class, destination, outlet, source,
// severity, exposure (by currency), held and age. Its error is a [*SyntaxError] wherever
// the expression is at fault.
func CompileCondition(expression string) (*Condition, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	if utf8.RuneCountInString(expression) > maxCondition {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("it has more than %d characters", maxCondition)}
	}
	ast, issues := env.Compile(expression)
	if all := issues.Errors(); len(all) > 0 {
		first := all[0]
		return nil, &SyntaxError{max(first.Location.Line(), 1), max(first.Location.Column(), 0) + 1, shortened(first.Message)}
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, &SyntaxError{1, 1, fmt.Sprintf("a condition answers true or false, this gives %s; compare it with something", ast.OutputType())}
	}
	program, err := env.Program(ast, cel.CostLimit(conditionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("compile a condition: %w", err)
	}
	return &Condition{program}, nil
}

// shortened is CEL's message without the list of all tokens that would have fitted.
func shortened(message string) string {
	message, _, _ = strings.Cut(message, " expecting ")
	message, _, _ = strings.Cut(message, " (in container")
	return message
}

// Holds tells whether the condition is true. One that asks for what there is not, as the
// exposure in a currency in which nothing is at stake, is false.
func (c *Condition) Holds(f Facts) bool {
	exposure := f.Exposure
	if exposure == nil {
		exposure = map[string]float64{}
	}
	value, _, err := c.program.Eval(map[string]any{
		"class": f.Class, "destination": f.Destination, "outlet": f.Outlet, "source": f.Source,
		"severity": f.Severity, "exposure": exposure, "held": f.Held, "age": f.Age,
	})
	if err != nil {
		return false
	}
	holds, ok := value.Value().(bool)
	return ok && holds
}
