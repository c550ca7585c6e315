package mapping

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// segment is a part of a text: as it stands, or what an expression gives.
type segment struct {
	literal    string
	expression *expression // nil: the literal
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

// place is where an expression begins in a text: counted from 1, in characters.
type place struct{ line, column int }

func (p place) after(text string) place {
	for _, c := range text {
		p.column++
		if c == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	return p
}

// in moves an error of an expression to where it is in the text around it.
func (p place) in(err error) error {
	syntax, ok := err.(*SyntaxError)
	if !ok {
		return err
	}
	moved := *syntax
	if moved.Line == 1 {
		moved.Column += p.column - 1
	}
	moved.Line += p.line - 1
	return &moved
}

// closing finds the } that ends an expression: not one of a map, a text or a comment
// inside. It is -1 where there is none.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '{':
			depth++
		case c == '}':
			if depth == 0 {
				return i
			}
			depth--
		case c == '\'' || c == '"':
			length := quoted(s[i:], isRaw(s[:i]))
			if length < 0 {
				return -1
			}
			i += length
			continue
		case strings.HasPrefix(s[i:], "//"):
			end := strings.IndexByte(s[i:], '\n')
			if end < 0 {
				return -1
			}
			i += end
		}
		i++
	}
	return -1
}

// isRaw tells whether a text that follows is one of r'…', where \ is only a sign.
func isRaw(before string) bool {
	word := before[len(strings.TrimRightFunc(before, isWordRune)):]
	return slices.Contains([]string{"r", "br", "rb"}, strings.ToLower(word))
}

func isWordRune(c rune) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// quoted is the length of the text of CEL that s begins with, or -1.
func quoted(s string, raw bool) int {
	quote := s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s, triple) {
		quote = triple
	}
	for i := len(quote); i < len(s); i++ {
		switch {
		case s[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(s[i:], quote):
			return i + len(quote)
		}
	}
	return -1
}
