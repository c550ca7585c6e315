package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const missing = "it is required, and not there"

// declareRequired declares required: what may not be left out of a document. Without it a
// line that lacks its price would go out without one.
func declareRequired() []cel.EnvOption {
	return []cel.EnvOption{cel.Function("required",
		cel.Overload("required_value", []*cel.Type{cel.DynType}, cel.DynType, cel.OverloadIsNonStrict(), cel.UnaryBinding(required)),
	)}
}

func required(v ref.Val) ref.Val {
	if err, is := v.(*types.Err); is && isAbsence(err) || v == types.NullValue {
		return fail(missing)
	}
	return v
}
