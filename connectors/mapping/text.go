package mapping

import "context"

// Text is a compiled text such as "order/${body.data.id}". It may be used from many
// goroutines at once.
type Text struct {
	segments []segment
}

// CompileText compiles a text. Its error is a [*SyntaxError] wherever an expression is at
// fault.
func CompileText(text string, env *Environment) (*Text, error) {
	segments, err := compileSegments(text, env)
	if err != nil {
		return nil, err
	}
	return &Text{segments: segments}, nil
}

// Render renders the text. Where it reads something that is not there, or null, its error
// is an [*AbsentError]. An error never quotes the body. While look-ups are missing, the
// text is of no use.
func (t *Text) Render(ctx context.Context, s *Scope) (string, []Miss, error) {
	r := &run{ctx: ctx, scope: s}
	text, err := r.text(t.segments)
	if err != nil {
		return "", nil, err
	}
	if text == absent {
		return "", nil, &AbsentError{}
	}
	return text.(string), r.missing, nil
}
