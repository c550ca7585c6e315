package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors/recipe"
	"raffsync/outbox"
)

// recipeKind is the one kind whose settings are several fields of the destination: the
// recipe, and beside it what its user says.
const recipeKind = "recipe"

// recipeKindFields are those fields.
func recipeKindFields(c *outbox.DestinationConfig, beside *besides) []field {
	var all []field
	for _, s := range recipe.Fields() {
		f := field{name: s.Name, takes: s.Takes, fallback: s.Fallback, doc: s.Doc, inside: described(s.Inside)}
		if s.Name == recipeKind {
			f.fallback = "another kind"
		}
		f.decode = func(d *decoder, v value) {
			switch {
			case s.Name != recipeKind:
				d.conceal(v.node)
			case c.Kind != "":
				d.fail(v.key, v.parent(), "found a second kind, %q beside %q; expected exactly one", s.Name, c.Kind)
				return
			default:
				c.Kind = recipeKind
				d.concealLiterals(v.node)
			}
			_, text := v.node.(*ast.StringNode)
			if v.kind() != "a mapping" && (s.Name != recipeKind || !text) {
				d.fail(v.at(), v.path, "found %s; expected %s", v.kind(), s.Takes)
				return
			}
			before := len(d.problems)
			var b bytes.Buffer
			if d.json(&b, v); len(d.problems) == before {
				if beside.recipe == nil {
					beside.recipe = map[string]json.RawMessage{}
				}
				beside.recipe[s.Name] = b.Bytes()
			}
		}
		all = append(all, f)
	}
	return all
}

// concealLiterals keeps what holds no expression out of excerpts: it may be a credential
// that should have been a secret setting.
func (d *decoder) concealLiterals(n ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, entry := range entries(n) {
			d.concealLiterals(entry.Value)
		}
	case *ast.SequenceNode:
		for _, element := range n.Values {
			d.concealLiterals(element)
		}
	default:
		if text, ok := scalar(n); !ok || !strings.Contains(text, "${") {
			d.conceal(n)
		}
	}
}

// recipe puts the settings of a recipe together, and takes the limits of its platform
// where the file says none.
func (d *decoder) recipe(v value, c *outbox.DestinationConfig, beside *besides) {
	switch {
	case c.Kind != recipeKind:
		for _, name := range slices.Sorted(maps.Keys(beside.recipe)) {
			if c.Kind != "" {
				d.fail(d.names[join(v.path, name)], v.path, "%q belongs beside a recipe; a destination of kind %s has none", name, c.Kind)
			}
		}
		return
	case beside.recipe[recipeKind] == nil:
		return // said already
	}
	encoded, err := json.Marshal(beside.recipe)
	if err != nil {
		d.fail(v.head(), v.path, "%s", err)
		return
	}
	c.Settings = encoded
	d.platformLimits(v, c, recipe.ReadLimits(encoded))
}

// platformLimits fills in what the recipe says of its platform. A file that says more is
// told so: it may know better, as of a simulator.
func (d *decoder) platformLimits(v value, c *outbox.DestinationConfig, most recipe.Limits) {
	given := func(name string) bool { _, is := d.places[join(v.path, name)]; return is }
	more := func(name, has, bears string) {
		path := join(v.path, name)
		d.warn(d.places[path], path, "%s is more than the %s that the platform bears, by its recipe", has, bears)
	}
	switch {
	case most.Concurrency == 0:
	case !given("limits.concurrency"):
		c.Concurrency = most.Concurrency
	case c.Concurrency > most.Concurrency:
		more("limits.concurrency", fmt.Sprint(c.Concurrency), fmt.Sprint(most.Concurrency))
	}
	switch {
	case most.Rate == "":
	case !given("limits.rate"):
		c.Rate = outbox.Rate(most.Rate)
	default:
		has, err := c.Rate.Every()
		bears, err2 := outbox.Rate(most.Rate).Every()
		if err == nil && err2 == nil && has < bears {
			more("limits.rate", string(c.Rate), most.Rate)
		}
	}
	if most.Burst > 0 && !given("limits.burst") {
		c.Burst = most.Burst
	}
	switch {
	case most.Quota == "":
	case !given("limits.quota"):
		c.Quota = outbox.Quota(most.Quota)
	default:
		has, period, err := c.Quota.Limit()
		bears, of, err2 := outbox.Quota(most.Quota).Limit()
		if err == nil && err2 == nil && period == of && has > bears {
			more("limits.quota", string(c.Quota), most.Quota)
		}
	}
	if most.Timeout > 0 && !given("timeout") {
		c.Timeout = min(most.Timeout, maxTimeout)
	}
}

// recipeProblem places what is wrong with a recipe.
func (d *decoder) recipeProblem(v value, wrong *recipe.Error) {
	at, path := d.nearest(v, wrong.Path)
	if text, is := d.references[join(v.path, wrong.Path)]; is && wrong.Line > 0 {
		at = d.within(at, text, wrong.Line, wrong.Column)
	}
	d.fail(at, path, "%s", wrong.Message)
}
