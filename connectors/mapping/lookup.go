package mapping

import (
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// lookupOrNone is what lookup with a default becomes. No expression can name it.
const lookupOrNone = "@lookup"

// declareLookup declares lookup and reference. Their work is bound when they are
// evaluated ([run.ResolveFunction]), since it depends on the scope.
func declareLookup() []cel.EnvOption {
	text, dyn := cel.StringType, cel.DynType
	return []cel.EnvOption{
		cel.Function("lookup", cel.Overload("lookup_table_value", []*cel.Type{text, dyn}, text, cel.OverloadIsNonStrict(), cel.LateFunctionBinding())),
		cel.Function(lookupOrNone, cel.Overload("lookup_table_value_optional", []*cel.Type{text, dyn}, cel.OptionalType(text), cel.OverloadIsNonStrict(), cel.LateFunctionBinding())),
		cel.Function("reference", cel.Overload("reference_length", []*cel.Type{cel.IntType}, text, cel.LateFunctionBinding())),
		cel.Macros(cel.GlobalMacro("lookup", 3, lookupWithDefault)),
	}
}

// lookupWithDefault makes lookup(t, v, {default: d}) an optional with a value to fall back
// to, which is only evaluated where it is needed.
func lookupWithDefault(make cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	const takes = "the third argument of lookup is {default: …}"
	if args[2].Kind() != ast.MapKind || len(args[2].AsMap().Entries()) != 1 {
		return nil, make.NewError(args[2].ID(), takes)
	}
	entry := args[2].AsMap().Entries()[0].AsMapEntry()
	key := entry.Key()
	named := key.Kind() == ast.IdentKind && key.AsIdent() == "default" || key.Kind() == ast.LiteralKind && key.AsLiteral() == types.String("default")
	if !named || entry.IsOptional() {
		return nil, make.NewError(key.ID(), takes)
	}
	if value := entry.Value(); value.Kind() == ast.LiteralKind && value.AsLiteral().Type() != types.StringType {
		return nil, make.NewError(value.ID(), "the default of a look-up is a text, as its targets are")
	}
	return make.NewMemberCall("orValue", make.NewCall(lookupOrNone, args[0], args[1]), entry.Value()), nil
}

// lookup finds a value's counterpart. A miss is noted and gives CEL's unknown, which
// every operator and function hands on, and whose other arguments are evaluated all the
// same: so one pass names every miss.
func (r *run) lookup(table, value ref.Val) ref.Val {
	found, ok, other := r.find(table, value)
	switch {
	case other != nil:
		return other
	case ok:
		return types.String(found.target)
	case found.value == "" && found.absent:
		return nothing()
	}
	return r.miss(found.table, found.value)
}

func (r *run) lookupOptional(table, value ref.Val) ref.Val {
	found, ok, other := r.find(table, value)
	switch {
	case other != nil:
		return other
	case ok:
		return types.OptionalOf(types.String(found.target))
	}
	return types.OptionalNone
}

type found struct {
	table, value, target string
	absent               bool
}

// find gives another value where there is nothing to look up: an error, or an unknown of
// an earlier miss.
func (r *run) find(table, value ref.Val) (f found, ok bool, other ref.Val) {
	if err, is := value.(*types.Err); is && !isAbsence(err) || types.IsUnknown(value) {
		return f, false, value
	}
	if types.IsUnknownOrError(table) {
		return f, false, table
	}
	f.table = string(table.(types.String))
	switch v := value.(type) {
	case *types.Err, types.Null:
		f.absent = true
		return f, false, nil
	case types.String:
		f.value = string(v)
	case types.Int:
		f.value = strconv.FormatInt(int64(v), 10)
	case *decimal:
		text, err := v.text()
		if err != nil {
			return f, false, err
		}
		f.value = text
	default:
		return f, false, fail("lookup takes a text or a number")
	}
	if r.scope.Lookup != nil {
		f.target, ok = r.scope.Lookup(f.table, f.value)
	}
	return f, ok, nil
}

// miss notes a miss once, and gives what stands for its value.
func (r *run) miss(table, value string) ref.Val {
	key := [2]string{table, value}
	id, known := r.seen[key]
	if !known {
		if r.seen == nil {
			r.seen = make(map[[2]string]int)
		}
		r.missing = append(r.missing, Miss{Table: table, Value: value, Path: r.pointer()})
		id = len(r.missing)
		r.seen[key] = id
	}
	return types.NewUnknown(int64(id), nil)
}

// gap is what stands in the output where a look-up missed, for those who look at it: the
// first miss that the value depends on.
func (r *run) gap(u *types.Unknown) string {
	first := unknownID
	for _, id := range u.IDs() {
		first = min(first, int(id))
	}
	if first == unknownID {
		return "‹not known›"
	}
	miss := r.missing[first-1]
	return "‹no " + miss.Table + " for " + miss.Value + "›"
}
