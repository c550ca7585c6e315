package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors"
	"raffsync/outbox"
)

const (
	maxSteps = 16
	maxCall  = 100
)

func steps(into *[]outbox.StepConfig) field {
	const takes = "a list of steps"
	return field{
		name: "steps", takes: takes, fallback: "one step, which has no name", inside: stepFields(new(outbox.StepConfig)), listed: true,
		doc: "What a delivery goes through, in this order: each once the one before is done. A later event of the ordering key waits for the last of them. Steps that are done are not done again, whatever happens.",
		decode: func(d *decoder, v value) {
			sequence, ok := v.node.(*ast.SequenceNode)
			if !ok {
				d.fail(v.at(), v.path, "found %s; expected %s", v.kind(), takes)
				return
			}
			if len(sequence.Values) == 0 || len(sequence.Values) > maxSteps {
				d.fail(v.at(), v.path, "found a list of %d; expected 1 to %d steps, or leave the field out", len(sequence.Values), maxSteps)
				return
			}
			for i, n := range sequence.Values {
				e := value{path: element(v.path, i), node: n}
				d.places[e.path] = e.at()
				*into = append(*into, d.step(e, *into))
			}
		},
	}
}

func (d *decoder) step(v value, before []outbox.StepConfig) outbox.StepConfig {
	s := outbox.StepConfig{IfExists: outbox.SkipExisting}
	d.object(v, stepFields(&s))
	if s.Name != "" && slices.ContainsFunc(before, func(o outbox.StepConfig) bool { return o.Name == s.Name }) {
		d.fail(d.places[join(v.path, "name")], v.path, "there is a step %q before; expected another name", s.Name)
	}
	if s.Effect != "" {
		return s
	}
	if at, given := d.places[join(v.path, "if_exists")]; given {
		d.fail(at, v.path, "if_exists is about an effect, and the step names none; expected effect beside it, or leave it out")
	}
	s.IfExists = ""
	return s
}

func stepFields(s *outbox.StepConfig) []field {
	ifExists := s.IfExists
	if ifExists == "" {
		ifExists = outbox.SkipExisting
	}
	fields := []field{
		name("name", &s.Name, "a name that no other step of the route has", "Later steps have its receipt by this name.").demanded(),
		text("call", &s.Call, maxCall, "the name of one of the destination's calls", "the one thing that it does", "What the destination does in this step."),
		text("effect", &s.Effect, 4096, `a text, as "order/${body.id}"`, "the event itself",
			"What the step brings about, by a name of the business, unique for the destination: whichever events have it, it is brought about once. Each `${…}` is CEL over `event` and `body`: what the platform gave and what tables say is refused, since it may be another thing tomorrow."),
		choice("if_exists", &s.IfExists, []outbox.IfExists{outbox.SkipExisting, outbox.UpdateExisting, outbox.RaiseExisting},
			"What becomes of the step where its effect is there already: it is done, it updates what is there unless that is the same, or a person decides (class EFFECT_EXISTS)."),
		mapField(&s.Map),
	}
	fields[3].fallback = string(ifExists)
	return fields
}

// mapField is any YAML, kept as JSON: the destination says what it means.
func mapField(into *json.RawMessage) field {
	const takes = "a mapping, as the destination reads it"
	return field{
		name: "map", takes: takes, fallback: "the destination's own",
		doc: "What the request is made of, in the destination's own terms.",
		decode: func(d *decoder, v value) {
			if raw, ok := d.settings(v); ok {
				*into = raw
			}
		},
	}
}

// plan has the route's destination plan its steps. A destination that plans nothing does
// one thing, and takes one step.
func (d *decoder) plan(path string, r *outbox.RouteConfig) {
	connector := d.connectors[r.To]
	if connector == nil { // said already
		return
	}
	planner, ok := connector.(connectors.Planner)
	if !ok && len(r.Steps) > 1 {
		d.fail(d.places[element(path, 1)], path, "destination %s does one thing; expected one step", r.To)
	}
	names := make([]string, 0, len(r.Steps))
	for _, s := range r.Steps {
		names = append(names, s.Name)
	}
	for i, s := range r.Steps {
		step := element(path, i)
		if !ok {
			for _, name := range []string{"call", "map"} {
				if at, given := d.places[join(step, name)]; given {
					d.fail(at, step, "destination %s does one thing, and takes no %s; leave it out", r.To, name)
				}
			}
			continue
		}
		if _, err := planner.Plan(connectors.StepConfig{Name: s.Name, Call: s.Call, Before: names[:i:i], Later: names[i:], Map: s.Map}); err != nil {
			d.planProblem(step, err)
		}
	}
}

// planProblem places what a destination finds wrong with a step.
func (d *decoder) planProblem(step string, err error) {
	for _, cause := range causes(err) {
		var wrong *connectors.PlanError
		if !errors.As(cause, &wrong) {
			d.fail(d.places[step], step, "%s", firstLine(cause.Error()))
			continue
		}
		at, path := d.nearest(value{path: step, key: d.places[step]}, wrong.Path)
		if text, ok := d.references[join(step, wrong.Path)]; ok && wrong.Line > 0 {
			at = d.within(at, text, wrong.Line, wrong.Column)
		}
		d.fail(at, path, "%s", firstLine(wrong.Message))
	}
}

// planner keeps the connector of a destination, for its routes' steps. Where its secrets
// are not looked at, one with others serves: it sends nothing.
func (d *decoder) planner(name string, connector connectors.Destination, kinds connectors.Registry, kind string, o connectors.Options) {
	if connector == nil {
		o.Secret = func(string) (string, error) { return placeholder, nil }
		var err error
		if connector, err = kinds.New(kind, o); err != nil {
			return
		}
	}
	if connector != nil {
		d.connectors[name] = connector
	}
}

// placeholder has the form of a signing secret.
const placeholder = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func stepProperties(all []property, steps []outbox.StepConfig) []property {
	if len(steps) == 0 {
		return all
	}
	var names string
	for i, s := range steps {
		if i > 0 {
			names += ", "
		}
		names += s.Name
	}
	all = append(all, plain("steps", names))
	for _, s := range steps {
		path := join("steps", s.Name)
		for _, p := range []property{plain("call", s.Call), plain("effect", s.Effect), plain("if_exists", string(s.IfExists)), {"map", string(s.Map), "…"}} {
			if p.raw != "" {
				p.name = fmt.Sprintf("%s.%s", path, p.name)
				all = append(all, p)
			}
		}
	}
	return all
}
