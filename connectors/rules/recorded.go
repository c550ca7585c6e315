package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	maxAnswers = 200
	maxTitle   = 120
)

// Recorded is an answer that a platform gave once, and what it must come to.
type Recorded struct {
	Name   string
	Answer Answer
	Kind   raffsyncv1.OutcomeKind
	// Expect are the other parts of the verdict, by name ("rule", "code", "field",
	// "receipt", "retry_after"). What is not there may be anything.
	Expect map[string]string
}

// AnswerSettings describes the fields of a recorded answer.
func AnswerSettings() []Setting { return settings(answerFields) }

var answerFields = []field[Recorded]{
	{
		Setting{Name: "name", Takes: "one line of text", Required: true, Doc: "What it is an answer to."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			a.Name, _ = p.short(path, raw, maxTitle)
		},
	},
	{
		Setting{Name: "status", Takes: "a status, 100 to 999", Required: true, Doc: "Of the answer."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			if json.Unmarshal(raw, &a.Answer.Status) != nil || a.Answer.Status < 100 || a.Answer.Status > maxStatus {
				p.fail(path, "expected a status, 100 to %d", maxStatus)
			}
		},
	},
	{
		Setting{Name: "headers", Takes: "a mapping of headers to texts", Fallback: "none", Doc: "Those that matter."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			var found map[string]json.RawMessage
			if json.Unmarshal(raw, &found) != nil {
				p.fail(path, "expected a mapping of headers to texts")
			}
			a.Answer.Header = http.Header{}
			for name, value := range found {
				if _, err := parseHeader(name); err != nil {
					p.fail(path+"."+name, "%s", err)
				}
				if text, ok := scalarText(value); ok {
					a.Answer.Header.Add(name, text)
				} else {
					p.fail(path+"."+name, "expected a text")
				}
			}
		},
	},
	{
		Setting{Name: "body", Takes: "a text, or anything else, which becomes JSON", Fallback: "empty", Doc: "The body as it came. What is no secret: recorded answers stand in the file."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			a.Answer.Body = raw
			if text, ok := scalarText(raw); ok && raw[0] == '"' {
				a.Answer.Body = []byte(text)
			}
		},
	},
	{
		Setting{Name: "expect", Takes: "a mapping", Required: true, Inside: settings(expectFields), Doc: "What it must come to."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			a.Expect = map[string]string{}
			object(p, path, raw, expectFields, a)
		},
	},
}

var expectFields = []field[Recorded]{
	{
		Setting{Name: "kind", Takes: "a kind of outcome", Required: true, Doc: "The kind."},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) { a.Kind = p.kind(path, raw) },
	},
	expected("rule", "The name of the rule that decides."),
	expected("code", `The code, "" for none.`),
	expected("field", `The field, "" for none.`),
	expected("receipt", `The receipt, "" for none.`),
	expected("retry_after", "What is found where the rule's `retry_after` says."),
}

func expected(name, doc string) field[Recorded] {
	return field[Recorded]{
		Setting{Name: name, Takes: "a text", Fallback: anyCondition, Doc: doc},
		func(p *parser, path string, raw json.RawMessage, a *Recorded) {
			text, ok := scalarText(raw)
			if !ok {
				p.fail(path, "expected a text")
			}
			a.Expect[name] = text
		},
	}
}

// ReadAnswers reads a JSON list of recorded answers. Its error joins an [*Error] for
// each thing that is wrong, with paths from "answers".
func ReadAnswers(raw json.RawMessage) ([]Recorded, error) {
	p := &parser{}
	all := list(p, "answers", raw, maxAnswers, answerFields)
	return all, errors.Join(p.errs...)
}

// Report is what recorded answers say of a set.
type Report struct {
	// Wrong are the answers that come to something else than they must.
	Wrong []Wrong
	// Unreached are the indices of the destination's own rules that decide none of the
	// answers; of all rules in [Shipped.Check].
	Unreached []int
}

// Wrong is a recorded answer that does not come to what it must.
type Wrong struct {
	Index   int // among the answers
	Name    string
	Message string
}

// Check classifies recorded answers.
func (s *Set) Check(answers []Recorded) Report {
	var report Report
	reached := map[int]bool{}
	for i, a := range answers {
		v, by := s.classify(a.Answer)
		reached[by] = true
		if message := a.compare(v); message != "" {
			report.Wrong = append(report.Wrong, Wrong{i, a.Name, message})
		}
	}
	for i := range s.own {
		if !reached[i] {
			report.Unreached = append(report.Unreached, i)
		}
	}
	return report
}

// compare says what is other than it must be.
func (a *Recorded) compare(v Verdict) string {
	var differs []string
	got := map[string]string{"rule": v.Rule, "code": v.Code, "field": v.Field, "receipt": v.Receipt, "retry_after": v.RetryAfter}
	if v.Kind != a.Kind {
		differs = append(differs, fmt.Sprintf("comes to %s by rule %q, expected %s", kindName(v.Kind), v.Rule, kindName(a.Kind)))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Expect)) {
		if got[name] != a.Expect[name] {
			differs = append(differs, fmt.Sprintf("has %s %q, expected %q", name, got[name], a.Expect[name]))
		}
	}
	return strings.Join(differs, "; ")
}

// Name is the name of one of the set's rules.
func (s *Set) Name(rule int) string { return s.rules[rule].name }
