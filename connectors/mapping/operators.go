package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
	"github.com/cockroachdb/apd/v3"
)

const (
	// maxText is how long a text, and maxList how long a list, an expression may make.
	// Without a limit, a short expression doubles its way to all memory there is, since
	// the cost of an operator on the body's values is not known to CEL.
	maxText = 1 << 20
	maxList = 100_000
	// maxCompared is how many values one == looks at: what is in a list may be there many
	// times over, and CEL's cost of a comparison knows only the outer list.
	maxCompared = 10_000
)

// declareOperators adds decimals to what CEL's operators take. Their work is done by
// [arithmetic], which takes the place of CEL's own.
func declareOperators() []cel.EnvOption {
	d, i, b := decimalType, cel.IntType, cel.BoolType
	var options []cel.EnvOption
	for function, id := range map[string]string{
		operators.Add: "add", operators.Subtract: "subtract", operators.Multiply: "multiply", operators.Divide: "divide",
	} {
		overloads := []cel.FunctionOpt{
			cel.Overload(id+"_decimal", []*cel.Type{d, d}, d), cel.Overload(id+"_decimal_int", []*cel.Type{d, i}, d), cel.Overload(id+"_int_decimal", []*cel.Type{i, d}, d),
		}
		if function == operators.Divide {
			overloads = append(overloads, cel.Overload("divide_int", []*cel.Type{i, i}, d))
		}
		options = append(options, cel.Function(function, overloads...))
	}
	for function, id := range map[string]string{
		operators.Less: "less", operators.LessEquals: "less_equals", operators.Greater: "greater", operators.GreaterEquals: "greater_equals",
	} {
		options = append(options, cel.Function(function,
			cel.Overload(id+"_decimal", []*cel.Type{d, d}, b), cel.Overload(id+"_decimal_int", []*cel.Type{d, i}, b), cel.Overload(id+"_int_decimal", []*cel.Type{i, d}, b)))
	}
	return append(options, cel.Function(operators.Negate, cel.Overload("negate_decimal", []*cel.Type{d}, d)))
}

// arithmetic puts operators in the place of CEL's that know decimals, never lose a
// fraction, and keep to limits.
func arithmetic(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok {
		return i, nil
	}
	function := call.Function()
	var operate func(args ...ref.Val) ref.Val
	switch function {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		operate = func(args ...ref.Val) ref.Val { return reckon(function, args[0], args[1]) }
	case operators.Negate:
		operate = func(args ...ref.Val) ref.Val { return negate(args[0]) }
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		operate = func(args ...ref.Val) ref.Val { return ordered(function, args[0], args[1]) }
	case operators.Equals, operators.NotEquals:
		operate = func(args ...ref.Val) ref.Val {
			budget := maxCompared
			equal := equals(args[0], args[1], &budget)
			if budget < 0 {
				return fail("it compares more than the limit of values")
			}
			return types.Bool(equal == (function == operators.Equals))
		}
	case operators.In:
		operate = func(args ...ref.Val) ref.Val { return contains(args[0], args[1]) }
		// Without the overload's name: by that CEL makes a set of the list, where 1 and
		// 1.0 are two.
		return interpreter.NewCall(call.ID(), function, "", call.Args(), operate), nil
	case constantDecimal:
		return constant(call)
	default:
		return i, nil
	}
	return interpreter.NewCall(call.ID(), function, call.OverloadID(), call.Args(), operate), nil
}

func reckon(function string, left, right ref.Val) ref.Val {
	_, l := left.(*decimal)
	_, r := right.(*decimal)
	if l || r || function == operators.Divide {
		return reckonDecimals(function, left, right)
	}
	switch function {
	case operators.Add:
		return add(left, right)
	case operators.Subtract:
		if left, ok := left.(traits.Subtractor); ok {
			return left.Subtract(right)
		}
	case operators.Multiply:
		if left, ok := left.(traits.Multiplier); ok {
			return left.Multiply(right)
		}
	}
	return noOverload(function)
}

