package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors"
	"raffsync/connectors/rules"
	"raffsync/outbox"
)

// outcomeRules and recordedAnswers are lists that package rules reads: its tables are
// the format, and say what is in the reference.

func outcomeRules(c *outbox.DestinationConfig) field {
	return listed("rules", &c.Rules, "a list of rules", "the connector's own rules alone", rules.Settings(),
		"What answers mean, where the connector's own rules say otherwise or nothing. The first rule that matches decides; what none knows is UNCLASSIFIED: tried a few times, then an exception.")
}

func recordedAnswers(into *json.RawMessage) field {
	return listed("answers", into, "a list of recorded answers", "none", rules.AnswerSettings(),
		"Answers that the platform gave, and what they must come to: one that comes to something else is an error. They are checked with the file, and not applied.")
}

func listed(name string, into *json.RawMessage, takes, fallback string, settings []rules.Setting, doc string) field {
	return field{
		name: name, takes: takes, fallback: fallback, doc: doc, inside: described(settings), listed: true,
		decode: func(d *decoder, v value) {
			if _, ok := v.node.(*ast.SequenceNode); !ok {
				d.fail(v.at(), v.path, "found %s; expected %s", v.kind(), takes)
				return
			}
			before := len(d.problems)
			var b bytes.Buffer
			if d.json(&b, v); len(d.problems) == before {
				*into = b.Bytes()
			}
		},
	}
}

// described are fields for the reference alone.
func described(settings []rules.Setting) []field {
	var all []field
	for _, s := range settings {
		all = append(all, field{name: s.Name, takes: s.Takes, fallback: s.Fallback, doc: s.Doc, required: s.Required, inside: described(s.Inside), named: s.Named})
	}
	return all
}

// outcomes compiles a destination's rules and has its recorded answers classified.
func (d *decoder) outcomes(v value, c *outbox.DestinationConfig, answers json.RawMessage) {
	compile, ok := d.options.Rules[c.Kind]
	if !ok {
		if c.Rules != nil || answers != nil {
			d.fail(v.head(), v.path, "a destination of kind %s takes neither rules nor answers", c.Kind)
		}
		return
	}
	set, err := compile(connectors.Options{Name: v.name, Settings: c.Settings, Rules: c.Rules})
	recorded, err2 := rules.ReadAnswers(answers)
	for _, cause := range causes(errors.Join(err, err2)) {
		var wrong *rules.Error
		if errors.As(cause, &wrong) {
			at, path := d.nearest(v, wrong.Path)
			d.fail(at, path, "%s", wrong.Message)
		} else {
			d.fail(v.head(), v.path, "%s", cause)
		}
	}
	if err != nil || err2 != nil {
		return
	}
	report := set.Check(recorded)
	for _, wrong := range report.Wrong {
		at, path := d.nearest(v, element("answers", wrong.Index))
		d.fail(at, path, "%q %s", wrong.Name, wrong.Message)
	}
	for _, i := range report.Unreached {
		at, path := d.nearest(v, element("rules", i))
		d.warn(at, path, "no recorded answer reaches %q; add one to answers, so that it is known to work", set.Name(i))
	}
}

// shortPath bounds a path, whose parts may be of any length.
func shortPath(path string) string {
	const most = 160
	if runes := []rune(path); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return path
}

// nearest is where something below a value stands: the nearest that has a place.
func (d *decoder) nearest(v value, path string) (position, string) {
	whole := join(v.path, path)
	for path = whole; len(path) > len(v.path); path = path[:strings.LastIndexAny(path, ".[")] {
		if at, ok := d.places[path]; ok {
			return at, shortPath(whole)
		}
	}
	return v.head(), shortPath(whole)
}
