package rules

import (
	"encoding/json"
	"slices"
	"strings"
)

// Setting describes one field of rules or of recorded answers, for a reference.
type Setting struct {
	Name string
	// Takes says what is expected, Fallback what holds where it is left out.
	Takes, Fallback, Doc string
	Required             bool
	// Inside are the fields of what is in it, below names of the user's if Named.
	Inside []Setting
	Named  bool
}

const (
	anyCondition = "anything"
	placeTakes   = "a JSON path, or the name of a header"
)

// Settings describes the fields of a rule.
func Settings() []Setting { return settings(ruleFields) }

func settings[T any](fields []field[T]) []Setting {
	var all []Setting
	for _, f := range fields {
		all = append(all, f.Setting)
	}
	return all
}

var ruleFields = []field[rule]{
	{
		Setting{Name: "name", Takes: "one line of text", Required: true, Doc: "Unique; the outcome's rule in timeline and exceptions. Exceptions group by rule, code and field."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.name, _ = p.short(path, raw, maxName) },
	},
	{
		Setting{Name: "status", Takes: statusTakes, Fallback: anyCondition, Doc: "The answer's status is one of these."},
		func(p *parser, path string, raw json.RawMessage, r *rule) {
			var err error
			if r.status, err = readStatuses(raw); err != nil {
				p.fail(path, "%s", err)
			}
		},
	},
	{
		Setting{Name: "headers", Takes: "a mapping of headers to tests", Fallback: anyCondition, Doc: "Each test holds of one of the header's values. The tests are those of `body`."},
		func(p *parser, path string, raw json.RawMessage, r *rule) {
			p.conditions(path, raw, func(name string, t test) error {
				name, err := parseHeader(name)
				if slices.ContainsFunc(r.headers, func(c headerCondition) bool { return c.name == name }) {
					p.fail(path, "%s stands there twice", name)
				}
				r.headers = append(r.headers, headerCondition{name, t})
				return err
			})
		},
	},
	{
		Setting{
			Name: "body", Takes: "a mapping of JSON paths (RFC 9535) to tests", Fallback: anyCondition, Inside: settings(testFields), Named: true,
			Doc: "Each test holds of one of the nodes that the path selects in the first 256 KiB. A test is a value, a list of which it is one, or a mapping; NAME is the path.",
		},
		func(p *parser, path string, raw json.RawMessage, r *rule) {
			p.conditions(path, raw, func(text string, t test) error {
				parsed, err := ParsePath(text)
				r.body = append(r.body, bodyCondition{parsed, t})
				return err
			})
		},
	},
	{
		Setting{Name: "idempotent", Takes: "true or false", Fallback: anyCondition, Doc: "The destination is declared so."},
		func(p *parser, path string, raw json.RawMessage, r *rule) {
			if json.Unmarshal(raw, &r.idempotent) != nil {
				p.fail(path, "expected true or false")
			}
		},
	},
	{
		Setting{Name: "kind", Takes: "a kind of outcome", Required: true, Doc: "What the attempt came to: " + strings.Join(kinds(), ", ") + "."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.kind = p.kind(path, raw) },
	},
	{
		Setting{Name: "reason", Takes: "one line of text", Fallback: "the name", Doc: "What it means, for people."},
		func(p *parser, path string, raw json.RawMessage, r *rule) {
			r.reason, _ = p.short(path, raw, maxReason)
		},
	},
	{
		Setting{Name: "code", Takes: placeTakes, Fallback: "the usual places", Doc: "Where the platform's code stands."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.code = p.place(path, raw) },
	},
	{
		Setting{Name: "field", Takes: placeTakes, Fallback: "the usual places", Doc: "Where the name of the wrong field stands."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.field = p.place(path, raw) },
	},
	{
		Setting{Name: "receipt", Takes: placeTakes, Fallback: "`$.id` of a success", Doc: "Where the id stands that the platform gave to what it made."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.receipt = p.place(path, raw) },
	},
	{
		Setting{Name: "retry_after", Takes: placeTakes, Fallback: "`Retry-After`", Doc: "Where it stands how long to wait: seconds, or an HTTP date."},
		func(p *parser, path string, raw json.RawMessage, r *rule) { r.retryAfter = p.place(path, raw) },
	},
}

// writtenTest is a test with what was written of it.
type writtenTest struct {
	test
	// given: anything; more: anything but exists.
	given, more bool
}

var testFields = []field[writtenTest]{
	{
		Setting{Name: "exists", Takes: "true or false", Fallback: "true", Doc: "There is one, other than null."},
		func(p *parser, path string, raw json.RawMessage, t *writtenTest) {
			var exists bool
			if json.Unmarshal(raw, &exists) != nil {
				p.fail(path, "expected true or false")
			}
			t.given, t.absent = true, !exists
		},
	},
	{
		Setting{Name: "equals", Takes: "a value", Fallback: anyCondition, Doc: "It is this, as it is written."},
		func(p *parser, path string, raw json.RawMessage, t *writtenTest) {
			t.restrict(p, path, p.values(path, append(append([]byte{'['}, raw...), ']')))
		},
	},
	{
		Setting{Name: "one_of", Takes: "a list of values", Fallback: anyCondition, Doc: "It is one of these."},
		func(p *parser, path string, raw json.RawMessage, t *writtenTest) {
			t.restrict(p, path, p.values(path, raw))
		},
	},
	{
		Setting{Name: "contains", Takes: "a text", Fallback: anyCondition, Doc: "It holds this, in capitals or not."},
		func(p *parser, path string, raw json.RawMessage, t *writtenTest) {
			text, _ := p.short(path, raw, maxValue)
			t.given, t.more, t.contains = true, true, strings.ToLower(text)
		},
	},
	{
		Setting{Name: "matches", Takes: "a regular expression (RE2)", Fallback: anyCondition, Doc: "It matches, somewhere, in its first KiB."},
		func(p *parser, path string, raw json.RawMessage, t *writtenTest) {
			t.given, t.more, t.matches = true, true, p.expression(path, raw)
		},
	},
}

// restrict leaves the values that are in both lists.
func (t *writtenTest) restrict(p *parser, path string, values []string) {
	if t.among != nil {
		values = slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(t.among, v) })
		if len(values) == 0 {
			p.fail(path, "contradicts the other values: it can't be both")
		}
	}
	t.given, t.more, t.among = true, true, values
}
