package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

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
			if why, refused := c.env.without[e.AsIdent()]; refused {
				wrong(e, fmt.Sprintf("%s cannot be used here: %s", e.AsIdent(), why))
			}
		case ast.SelectKind:
			c.inspectStep(e, wrong)
		case ast.CallKind:
			function := strings.TrimPrefix(e.AsCall().FunctionName(), "@")
			if why, refused := c.env.without[function]; refused {
				wrong(e, fmt.Sprintf("%s() cannot be used here: %s", function, why))
			}
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
	if _, refused := c.env.without["steps"]; refused {
		return // which is said of the variable
	}
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
