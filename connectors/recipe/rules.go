package recipe

import (
	"embed"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"raffsync/connectors"
	"raffsync/connectors/rules"
)

var (
	//go:embed rules.yaml
	rulesYAML []byte
	//go:embed answers.yaml
	answersYAML []byte
	//go:embed recipes
	recipes embed.FS
)

// usual are the rules behind those of every recipe, with recorded answers.
var usual = sync.OnceValues(func() (*rules.Shipped, error) { return rules.Ship(rulesYAML, answersYAML) })

// Shipped are the names of the recipes that ship.
func Shipped() []string {
	var all []string
	entries, _ := recipes.ReadDir("recipes")
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			all = append(all, name)
		}
	}
	return all
}

// Source is a recipe that ships, as YAML; false where there is none of the name.
func Source(name string) ([]byte, bool) {
	if !slices.Contains(Shipped(), name) {
		return nil, false
	}
	content, err := recipes.ReadFile("recipes/" + name + ".yaml")
	return content, err == nil
}

func (p *problems) shipped(path, name string) json.RawMessage {
	content, ok := Source(name)
	if !ok {
		there := "none ship"
		if all := Shipped(); len(all) > 0 {
			there = "there is " + strings.Join(all, ", ")
		}
		p.fail(path, "no recipe %q ships: %s; expected one of them, or a mapping with url and calls", cut(name), there)
		return nil
	}
	encoded, err := yaml.YAMLToJSON(content)
	if err != nil {
		p.fail(path, "the recipe %s is no YAML: %s", name, err)
		return nil
	}
	return encoded
}

// Rules compiles what answers mean to a destination: its own rules, then those of its
// recipe, then those of any recipe. It needs no secret; other settings may be wrong.
func Rules(o connectors.Options) (*rules.Set, error) {
	shipped, err := usual()
	if err != nil {
		return nil, err
	}
	layers := []rules.Layer{{Path: "rules", Rules: o.Rules}}
	idempotent := false
	if o.Settings != nil {
		p := &problems{}
		if g := readGiven(p, o.Settings); g.recipe != nil && len(p.errs) == 0 {
			c := &compiler{d: g.recipe}
			idempotent = c.readTraits().Idempotent
			layers = append(layers, rules.Layer{Path: below(g.recipe.path, "rules"), Rules: g.recipe.rules, Another: true})
		}
	}
	return rules.CompileLayers(layers, shipped, idempotent)
}

// rules are those of a call: the destination's own, the call's, the recipe's.
func (c *compiler) rules(d *callDocument) *rules.Set {
	return c.set([]rules.Layer{{Path: below(d.path, "rules"), Rules: d.rules}, {Path: below(c.d.path, "rules"), Rules: c.d.rules}})
}

func (c *compiler) set(layers []rules.Layer) *rules.Set {
	shipped, err := usual()
	if err != nil {
		c.add(err)
		return nil
	}
	set, err := rules.CompileLayers(append([]rules.Layer{{Path: "rules", Rules: c.own}}, layers...), shipped, c.traits.Idempotent)
	c.addRules(err)
	return set
}

// addRules takes up what is wrong with rules and answers, once: the recipe's are compiled
// for each call.
func (c *compiler) addRules(err error) {
	for _, one := range joined(err) {
		var wrong *rules.Error
		switch {
		case one == nil:
		case errors.As(one, &wrong):
			if !slices.ContainsFunc(c.errs, func(e error) bool { return e.Error() == one.Error() }) {
				c.fail(wrong.Path, "%s", wrong.Message)
			}
		default:
			c.add(one)
		}
	}
}

// joined are the errors in one.
func joined(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}

// check compiles the question whether the connection works.
func (c *compiler) check(d *callDocument) *call {
	made := c.request(d)
	made.question, made.rules = true, c.rules(d)
	return made
}

// checkAnswers classifies the recorded answers, those of the recipe by its rules and those
// of a call by that call's, and holds the rules for success to them.
func (c *compiler) checkAnswers(d *destination) {
	if len(c.errs) > 0 {
		return // rules that are wrong prove nothing
	}
	own := c.own
	c.own = nil // a user's rules are held to the user's answers
	defer func() { c.own = own }()
	recipeOnly := c.set([]rules.Layer{{Path: below(c.d.path, "rules"), Rules: c.d.rules}})
	c.answers(c.d.path, c.d.answers, recipeOnly)
	documents := make([]*callDocument, 0, len(c.d.calls)+1)
	for i := range c.d.calls {
		documents = append(documents, &c.d.calls[i])
	}
	if c.d.check != nil {
		documents = append(documents, c.d.check)
	}
	for _, one := range documents {
		if one.rules != nil || one.answers != nil {
			c.answers(one.path, one.answers, c.rules(one))
		}
	}
}

func (c *compiler) answers(path string, raw json.RawMessage, set *rules.Set) {
	recorded, err := rules.ReadAnswers(raw)
	if err != nil {
		for _, one := range joined(err) {
			var wrong *rules.Error
			if errors.As(one, &wrong) {
				c.fail(below(path, wrong.Path), "%s", wrong.Message)
			}
		}
		return
	}
	for _, wrong := range set.Check(recorded).Wrong {
		c.fail(below(path, "answers")+"["+strconv.Itoa(wrong.Index)+"]", "%q %s", wrong.Name, wrong.Message)
	}
	for _, wrong := range set.Unproven(recorded) {
		if at := set.Path(wrong.Index); strings.HasPrefix(at, below(path, "rules")+"[") {
			c.fail(at, "%s", wrong.Message)
		}
	}
}
