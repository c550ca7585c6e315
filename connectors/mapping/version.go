package mapping

import (
	"context"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
)

// Version is a compiled expression that says which of two snapshots is the newer. It may
// be used from many goroutines at once.
type Version struct {
	program cel.Program
}

// CompileVersion compiles a CEL expression as [CompileCondition] does.
func CompileVersion(expression string) (*Version, error) {
	program, err := compile(expression, "a version is a whole number, a text or a time, this gives %s; a time in a text becomes one by timestamp(…)",
		cel.IntType, cel.StringType, cel.TimestampType)
	if err != nil {
		return nil, err
	}
	return &Version{program: program}, nil
}

// Of returns the event's version: an int64, a string or a time.Time; nil where the
// expression reads something that is not there, or gives null. An error never quotes the
// body.
func (v *Version) Of(ctx context.Context, event *Event, body *Body) (any, error) {
	out, _, err := v.program.ContextEval(ctx, &activation{event: event, body: body})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case isAbsence(err):
		return nil, nil
	default:
		return nil, describe(err)
	}
	switch value := out.Value().(type) {
	case int64, string, time.Time:
		return value, nil
	}
	if out.Type() == cel.NullType {
		return nil, nil
	}
	return nil, fmt.Errorf("it gave %s, and has to give a whole number, a text or a time", out.Type().TypeName())
}
