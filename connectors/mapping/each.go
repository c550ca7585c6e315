package mapping

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// element is what stands in a list: it adds none, one or many values.
type element interface {
	add(r *run, to []any) ([]any, error)
}

// elements compiles a list.
func (c *compiler) elements(doc []any, path string) ([]element, error) {
	all := make([]element, 0, len(doc))
	for i, each := range doc {
		at := fmt.Sprintf("%s/%d", path, i)
		fields, ok := each.(map[string]any)
		if !ok {
			compiled, err := c.part(each, at)
			if err != nil {
				return nil, err
			}
			all = append(all, &one{compiled})
			continue
		}
		compiled, err := c.element(fields, at)
		if err != nil {
			return nil, err
		}
		all = append(all, compiled)
	}
	return all, nil
}

func (c *compiler) element(doc map[string]any, path string) (element, error) {
	each, loops := doc[eachName]
	if !loops {
		if _, ok := doc[indexName]; ok {
			return nil, &TemplateError{Path: path + "/" + indexName, Err: errors.New("$index names the place in an $each, and there is none")}
		}
		return c.once(doc, path)
	}
	at := path + "/" + eachName
	binding, ok := each.(map[string]any)
	if !ok || len(binding) != 1 {
		return nil, &TemplateError{Path: at, Err: errors.New("$each takes one variable and its list, like {line: \"${body.lines}\"}; another $each goes into a $splice inside")}
	}
	l := &loop{}
	var err error
	for variable, source := range binding {
		l.variable = variable
		if l.list, err = c.sole(source, pointer(at, variable), "$each takes one expression that gives a list, like ${body.lines}", cel.ListType(cel.DynType)); err != nil {
			return nil, err
		}
	}
	names := []string{l.variable}
	if index, ok := doc[indexName]; ok {
		if l.index, ok = index.(string); !ok {
			return nil, &TemplateError{Path: path + "/" + indexName, Err: errors.New("$index takes a name for the place in the list")}
		}
		names = append(names, l.index)
	}
	inside := &compiler{body: c.body}
	if inside.env, err = c.env.With(names...); err != nil {
		return nil, &TemplateError{Path: at, Err: err}
	}
	if l.each, err = inside.once(doc, path); err != nil {
		return nil, err
	}
	return l, nil
}

// once compiles what an element adds each time.
func (c *compiler) once(doc map[string]any, path string) (element, error) {
	var body element
	if inner, ok := doc[spliceName]; ok {
		at := path + "/" + spliceName
		list, ok := inner.([]any)
		if !ok {
			return nil, &TemplateError{Path: at, Err: errors.New("$splice takes a list")}
		}
		for name := range doc {
			if name != spliceName && name != eachName && name != indexName && name != ifName {
				return nil, &TemplateError{Path: at, Err: fmt.Errorf("$splice is all that is added, so there can be no %s beside it", name)}
			}
		}
		elements, err := c.elements(list, at)
		if err != nil {
			return nil, err
		}
		body = splice(elements)
	} else {
		fields, err := c.fields(doc, path)
		if err != nil {
			return nil, err
		}
		body = &one{fields}
	}
	condition, err := c.condition(doc, path)
	if err != nil || condition == nil {
		return body, err
	}
	return &filter{condition, body}, nil
}

// one adds one value, or none where it is absent.
type one struct{ part part }

func (o *one) add(r *run, to []any) ([]any, error) {
	r.path = append(r.path, step{index: len(to)})
	v, err := o.part.render(r)
	if err != nil {
		return nil, err
	}
	r.path = r.path[:len(r.path)-1]
	if v == absent {
		return to, nil
	}
	return append(to, v), nil
}

type splice []element

func (s splice) add(r *run, to []any) ([]any, error) {
	var err error
	for _, e := range s {
		if to, err = e.add(r, to); err != nil {
			return nil, err
		}
	}
	return to, nil
}

type filter struct {
	condition *expression
	element   element
}

func (f *filter) add(r *run, to []any) ([]any, error) {
	if holds, err := r.holds(f.condition); err != nil || !holds {
		return to, err
	}
	return f.element.add(r, to)
}

// loop adds its element once for each value of a list.
type loop struct {
	variable, index string
	list            *expression
	each            element
}

func (l *loop) add(r *run, to []any) ([]any, error) {
	out, err := r.eval(l.list)
	switch {
	case err != nil:
		return nil, err
	case out == nil, out == types.NullValue, types.IsUnknown(out):
		return to, nil
	}
	list, ok := out.(traits.Lister)
	if !ok {
		return nil, fmt.Errorf("$each takes a list, and got %s", out.Type().TypeName())
	}
	depth := len(r.locals)
	r.locals = append(r.locals, local{name: l.variable}, local{name: l.index})
	for it, i := list.Iterator(), 0; it.HasNext() == types.True; i++ {
		if err := r.work(1); err != nil {
			return nil, err
		}
		r.locals[depth].value, r.locals[depth+1].value = it.Next(), types.Int(i)
		if to, err = l.each.add(r, to); err != nil {
			return nil, err
		}
	}
	r.locals = r.locals[:depth]
	return to, nil
}

// local is a variable of an $each that is being rendered.
type local struct {
	name  string
	value ref.Val
}
