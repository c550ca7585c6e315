package mapping

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// saying is an error in words of ours, which quote no value.
type saying string

func (s saying) Error() string { return string(s) }

// fail is an error inside an expression. Each is a value of its own, since CEL notes in it
// where it arose.
func fail(words string) ref.Val { return types.WrapErr(saying(words)) }

// noOverload is CEL's own error for values that an operator or a function does not take.
func noOverload(function string) ref.Val { return types.NewErr("no such overload: %s", function) }

// nothing is what functions give for null, and where something that is not there is
// asked for: an absence, like a field that the body does not have.
func nothing() ref.Val { return types.NewErr("no such key") }
