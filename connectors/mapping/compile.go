package mapping

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

type segment struct {
	literal string
	program cel.Program // nil: the literal
}

func compilePart(doc any, path string, env *Environment) (part, error) {
	switch doc := doc.(type) {
	case map[string]any:
		o := &object{}
		for name := range doc {
			o.names = append(o.names, name)
		}
		slices.Sort(o.names)
		for _, name := range o.names {
			p, err := compilePart(doc[name], path+"/"+name, env)
			if err != nil {
				return nil, err
			}
			o.fields = append(o.fields, p)
		}
		return o, nil
	case []any:
		l := &list{}
		for i, element := range doc {
			p, err := compilePart(element, fmt.Sprintf("%s/%d", path, i), env)
			if err != nil {
				return nil, err
			}
			l.elements = append(l.elements, p)
		}
		return l, nil
	case string:
		segments, err := compileSegments(doc, env)
		if err != nil {
			return nil, &TemplateError{Path: path, Err: err}
		}
		return &text{segments: segments}, nil
	}
	return &constant{doc}, nil
}

func compileSegments(text string, env *Environment) ([]segment, error) {
	var all []segment
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			if text != "" {
				all = append(all, segment{literal: text})
			}
			return all, nil
		}
		if i > 0 {
			all = append(all, segment{literal: text[:i]})
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return nil, &SyntaxError{Line: 1, Column: i + 1, Message: "${ has no }"}
		}
		ast, issues := env.cel.Compile(text[i+2 : i+end])
		if issues.Err() != nil {
			return nil, &SyntaxError{Line: 1, Column: i + 3, Message: issues.Errors()[0].Message}
		}
		program, err := env.cel.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(interruptEvery))
		if err != nil {
			return nil, err
		}
		all = append(all, segment{program: program})
		text = text[i+end+1:]
	}
}
