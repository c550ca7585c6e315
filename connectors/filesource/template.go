package filesource

import (
	"fmt"
	"strings"
)

// template is a text with columns in it, "customer/{CustomerID}". Alternatives are
// parted by "|": the first one whose columns all have a value is taken.
type template []alternative

type alternative []part

// part is a literal or, where column is set, a column's value.
type part struct {
	literal string
	column  string
}

// row gives a line's value of a column: empty where it has none.
type row func(column string) (string, error)

func parseTemplate(text string) (template, error) {
	var t template
	var current alternative
	rest := text
	for {
		i := strings.IndexAny(rest, "{}|")
		if i < 0 {
			i = len(rest)
		}
		if i > 0 {
			current = append(current, part{literal: rest[:i]})
		}
		rest = rest[i:]
		switch {
		case rest == "" || rest[0] == '|':
			if len(current) == 0 {
				return nil, fmt.Errorf("%q has an empty alternative: write at least one column or text on each side of \"|\"", text)
			}
			t = append(t, current)
			if rest == "" {
				return t, nil
			}
			current, rest = nil, rest[1:]
		case rest[0] == '}':
			return nil, fmt.Errorf("%q has a \"}\" without a \"{\": write a column as {Name}", text)
		default:
			column, after, closed := strings.Cut(rest[1:], "}")
			if !closed || column == "" || strings.Contains(column, "{") {
				return nil, fmt.Errorf("%q has a \"{\" without its column: write a column as {Name}", text)
			}
			current, rest = append(current, part{column: column}), after
		}
	}
}

// parseColumn takes a column's bare name as well as a template.
func parseColumn(text string) (template, error) {
	if text != "" && !strings.ContainsAny(text, "{}") {
		return template{{{column: text}}}, nil
	}
	return parseTemplate(text)
}

// columns are the names that the template uses.
func (t template) columns() []string {
	var names []string
	for _, a := range t {
		for _, p := range a {
			if p.column != "" {
				names = append(names, p.column)
			}
		}
	}
	return names
}

// expand is the first alternative whose columns all have a value, or "" where there
// is none.
func (t template) expand(r row) (string, error) {
next:
	for _, a := range t {
		if len(a) == 1 && a[0].column != "" {
			value, err := r(a[0].column)
			if err != nil || value != "" {
				return value, err
			}
			continue
		}
		var b strings.Builder
		for _, p := range a {
			if p.column == "" {
				b.WriteString(p.literal)
				continue
			}
			value, err := r(p.column)
			if err != nil {
				return "", err
			}
			if value == "" {
				continue next
			}
			b.WriteString(value)
		}
		return b.String(), nil
	}
	return "", nil
}

// matches says whether the text fits the pattern, in which "*" stands for any text
// and "?" for one character.
func matches(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j, star, mark := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
