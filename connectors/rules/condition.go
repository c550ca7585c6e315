package rules

import (
	"regexp"
	"slices"
	"strings"
)

// test is what a value must be like. The zero test is: there is one.
type test struct {
	// absent: there must be none. Nothing else is set then.
	absent bool
	// among are the values that it may be; nil where any will do.
	among    []string
	contains string // in lower case
	matches  *regexp.Regexp
}

// holds tells it of a text as it is written. What is no single value, a list or a
// mapping, exists and is nothing else.
func (t *test) holds(text string, single bool) bool {
	if t.among == nil && t.contains == "" && t.matches == nil {
		return true
	}
	return single && t.fits(text)
}

func (t *test) fits(text string) bool {
	return (t.among == nil || slices.Contains(t.among, text)) &&
		(t.contains == "" || strings.Contains(strings.ToLower(text), t.contains)) &&
		(t.matches == nil || t.matches.MatchString(text))
}

// implies tells whether, provably, o holds of whatever t holds of.
func (t *test) implies(o *test) bool {
	if t.absent || o.absent {
		return t.absent == o.absent
	}
	if t.among != nil {
		return !slices.ContainsFunc(t.among, func(text string) bool { return !o.fits(text) })
	}
	return o.among == nil &&
		(o.contains == "" || strings.Contains(t.contains, o.contains)) &&
		(o.matches == nil || t.matches != nil && t.matches.String() == o.matches.String())
}
