package rules

import (
	"encoding/json"
	"slices"
)

// Compile makes a set of a destination's own rules, a JSON list, and those that ship
// with its connector; either may be absent. idempotent is what the destination is
// declared as. Its error joins an [*Error] for each thing that is wrong, with paths
// from "rules".
func Compile(own json.RawMessage, shipped *Shipped, idempotent bool) (*Set, error) {
	return CompileLayers([]Layer{{Path: "rules", Rules: own}}, shipped, idempotent)
}

// appendFor leaves out what is for destinations that are declared otherwise.
func appendFor(to, from []rule, idempotent bool) []rule {
	for _, r := range from {
		if r.idempotent == nil || *r.idempotent == idempotent {
			to = append(to, r)
		}
	}
	return to
}

func (p *parser) rules(path string, raw json.RawMessage) []rule {
	all := list(p, path, raw, maxRules, ruleFields)
	if len(p.errs) > 0 {
		return nil // what was not read can't be compared
	}
	for i := range all {
		r := &all[i]
		if r.reason == "" {
			r.reason = r.name
		}
		at := element(path, i)
		if slices.ContainsFunc(all[:i], func(o rule) bool { return o.name == r.name }) {
			p.fail(at+".name", "%q is the name of an earlier rule", r.name)
		}
		if by := covering(all[:i], r); by != "" {
			p.fail(at, "is never reached: %s", by)
		}
		if swallows(all[:i], r) {
			p.fail(at+".kind", "%s for every status 2xx leaves nothing to be a success; expected a rule before it that leads to DELIVERED", kindName(r.kind))
		}
	}
	return all
}
