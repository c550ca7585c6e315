package mapping

import (
	"context"
)

// Text is a compiled text such as "order/${body.data.id}". It may be used from many
// goroutines at once.
type Text struct {
	segments []segment
	body     bool
}

// CompileText compiles a text. Its error is a [*SyntaxError] wherever an expression is at
// fault, with a place in the text, ${ included.
func CompileText(text string, env *Environment) (*Text, error) {
	t := &Text{}
	var err error
	t.segments, err = (&compiler{env: env, body: &t.body}).segments(text)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Render renders the text. Where it reads something that is not there, or null, its error
// is an [*AbsentError]; where it reads a payload of which nothing may be made, a
// [*BodyError]. No error quotes the payload. While look-ups are missing, the text is of
// no use.
func (t *Text) Render(ctx context.Context, s *Scope) (string, []Miss, error) {
	r, err := newRun(ctx, s, t.body)
	if err != nil {
		return "", nil, err
	}
	text, err := r.text(t.segments)
	if err != nil {
		return "", nil, err
	}
	if text == absent {
		return "", nil, &AbsentError{}
	}
	return text.(string), r.missing, nil
}
