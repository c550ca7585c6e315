package broker

import (
	"fmt"
	"regexp"
	"strings"
)

// pattern takes one type ("order.created"), every type below a prefix ("order.*",
// which does not take "order" itself), or all: the zero value.
type pattern struct {
	text   string // the type, or the prefix with its dot
	prefix bool
}

// typeText is the rule of Event.type in proto/raffsync/v1/ingest.proto.
var typeText = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*$`)

func parsePattern(s string) (pattern, error) {
	p := pattern{text: s}
	name := s
	if stem, ok := strings.CutSuffix(s, ".*"); ok {
		p, name = pattern{text: stem + ".", prefix: true}, stem
	}
	if !typeText.MatchString(name) {
		return pattern{}, fmt.Errorf("%q is no type; write one like \"order.created\", a prefix like \"order.*\", or leave types out to take all", s)
	}
	return p, nil
}

func (p pattern) all() bool { return p.text == "" }

func (p pattern) matches(eventType string) bool {
	if p.prefix {
		return strings.HasPrefix(eventType, p.text)
	}
	return p.all() || p.text == eventType
}

// covers tells whether p takes everything that q takes.
func (p pattern) covers(q pattern) bool {
	switch {
	case p.all():
		return true
	case q.all():
		return false
	case p.prefix:
		return strings.HasPrefix(q.text, p.text)
	default:
		return !q.prefix && p.text == q.text
	}
}

// overlaps tells whether some type is taken by both: of two patterns that share a
// type, one covers the other.
func (p pattern) overlaps(q pattern) bool { return p.covers(q) || q.covers(p) }
