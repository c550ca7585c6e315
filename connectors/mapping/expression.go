package mapping

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// constantDecimal is what a fraction written in an expression becomes: CEL would make a
// double of it, and 0.1 + 0.2 the number that it never is. No expression can name it.
const constantDecimal = "@decimal"

// maxMessage is how many characters of a message of CEL's are told.
const maxMessage = 300

func declareConstants() []cel.EnvOption {
	return []cel.EnvOption{cel.Function(constantDecimal, cel.Overload("constant_decimal", []*cel.Type{cel.StringType}, decimalType,
		cel.UnaryBinding(func(v ref.Val) ref.Val { return &decimal{written: string(v.(types.String))} })))}
}

// constant is a fraction of an expression, parsed once.
func constant(call interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	written := string(call.Args()[0].(interpreter.InterpretableConst).Value().(types.String))
	number, failed := parseDecimal(written)
	if failed != nil {
		return nil, failed.Value().(error)
	}
	return interpreter.NewConstValue(call.ID(), &decimal{number: number}), nil
}

// compiler compiles the expressions of one template or text.
type compiler struct {
	env *Environment
	// body notes whether any expression reads the body.
	body *bool
}

// expression is what stands between ${ and }, compiled.
type expression struct {
	program cel.Program
	gives   *cel.Type
	// loops tells whether it can take long: without a loop its own length bounds it, and
	// it need not look at the context, which takes as long as a small expression.
	loops bool
}

func (c *compiler) expression(source string) (*expression, error) {
	parsed, issues := c.env.cel.Parse(source)
	if err := syntaxError(issues); err != nil {
		return nil, err
	}
	keepFractions(parsed.NativeRep(), source)
	checked, issues := c.env.cel.Check(parsed)
	if err := syntaxError(issues); err != nil {
		return nil, err
	}
	e := &expression{gives: checked.OutputType()}
	if err := c.inspect(checked.NativeRep(), e); err != nil {
		return nil, err
	}
	var err error
	e.program, err = c.env.cel.Program(checked,
		cel.CustomDecoratorV2(arithmetic),
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostTracking(costs{}),
		cel.CostLimit(costLimit),
		cel.InterruptCheckFrequency(interruptEvery),
	)
	if err != nil {
		return nil, &SyntaxError{Line: 1, Column: 1, Message: err.Error()}
	}
	return e, nil
}

func syntaxError(issues *cel.Issues) error {
	all := issues.Errors()
	if len(all) == 0 {
		return nil
	}
	first := all[0]
	message := shortened(first.Message)
	if cut := []rune(message); len(cut) > maxMessage {
		message = string(cut[:maxMessage]) + "…" // types of CEL can nest
	}
	if unequalNumbers.MatchString(message) {
		message += "; write the whole number with a fraction, as in 0.0"
	}
	return &SyntaxError{Line: max(first.Location.Line(), 1), Column: max(first.Location.Column(), 0) + 1, Message: message}
}

// unequalNumbers is where CEL asks both sides of a comparison to be of one type, and takes
// no declaration that says otherwise.
var unequalNumbers = regexp.MustCompile(`'_[!=]=_' applied to '\((?:decimal, int|int, decimal)\)'`)

var fraction = regexp.MustCompile(`^[0-9]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`)

// keepFractions makes decimals of the doubles that an expression names, with all the
// digits that were written.
func keepFractions(tree *ast.AST, source string) {
	make := ast.NewExprFactory()
	next := ast.MaxID(tree)
	characters := []rune(source)
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind {
			return
		}
		value, ok := e.AsLiteral().(types.Double)
		if !ok {
			return
		}
		written := strconv.FormatFloat(float64(value), 'g', -1, 64)
		offset, known := tree.SourceInfo().GetOffsetRange(e.ID())
		if known && int(offset.Start) < len(characters) {
			sign, digits := "", strings.TrimSpace(string(characters[offset.Start:]))
			if rest, negative := strings.CutPrefix(digits, "-"); negative {
				sign, digits = "-", strings.TrimSpace(rest)
			}
			digits = fraction.FindString(digits)
			if strings.HasPrefix(digits, ".") {
				digits = "0" + digits
			}
			if same, err := strconv.ParseFloat(sign+digits, 64); err == nil && same == float64(value) {
				written = sign + digits
			}
		}
		next++
		tree.SourceInfo().SetOffsetRange(next, offset)
		e.SetKindCase(make.NewCall(e.ID(), constantDecimal, make.NewLiteral(next, types.String(written))))
	}))
}

// costs knows what CEL does not: operators on the body's values, whose types show too
// late, and functions of ours.
type costs struct{}

// sized are the functions of ours that look at all of their arguments.
var sized = []string{"trim", "lowerAscii", "upperAscii", "truncate", "split", "replace", "join", "sum", "decimal", "money", "date", "lookup", lookupOrNone, operators.In}

func (costs) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	walks := slices.Contains(sized, function)
	if overload != "" && !walks {
		return nil
	}
	cost := 1 + sizeCost(result, false)
	for _, v := range args {
		cost += sizeCost(v, walks)
	}
	return &cost
}

// sizeCost is one for ten bytes of a text, as CEL reckons, and for each value of a list
// that is walked through.
func sizeCost(v ref.Val, walked bool) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)) / 10
	case traits.Lister:
		if walked {
			return uint64(listSize(v))
		}
	}
	return 0
}