func reckonDecimals(function string, left, right ref.Val) ref.Val {
	l, isLeft, err := asDecimal(left)
	if err != nil {
		return err
	}
	r, isRight, err := asDecimal(right)
	if err != nil {
		return err
	}
	if !isLeft || !isRight {
		return noOverload(function)
	}
	var failed error
	out := new(apd.Decimal)
	switch function {
	case operators.Add:
		_, failed = exact.Add(out, l, r)
	case operators.Subtract:
		_, failed = exact.Sub(out, l, r)
	case operators.Multiply:
		_, failed = exact.Mul(out, l, r)
	case operators.Divide:
		if r.IsZero() {
			return types.NewErr("division by zero")
		}
		if _, failed = quotients.Quo(out, l, r); failed == nil {
			out.Reduce(out)
		}
	}
	if failed != nil {
		return tooLong()
	}
	return newDecimal(out)
}

// add adds what is no decimal, and stops texts and lists that double.
func add(left, right ref.Val) ref.Val {
	switch l := left.(type) {
	case types.String:
		if r, ok := right.(types.String); ok && len(l)+len(r) > maxText {
			return fail(longText)
		}
	case traits.Lister:
		if r, ok := right.(traits.Lister); ok && listSize(l)+listSize(r) > maxList {
			return fail("it makes a list of more than 100,000 values")
		}
	}
	if left, ok := left.(traits.Adder); ok {
		return left.Add(right)
	}
	return noOverload(operators.Add)
}

func listSize(l traits.Lister) int64 {
	n, _ := l.Size().(types.Int)
	return int64(n)
}

func negate(v ref.Val) ref.Val {
	switch v := v.(type) {
	case *decimal:
		number, err := v.parsed()
		if err != nil {
			return err
		}
		return newDecimal(new(apd.Decimal).Neg(number))
	case types.Int:
		return v.Negate()
	}
	return noOverload(operators.Negate)
}

func ordered(function string, left, right ref.Val) ref.Val {
	compared, err := compare(left, right)
	if err != nil {
		return err
	}
	switch function {
	case operators.Less:
		return types.Bool(compared < 0)
	case operators.LessEquals:
		return types.Bool(compared <= 0)
	case operators.Greater:
		return types.Bool(compared > 0)
	}
	return types.Bool(compared >= 0)
}

func compare(left, right ref.Val) (int, ref.Val) {
	_, l := left.(*decimal)
	_, r := right.(*decimal)
	if l || r {
		a, isLeft, err := asDecimal(left)
		if err != nil {
			return 0, err
		}
		b, isRight, err := asDecimal(right)
		if err != nil {
			return 0, err
		}
		if isLeft && isRight {
			return a.Cmp(b), nil
		}
		return 0, noOverload("comparison")
	}
	if left, ok := left.(traits.Comparer); ok {
		switch compared := left.Compare(right).(type) {
		case types.Int:
			return int(compared), nil
		default:
			return 0, compared
		}
	}
	return 0, noOverload("comparison")
}

// equals compares as CEL does, numbers of any kind by their value, as long as the budget
// lasts; below zero it is used up.
func equals(left, right ref.Val, budget *int) bool {
	if *budget--; *budget < 0 {
		return false
	}
	switch l := left.(type) {
	case *decimal:
		return bool(l.Equal(right).(types.Bool))
	case types.Int, types.Uint, types.Double:
		if r, ok := right.(*decimal); ok {
			return bool(r.Equal(left).(types.Bool))
		}
	case traits.Mapper:
		r, ok := right.(traits.Mapper)
		if !ok || l.Size().Equal(r.Size()) != types.True {
			return false
		}
		for it := l.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			other, found := r.Find(key)
			if !found || !equals(l.Get(key), other, budget) {
				return false
			}
		}
		return true
	case traits.Lister:
		r, ok := right.(traits.Lister)
		if !ok || listSize(l) != listSize(r) {
			return false
		}
		a, b := l.Iterator(), r.Iterator()
		for a.HasNext() == types.True {
			if !equals(a.Next(), b.Next(), budget) {
				return false
			}
		}
		return true
	}
	return types.Equal(left, right) == types.True
}

// contains is `in`: a value of a list, or a name of a map.
func contains(value, in ref.Val) ref.Val {
	switch in := in.(type) {
	case traits.Mapper:
		_, found := in.Find(value)
		return types.Bool(found)
	case traits.Lister:
		budget := maxList
		for it := in.Iterator(); it.HasNext() == types.True; {
			if equals(it.Next(), value, &budget) {
				return types.True
			}
			if budget < 0 {
				return fail("it compares more than the limit of values")
			}
		}
		return types.False
	}
	return noOverload(operators.In)
}
