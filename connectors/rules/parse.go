package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Bounds of what can be written.
const (
	maxRules      = 100
	maxConditions = 16
	maxValues     = 50
	maxName       = 60
	maxValue      = 200
	maxReason     = 200
)

// Error is one thing that is wrong with rules or answers as they are written.
type Error struct {
	// Path is where, from the top: "rules[2].status".
	Path string
	// Message says what is wrong and what was expected.
	Message string
}

func (e *Error) Error() string { return e.Path + ": " + e.Message }

// parser gathers all errors: one round of corrections, not seven.
type parser struct{ errs []error }

func (p *parser) fail(path, format string, args ...any) {
	p.errs = append(p.errs, &Error{path, fmt.Sprintf(format, args...)})
}

// field is one setting of a rule: how it is read, and what is said of it.
type field[T any] struct {
	Setting
	read func(p *parser, path string, raw json.RawMessage, into *T)
}

// list reads each element by its fields.
func list[T any](p *parser, path string, raw json.RawMessage, most int, fields []field[T]) []T {
	if len(raw) == 0 {
		return nil
	}
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil || len(elements) > most {
		p.fail(path, "expected a list of at most %d mappings", most)
		return nil
	}
	all := make([]T, len(elements))
	for i, element := range elements {
		object(p, fmt.Sprintf("%s[%d]", path, i), element, fields, &all[i])
	}
	return all
}

func object[T any](p *parser, path string, raw json.RawMessage, fields []field[T], into *T) {
	var found map[string]json.RawMessage
	if json.Unmarshal(raw, &found) != nil || found == nil {
		p.fail(path, "expected a mapping with %s", strings.Join(names(fields), ", "))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.Name == name })
		if i < 0 {
			p.fail(path+"."+name, "there is no such field; expected one of %s", strings.Join(names(fields), ", "))
			continue
		}
		fields[i].read(p, path+"."+name, found[name], into)
	}
	for _, f := range fields {
		if _, given := found[f.Name]; f.Required && !given {
			p.fail(path, "%q is missing; expected %s", f.Name, f.Takes)
		}
	}
}

func names[T any](fields []field[T]) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
}

// scalarText is a text, number, true or false as it is written.
func scalarText(raw json.RawMessage) (string, bool) {
	var text string
	switch {
	case len(raw) == 0:
		return "", false
	case raw[0] == '"':
		return text, json.Unmarshal(raw, &text) == nil
	case raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
		return "", false
	}
	return string(raw), true
}

// short reads one line of text of up to so many bytes.
func (p *parser) short(path string, raw json.RawMessage, most int) (string, bool) {
	text, ok := scalarText(raw)
	if !ok || text == "" || len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		p.fail(path, "expected one line of text, of 1 to %d bytes", most)
		return "", false
	}
	return text, true
}

func (p *parser) kind(path string, raw json.RawMessage) raffsyncv1.OutcomeKind {
	name, _ := scalarText(raw)
	kind := raffsyncv1.OutcomeKind(raffsyncv1.OutcomeKind_value[kindPrefix+name])
	if kind == 0 {
		p.fail(path, "there is no kind %q; expected one of %s", name, strings.Join(kinds(), ", "))
	}
	return kind
}

const kindPrefix = "OUTCOME_KIND_"

// kinds are the names of all kinds, in the order of the contract.
func kinds() []string {
	var all []string
	for _, number := range slices.Sorted(maps.Keys(raffsyncv1.OutcomeKind_name)) {
		if number != 0 {
			all = append(all, kindName(raffsyncv1.OutcomeKind(number)))
		}
	}
	return all
}

func kindName(kind raffsyncv1.OutcomeKind) string {
	return strings.TrimPrefix(kind.String(), kindPrefix)
}

func (p *parser) place(path string, raw json.RawMessage) place {
	text, ok := p.short(path, raw, maxPath)
	if !ok {
		return place{}
	}
	found, err := parsePlace(text)
	if err != nil {
		p.fail(path, "%s", err)
	}
	return found
}

// conditions reads a mapping of names to tests.
func (p *parser) conditions(path string, raw json.RawMessage, each func(name string, t test) error) {
	var found map[string]json.RawMessage
	if json.Unmarshal(raw, &found) != nil || len(found) == 0 || len(found) > maxConditions {
		p.fail(path, "expected a mapping of 1 to %d names to tests", maxConditions)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if err := each(name, p.test(path+"."+name, found[name])); err != nil {
			p.fail(path+"."+name, "%s", err)
		}
	}
}

// test reads a value, a list of them, or a mapping of tests.
func (p *parser) test(path string, raw json.RawMessage) (t test) {
	switch {
	case len(raw) > 0 && raw[0] == '[':
		t.among = p.values(path, raw)
	case len(raw) > 0 && raw[0] == '{':
		w := writtenTest{}
		object(p, path, raw, testFields, &w)
		if w.test.absent && w.more || len(w.test.among) > 0 && !slices.ContainsFunc(w.test.among, w.test.fits) {
			p.fail(path, "contradicts itself: no value passes all of its tests")
		}
		if !w.given {
			p.fail(path, "expected at least one of %s", strings.Join(names(testFields), ", "))
		}
		return w.test
	default:
		if value, ok := scalarText(raw); ok && len(value) <= maxValue {
			t.among = []string{value}
		} else {
			p.fail(path, "expected a value of at most %d bytes, a list of them, or a mapping with %s", maxValue, strings.Join(names(testFields), ", "))
		}
	}
	return t
}

func (p *parser) values(path string, raw json.RawMessage) []string {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil || len(elements) == 0 || len(elements) > maxValues {
		p.fail(path, "expected a list of 1 to %d values", maxValues)
		return nil
	}
	all := make([]string, 0, len(elements))
	for i, element := range elements {
		value, ok := scalarText(element)
		if !ok || len(value) > maxValue {
			p.fail(fmt.Sprintf("%s[%d]", path, i), "expected a text, a number, true or false, of at most %d bytes", maxValue)
			continue
		}
		all = append(all, value)
	}
	return all
}

func parseHeader(name string) (string, error) {
	if !headerName.MatchString(name) {
		return "", errors.New("is not the name of a header")
	}
	return http.CanonicalHeaderKey(name), nil
}

func (p *parser) expression(path string, raw json.RawMessage) *regexp.Regexp {
	text, ok := p.short(path, raw, maxValue)
	if !ok {
		return nil
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		p.fail(path, "is no regular expression (RE2): %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	return compiled
}
