package mapping

import (
	"context"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

type part interface{ render(r *run) (any, error) }

type absence struct{}

// absent is what a part gives that reads something that is not there.
var absent any = absence{}

type constant struct{ value any }

func (c *constant) render(*run) (any, error) { return c.value, nil }

type object struct {
	names  []string
	fields []part
}

func (o *object) render(r *run) (any, error) {
	all := make(map[string]any, len(o.names))
	for i, f := range o.fields {
		v, err := f.render(r)
		if err != nil {
			return nil, err
		}
		if v != absent {
			all[o.names[i]] = v
		}
	}
	return all, nil
}

type list struct{ elements []part }

func (l *list) render(r *run) (any, error) {
	all := make([]any, 0, len(l.elements))
	for _, e := range l.elements {
		v, err := e.render(r)
		if err != nil {
			return nil, err
		}
		if v != absent {
			all = append(all, v)
		}
	}
	return all, nil
}

type text struct{ segments []segment }

func (t *text) render(r *run) (any, error) {
	if len(t.segments) == 1 && t.segments[0].program != nil {
		return r.eval(t.segments[0].program)
	}
	return r.text(t.segments)
}

// run is one rendering.
type run struct {
	ctx     context.Context
	scope   *Scope
	missing []Miss
}

func (r *run) eval(p cel.Program) (any, error) {
	out, _, err := p.ContextEval(r.ctx, r)
	switch {
	case err == nil:
		return out.Value(), nil
	case isAbsence(err):
		return absent, nil
	}
	return nil, describe(err)
}

func (r *run) text(segments []segment) (any, error) {
	var out strings.Builder
	for _, s := range segments {
		if s.program == nil {
			out.WriteString(s.literal)
			continue
		}
		v, err := r.eval(s.program)
		if err != nil {
			return nil, err
		}
		if v == absent || v == nil {
			return absent, nil
		}
		fmt.Fprint(&out, v)
	}
	return out.String(), nil
}

func (r *run) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return r.scope.Event, true
	case "body":
		return r.scope.Body.value(), true
	}
	v, ok := r.scope.Variables[name]
	return v, ok
}

func (r *run) Parent() cel.Activation { return nil }
