package mapping

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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

// inspect finds mistakes that CEL's types do not show: constants that a function refuses,
// and steps that there are not.
func (c *compiler) inspect(tree *ast.AST, into *expression) error {
	var found error
	wrong := func(e ast.Expr, message string) {
		if found == nil {
			at := tree.SourceInfo().GetStartLocation(e.ID())
			found = &SyntaxError{Line: max(at.Line(), 1), Column: max(at.Column(), 0) + 1, Message: message}
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			into.loops = true
		case ast.IdentKind:
			*c.body = *c.body || e.AsIdent() == "body"
		case ast.SelectKind:
			c.inspectStep(e, wrong)
		case ast.CallKind:
			for i, arg := range e.AsCall().Args() {
				if message := refused(e.AsCall(), i); message != "" {
					wrong(arg, message)
				}
			}
		}
	}))
	return found
}

// inspectStep looks at steps.NAME.receipt.
func (c *compiler) inspectStep(e ast.Expr, wrong func(ast.Expr, string)) {
	operand, field := e.AsSelect().Operand(), e.AsSelect().FieldName()
	if operand.Kind() == ast.SelectKind && isIdent(operand.AsSelect().Operand(), "steps") && field != "receipt" {
		wrong(e, fmt.Sprintf("a step has no %q: it is steps.%s.receipt.…", field, operand.AsSelect().FieldName()))
	}
	if c.env.steps == nil || !isIdent(operand, "steps") || slices.Contains(c.env.steps, field) {
		return
	}
	there := "there is none before this one"
	if len(c.env.steps) > 0 {
		there = "those before this one are " + strings.Join(c.env.steps, ", ")
	}
	wrong(e, fmt.Sprintf("no step before this one is named %q: %s", field, there))
}

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

// refused says what is wrong with an argument that is a constant, or nothing.
func refused(call ast.CallExpr, argument int) string {
	if call.Args()[argument].Kind() != ast.LiteralKind {
		return ""
	}
	value := call.Args()[argument].AsLiteral()
	text, _ := value.(types.String)
	switch function := call.FunctionName(); {
	case function == "date" && argument == 1:
		if _, ok := zones.get(string(text)); !ok {
			return badZone
		}
	case function == "date" && argument == 2:
		if _, ok := layouts.get(string(text)); !ok {
			return badPattern
		}
	case function == "money" && argument == 1 && len(call.Args()) == 2:
		if _, ok := currencyDigits(string(text)); !ok {
			return unknownCurrency
		}
	case function == "reference":
		if n, ok := value.(types.Int); ok && n < minReference {
			return shortReference
		}
	case (function == "lookup" || function == lookupOrNone) && argument == 0:
		if text == "" {
			return "lookup needs the name of a table"
		}
	}
	return ""
}

// costs knows what operators cost where CEL does not, which is on the body's values: as
// much as the same operator on texts that CEL knows.
type costs struct{}

func (costs) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	if overload != "" {
		return nil
	}
	cost := 1 + sizeCost(function, result)
	for _, v := range args {
		cost += sizeCost(function, v)
	}
	return &cost
}

func sizeCost(function string, v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)) / 10
	case traits.Lister:
		if function == operators.In {
			return uint64(listSize(v))
		}
	}
	return 0
}

// place is where an expression begins in a text: counted from 1, in characters.
type place struct{ line, column int }

func (p place) after(text string) place {
	for _, c := range text {
		p.column++
		if c == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	return p
}

// in moves an error of an expression to where it is in the text around it.
func (p place) in(err error) error {
	syntax, ok := err.(*SyntaxError)
	if !ok {
		return err
	}
	moved := *syntax
	if moved.Line == 1 {
		moved.Column += p.column - 1
	}
	moved.Line += p.line - 1
	return &moved
}

// closing finds the } that ends an expression: not one of a map, a text or a comment
// inside. It is -1 where there is none.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
		case c == '\'' || c == '"':
			length := quoted(s[i:], isRaw(s[:i]))
			if length < 0 {
				return -1
			}
			i += length
			continue
		case strings.HasPrefix(s[i:], "//"):
			end := strings.IndexByte(s[i:], '\n')
			if end < 0 {
				return -1
			}
			i += end
		}
		i++
	}
	return -1
}

// isRaw tells whether a text that follows is one of r'…', where \ is only a sign.
func isRaw(before string) bool {
	word := before[len(strings.TrimRightFunc(before, isWordRune)):]
	return slices.Contains([]string{"r", "br", "rb"}, strings.ToLower(word))
}

func isWordRune(c rune) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// quoted is the length of the text of CEL that s begins with, or -1.
func quoted(s string, raw bool) int {
	quote := s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s, triple) {
		quote = triple
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return -1
}
