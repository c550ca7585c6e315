package rules

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
)

// Shipped is a connector's own rules, with recorded answers that hold them to what
// they are for.
type Shipped struct {
	rules []rule
	// answers are of destinations that are declared idempotent, others of those that
	// are not.
	answers, others []Recorded
}

// Ship reads a connector's rules, a YAML list, and its recorded answers: two lists in
// a mapping, "idempotent" and "not_idempotent".
func Ship(rulesYAML, answersYAML []byte) (*Shipped, error) {
	var lists struct {
		Idempotent    json.RawMessage `json:"idempotent"`
		NotIdempotent json.RawMessage `json:"not_idempotent"`
	}
	rulesJSON, err := yaml.YAMLToJSON(rulesYAML)
	if err != nil {
		return nil, fmt.Errorf("shipped rules: %w", err)
	}
	answersJSON, err := yaml.YAMLToJSON(answersYAML)
	if err != nil {
		return nil, fmt.Errorf("shipped answers: %w", err)
	}
	if err := json.Unmarshal(answersJSON, &lists); err != nil {
		return nil, fmt.Errorf("shipped answers: %w", err)
	}
	p, s := &parser{}, &Shipped{}
	s.rules = p.rules("rules", rulesJSON)
	var err2 error
	s.answers, err = ReadAnswers(lists.Idempotent)
	s.others, err2 = ReadAnswers(lists.NotIdempotent)
	return s, errors.Join(append(p.errs, err, err2)...)
}

// Answers are the recorded answers of destinations that are declared so.
func (s *Shipped) Answers(idempotent bool) []Recorded {
	if idempotent {
		return s.answers
	}
	return s.others
}

// Check classifies the recorded answers: what is wrong, and the names of rules that
// decide none of them.
func (s *Shipped) Check() (wrong []Wrong, unreached []string) {
	reached := map[string]bool{}
	for _, idempotent := range []bool{true, false} {
		set := &Set{rules: appendFor(nil, s.rules, idempotent)}
		set.own = len(set.rules)
		answers := s.Answers(idempotent)
		report := set.Check(answers)
		wrong = append(wrong, report.Wrong...)
		missed := map[int]bool{}
		for _, i := range report.Unreached {
			missed[i] = true
		}
		for i, r := range set.rules {
			reached[r.name] = reached[r.name] || !missed[i]
		}
	}
	for _, r := range s.rules {
		if !reached[r.name] {
			unreached = append(unreached, r.name)
		}
	}
	return wrong, unreached
}
