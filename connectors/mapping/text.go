package mapping

import (
	"context"
	"strings"
)

// Text is a compiled text such as "order/${body.data.id}". It may be used from many
// goroutines at once.
type Text struct {
	segments []segment
	body     bool
}

// segment is a part of a text: as it stands, or what an expression gives.
type segment struct {
	literal    string
	expression *expression // nil: the literal
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

// segments splits a text at its expressions. $${ stands for ${.
func (c *compiler) segments(text string) ([]segment, error) {
	var all []segment
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			all = append(all, segment{literal: literal.String()})
			literal.Reset()
		}
	}
	at := place{1, 1}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			literal.WriteString(rest)
			flush()
			return all, nil
		}
		at = at.after(before).after("${")
		if escaped, is := strings.CutSuffix(before, "$"); is {
			literal.WriteString(escaped + "${")
			rest = after
			continue
		}
		literal.WriteString(before)
		flush()
		end := closing(after)
		if end < 0 {
			begin := place{at.line, at.column - 2}
			return nil, begin.in(&SyntaxError{Line: 1, Column: 1, Message: "the expression that begins here has no end: a } is missing, or a quote; $${ writes ${"})
		}
		compiled, err := c.expression(after[:end])
		if err != nil {
			return nil, at.in(err)
		}
		all = append(all, segment{expression: compiled})
		at = at.after(after[:end]).after("}")
		rest = after[end+1:]
	}
}
