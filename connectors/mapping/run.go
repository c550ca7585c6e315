package mapping

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	// maxOutput is how many bytes of JSON a template may render. The largest real
	// invoice has a quarter of that.
	maxOutput = 1 << 20
	// maxWork is what a whole template may cost, in CEL's units and one for each value:
	// enough for 20,000 lines with five look-ups each, and some tenths of a second.
	maxWork = 2_000_000
)

// unknownID is that of what a scope does not know, where a look-up that missed has its
// place among the misses.
const unknownID = math.MaxInt64

// run is one rendering. It is what CEL resolves names and functions by.
type run struct {
	ctx    context.Context
	scope  *Scope
	path   []step
	locals []local

	missing []Miss
	seen    map[[2]string]int // to a place in missing, from 1

	steps, existing any // once resolved
	size, spent     int

	// noting are the places that something was left out of; nil where nobody asks.
	noting map[string]bool
}

// step leads from a value of the output to one inside: by name, or by place in a list.
type step struct {
	name  string
	index int // -1: by name
}

// newRun begins a rendering of what reads the body or does not.
func newRun(ctx context.Context, s *Scope, readsBody bool) (*run, error) {
	if readsBody && s.Body != nil {
		if err := s.Body.trusted(); err != nil {
			return nil, err
		}
	}
	return &run{ctx: ctx, scope: s, path: make([]step, 0, 8)}, nil
}

// eval evaluates an expression: nil where it reads something that is not there.
func (r *run) eval(e *expression) (ref.Val, error) {
	var out ref.Val
	var details *cel.EvalDetails
	var err error
	if e.loops {
		out, details, err = e.program.ContextEval(r.ctx, r)
	} else {
		out, details, err = e.program.Eval(r)
	}
	cost := 1
	if spent := details.ActualCost(); spent != nil {
		cost += int(min(*spent, maxWork))
	}
	if failed := r.work(cost); failed != nil {
		return nil, failed
	}
	switch {
	case err == nil:
	case isAbsence(err):
		return nil, nil
	default:
		return nil, describe(err)
	}
	if o, ok := out.(*types.Optional); ok {
		if !o.HasValue() {
			return nil, nil
		}
		return o.GetValue(), nil
	}
	return out, nil
}

// nothing is what an expression or a text gives that reads something that is not there.
func (r *run) nothing() any {
	if r.noting != nil && len(r.noting) < maxLeftOut {
		r.noting[r.place()] = true
	}
	return absent
}

// work counts what the template costs, and looks whether it is still wanted.
func (r *run) work(cost int) error {
	if r.spent += cost; r.spent > maxWork {
		return fmt.Errorf("the template takes more work than the limit of %d", maxWork)
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return nil
}

// grow counts the bytes of the output: of each value with the comma behind it, of maps and
// lists their brackets.
func (r *run) grow(bytes int) error {
	if r.size += bytes; r.size > maxOutput {
		return fmt.Errorf("it renders more than the limit of %d bytes", maxOutput)
	}
	return nil
}

// holds evaluates a condition. What is absent is false, as in a route's; what hangs on a
// look-up that missed is false too, so that no miss is named which may not matter.
func (r *run) holds(condition *expression) (bool, error) {
	out, err := r.eval(condition)
	if err != nil || out == nil || types.IsUnknown(out) {
		return false, err
	}
	holds, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("a condition gave %s, and has to give true or false", out.Type().TypeName())
	}
	return bool(holds), nil
}

// text gives a string, or absent. All expressions are evaluated, so that every miss is
// named.
func (r *run) text(segments []segment) (any, error) {
	var out strings.Builder
	var result any
	for _, s := range segments {
		if s.expression == nil {
			out.WriteString(s.literal)
			continue
		}
		v, err := r.eval(s.expression)
		if err != nil {
			return nil, err
		}
		if v == nil || v == types.NullValue {
			result = absent
			continue
		}
		written, err := r.written(v)
		if err != nil {
			return nil, err
		}
		if out.Len()+len(written) > maxOutput {
			return nil, r.grow(maxOutput + 1)
		}
		out.WriteString(written)
	}
	if result == nil {
		result = out.String()
	}
	return result, nil
}

func (r *run) ResolveName(name string) (any, bool) {
	for i := len(r.locals) - 1; i >= 0; i-- {
		if r.locals[i].name == name {
			return r.locals[i].value, true
		}
	}
	if r.scope.Unknown != nil && slices.Contains(r.scope.Unknown, name) {
		return types.NewUnknown(unknownID, nil), true
	}
	switch name {
	case "event":
		if r.scope.Event == nil {
			return &Event{}, true
		}
		return r.scope.Event, true
	case "body":
		if r.scope.Body == nil {
			return nil, true
		}
		return r.scope.Body.value(), true
	case "outlet":
		return &r.scope.Outlet, true
	case "steps":
		return r.receipts(), true
	case "existing":
		if r.existing == nil {
			existing := r.scope.Existing
			if existing == nil {
				existing = &Receipt{}
			}
			r.existing = existing.fields()
		}
		return r.existing, true
	}
	v := r.scope.Variables[name]
	if body, ok := v.(*Body); ok {
		return body.value(), true
	}
	return v, true
}

func (r *run) receipts() any {
	if r.steps == nil {
		steps := make(map[string]any, len(r.scope.Steps))
		for name, receipt := range r.scope.Steps {
			steps[name] = map[string]any{"receipt": receipt.fields()}
		}
		r.steps = steps
	}
	return r.steps
}

func (r *run) Parent() cel.Activation { return nil }

// ResolveFunction gives CEL the functions that depend on the scope.
func (r *run) ResolveFunction(name string) (functions.LateBoundOp, bool) {
	switch name {
	case "lookup":
		return func(_ string, args ...ref.Val) ref.Val { return r.lookup(args[0], args[1]) }, true
	case lookupOrNone:
		return func(_ string, args ...ref.Val) ref.Val { return r.lookupOptional(args[0], args[1]) }, true
	case "reference":
		return func(_ string, args ...ref.Val) ref.Val { return reference(r.scope, int64(args[0].(types.Int))) }, true
	}
	return nil, false
}
