package mapping

// part is a compiled value of a template.
type part interface {
	// render gives a value as Result has it, or absent.
	render(r *run) (any, error)
}

type absence struct{}

// absent is what a part gives that reads something that is not there.
var absent any = absence{}

// literal is a value as it stands.
type literal struct{ value any }

func (l *literal) render(r *run) (any, error) { return r.scalar(l.value) }

// value is what one expression gives, with its type.
type value struct{ expression *expression }

func (v *value) render(r *run) (any, error) {
	out, err := r.eval(v.expression)
	if err != nil {
		return nil, err
	}
	if out == nil {
		return r.nothing(), nil
	}
	return r.output(out, len(r.path))
}

// text is a text with expressions in it.
type text struct{ segments []segment }

func (t *text) render(r *run) (any, error) {
	out, err := r.text(t.segments)
	switch {
	case err != nil:
		return nil, err
	case out == absent:
		return r.nothing(), nil
	}
	return r.scalar(out)
}

type object struct {
	names  []string
	fields []part
}

func (o *object) render(r *run) (any, error) {
	if err := r.grow(3); err != nil {
		return nil, err
	}
	all := make(map[string]any, len(o.names))
	for i, field := range o.fields {
		r.path = append(r.path, step{name: o.names[i], index: -1})
		v, err := field.render(r)
		if err != nil {
			return nil, err
		}
		if v != absent {
			if err := r.grow(jsonLength(o.names[i]) + 2); err != nil {
				return nil, err
			}
			all[o.names[i]] = v
		}
		r.path = r.path[:len(r.path)-1]
	}
	return all, nil
}

type list struct{ elements []element }

func (l *list) render(r *run) (any, error) {
	if err := r.grow(3); err != nil {
		return nil, err
	}
	return anySlice(splice(l.elements).add(r, make([]any, 0, len(l.elements))))
}

// anySlice keeps a nil slice of an error from looking like a value.
func anySlice(all []any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return all, nil
}

// optional is a value under a condition.
type optional struct {
	condition *expression
	part      part
}

func (o *optional) render(r *run) (any, error) {
	if holds, err := r.holds(o.condition); err != nil || !holds {
		return absent, err
	}
	return o.part.render(r)
}
