package mapping

import (
	"context"
	"fmt"
)

// Template is a compiled map. It may be used from many goroutines at once.
type Template struct {
	root part
	body bool
}

// TemplateError says where in a template something is wrong, at load or when it was
// rendered.
type TemplateError struct {
	// Path is a JSON pointer: at load into the template, when rendered into what was to
	// be rendered.
	Path string
	Err  error
}

func (e *TemplateError) Error() string { return fmt.Sprintf("%s: %s", orRoot(e.Path), e.Err) }

func (e *TemplateError) Unwrap() error { return e.Err }

// AbsentError is told where a text reads something that is not there and has to give one
// all the same.
type AbsentError struct{}

func (*AbsentError) Error() string { return "it reads something that is not there" }

// CompileTemplate compiles a tree of decoded YAML or JSON (map[string]any, []any, string,
// bool, nil, numbers of any Go type and json.Number). Its error is a [*TemplateError],
// with a [*SyntaxError] inside wherever an expression is at fault.
func CompileTemplate(doc any, env *Environment) (*Template, error) {
	t := &Template{}
	var err error
	t.root, err = (&compiler{env: env, body: &t.body}).part(doc, "")
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Render renders the template. Its error is a [*TemplateError], with a [*BodyError] inside
// where it reads a payload of which nothing may be made, and an [*AbsentError] where the
// whole is absent. No error quotes the payload or what a look-up found.
func (t *Template) Render(ctx context.Context, s *Scope) (Result, error) {
	r, err := newRun(ctx, s, t.body)
	if err != nil {
		return Result{}, &TemplateError{Err: err}
	}
	return t.render(r)
}

func (t *Template) render(r *run) (Result, error) {
	value, err := t.root.render(r)
	if err == nil && value == absent {
		err = &AbsentError{}
	}
	if err != nil {
		return Result{}, &TemplateError{Path: r.pointer(), Err: err}
	}
	return Result{Value: value, Missing: r.missing}, nil
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
