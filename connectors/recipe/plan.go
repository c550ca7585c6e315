package recipe

import (
	"fmt"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
)

// plan is what a route's step does: a call, with the route's map or the recipe's.
type plan struct {
	call           *call
	create, update *mapping.Template
	// keyed: it reads request.key.
	keyed bool
	// unrelated: it can't update, since it says nothing of what is there.
	unrelated bool
}

// Plan implements [connectors.Planner].
func (d *destination) Plan(s connectors.StepConfig) (any, error) {
	chosen := d.calls[s.Call]
	switch {
	case s.Call == "" && d.only == nil:
		return nil, &connectors.PlanError{Path: "call", Message: "is missing; expected one of " + d.callNames()}
	case s.Call == "":
		chosen = d.only.call
	case chosen == nil:
		return nil, &connectors.PlanError{Path: "call", Message: fmt.Sprintf("there is no call %q; expected one of %s", cut(s.Call), d.callNames())}
	}
	if s.Map == nil {
		return d.planned(chosen, s)
	}
	if chosen.encoding == asNothing {
		return nil, &connectors.PlanError{Path: "map", Message: fmt.Sprintf("call %s has no body, so a map is never sent", chosen.name)}
	}
	doc, err := tree(s.Map)
	if _, ok := doc.(map[string]any); err != nil || !ok {
		return nil, &connectors.PlanError{Path: "map", Message: "expected a mapping"}
	}
	c := d.compiler()
	if s.Before != nil {
		c.env.calls = c.env.calls.WithSteps(s.Before...)
	}
	p := &plan{call: chosen, create: c.template("map", doc), keyed: chosen.keyed || mentions(doc, "request")}
	if chosen.update != nil {
		p.update = c.template("map", overlaid(doc, chosen.update.doc))
		p.unrelated = chosen.update.needsExisting && !mentions(doc, "existing")
	}
	if len(c.errs) > 0 {
		wrong := c.errs[0].(*Error) // it makes no other
		return nil, &connectors.PlanError{Path: wrong.Path, Line: wrong.Line, Column: wrong.Column, Message: wrong.Message}
	}
	return p, nil
}

// planned is a call with the recipe's own map.
func (d *destination) planned(c *call, s connectors.StepConfig) (*plan, error) {
	if c.template == nil && c.encoding != asNothing && c.encoding != asGraphQL {
		return nil, &connectors.PlanError{Path: "map", Message: fmt.Sprintf("is missing; the recipe has none for call %s", c.name)}
	}
	p := &plan{call: c, create: c.template, keyed: c.keyed}
	read := expressions(c.doc)
	if c.update != nil {
		p.update = c.update.template
		read = append(read, expressions(c.update.doc)...)
	}
	// A recipe's map leaves out what a route has no step for. Where the route has it, and later,
	// that would be lost without a word.
	for _, expression := range read {
		if name := waitsFor(expression, s.Later); name != "" {
			there := "there is none before this one"
			if len(s.Before) > 0 {
				there = "those before this one are " + strings.Join(s.Before, ", ")
			}
			return nil, &connectors.PlanError{Path: "call", Message: fmt.Sprintf("call %s reads the receipt of step %q, and no step before this one is named so: %s", c.name, name, there)}
		}
	}
	return p, nil
}

// waitsFor is a step of these that an expression reads, unless it asks whether there is one.
func waitsFor(expression string, steps []string) string {
	asked, read := make(map[string]bool), ofStep.FindAllStringSubmatch(expression, -1)
	for _, m := range read {
		asked[m[2]] = asked[m[2]] || m[1] != ""
	}
	for _, m := range read {
		if slices.Contains(steps, m[2]) && !asked[m[2]] {
			return m[2]
		}
	}
	return ""
}
