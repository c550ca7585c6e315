package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Layer is a list of rules, and where it is written.
type Layer struct {
	// Path is what errors begin with: "rules", "calls.invoice.rules".
	Path string
	// Rules is a JSON list; absent for none.
	Rules json.RawMessage
	// Another: they are not the user's own, and no answer of the user's has to reach them.
	Another bool
}

// CompileLayers makes a set of several lists of rules, the first layer before the others,
// and of those that ship, as [Compile] does. A layer may say otherwise than those behind
// it; it may not take for a success, by the status alone, what a later one knows for a
// failure by the body.
func CompileLayers(layers []Layer, shipped *Shipped, idempotent bool) (*Set, error) {
	s := &Set{shipped: shipped}
	var errs []error
	for _, layer := range layers {
		p := &parser{}
		all := p.rules(layer.Path, layer.Rules)
		if len(p.errs) > 0 {
			errs = append(errs, p.errs...)
			continue // what is wrong by itself can't be compared
		}
		for i, r := range all {
			if r.idempotent != nil && *r.idempotent != idempotent {
				p.fail(element(layer.Path, i)+".idempotent", "is never reached: the destination is declared otherwise")
			}
			if by := s.blinds(&r); by >= 0 {
				p.fail(s.paths[by], "takes the answer for a success before %s (%q) can look into it; expected conditions that tell a success from a failure", element(layer.Path, i), r.name)
			}
		}
		for i, r := range all {
			s.rules, s.paths = append(s.rules, r), append(s.paths, element(layer.Path, i))
		}
		errs = append(errs, p.errs...)
		if !layer.Another {
			s.own = len(s.rules)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if shipped != nil {
		s.rules = appendFor(slices.Clip(s.rules), shipped.rules, idempotent)
	}
	return s, nil
}

// blinds gives the rule of an earlier layer that takes for a success what r, which looks
// into the answer, knows for a failure; -1 where there is none.
func (s *Set) blinds(r *rule) int {
	if r.kind == delivered || r.onlyStatus() {
		return -1
	}
	for i := range s.rules {
		o := &s.rules[i]
		if o.kind == delivered && (r.implies(o) || o.onlyStatus() && r.statuses().meets(o.statuses()) && o.statuses().meets(success)) {
			return i
		}
	}
	return -1
}

// Path is where one of the set's own rules is written.
func (s *Set) Path(rule int) string { return s.paths[rule] }

// Unproven are the set's own rules for success that the recorded answers do not hold to it:
// none of the answers is decided by the rule, or it has conditions beside the status and
// none of its statuses was recorded with a failure.
func (s *Set) Unproven(answers []Recorded) []Wrong {
	var all []Wrong
	for i := range s.own {
		r := &s.rules[i]
		if r.kind != delivered {
			continue
		}
		reached, failed := false, r.onlyStatus()
		for _, a := range answers {
			v, by := s.classify(a.Answer)
			reached = reached || by == i
			failed = failed || v.Kind != delivered && r.statuses().has(a.Answer.Status)
		}
		switch {
		case !reached:
			all = append(all, Wrong{i, r.name, fmt.Sprintf("no recorded answer shows that %q is a success; expected one in answers", r.name)})
		case !failed:
			all = append(all, Wrong{i, r.name, fmt.Sprintf("no recorded answer tells %q from a failure; expected one in answers that has its status and fails", r.name)})
		}
	}
	return all
}
