package recipe

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/rules"
)

// given is what a destination says: the settings of kind "recipe".
type given struct {
	recipe   *document
	settings map[string]string
	auth     json.RawMessage
}

var givenFields = []field[given]{
	{
		rules.Setting{
			Name: "recipe", Takes: "the name of a recipe that ships, or a recipe", Required: true, Inside: described(recipeFields),
			Doc: "How the platform is spoken to.",
		},
		func(p *problems, path string, raw json.RawMessage, g *given) {
			g.recipe = &document{path: path}
			if raw[0] == '"' {
				name := p.line(path, raw, maxLine)
				if raw = p.shipped(path, name); raw == nil {
					return
				}
			}
			object(p, path, raw, recipeFields, g.recipe)
		},
	},
	{
		rules.Setting{Name: "settings", Takes: "a mapping of the recipe's settings", Fallback: "their defaults", Doc: "What the recipe wants to know. Secrets are references (env:, file:)."},
		func(p *problems, path string, raw json.RawMessage, g *given) {
			g.settings = p.texts(path, raw, maxText)
		},
	},
	{
		rules.Setting{Name: "auth", Takes: "a mapping", Fallback: "the recipe's", Doc: "How requests are authorised, beside what the recipe says of it."},
		func(p *problems, path string, raw json.RawMessage, g *given) {
			if _, ok := p.mapping(path, raw, "a mapping"); ok {
				g.auth = raw
			}
		},
	},
}

// Fields describes what a destination of kind "recipe" says, for a reference.
func Fields() []rules.Setting { return described(givenFields) }

func readGiven(p *problems, raw json.RawMessage) *given {
	g := &given{}
	object(p, "", raw, givenFields, g)
	return g
}

// ReadLimits tells what the platform of a destination bears, by its settings. It says
// nothing where they are wrong: [Factory] does.
func ReadLimits(settings json.RawMessage) Limits {
	p := &problems{}
	g := readGiven(p, settings)
	if g.recipe == nil {
		return Limits{}
	}
	return g.recipe.limits
}

// resolve gives the recipe's settings their values.
func (c *compiler) resolve(given map[string]string, secretOf func(string) (string, error)) {
	c.visible, c.secrets = map[string]string{}, map[string]secret{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !c.declared(name) {
			c.fail("settings."+name, "there is no such setting; expected one of %s", c.settingNames())
		}
	}
	for _, s := range c.settings {
		value, ok := given[s.name]
		path := "settings." + s.name
		switch {
		case !ok && s.required:
			c.fail("settings", "%q is missing: %s", s.name, s.doc)
		case !ok && s.fallback:
			c.visible[s.name] = s.otherwise
		case !ok:
		case !s.secret && isReference(value):
			c.fail(path, "is no secret, and is shown; expected the value itself, not a reference")
		case !s.secret:
			c.visible[s.name] = value
		case !isReference(value):
			c.fail(path, "expected a reference, env:NAME or file:PATH, not the secret itself") // which it may be: not repeated
		default:
			text, err := secretOf(value)
			if err != nil {
				// Apart from what is wrong with the recipe: whoever checks may leave secrets alone.
				c.unresolved = append(c.unresolved, &settingError{path, err})
				text = ""
			}
			c.secrets[s.name] = newSecret(strings.TrimRight(text, "\r\n")) // files end in one
		}
	}
}

// settingError is why a secret can't be had.
type settingError struct {
	path string
	err  error
}

func (e *settingError) Error() string { return e.path + ": " + e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

func isReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}

// readTraits tells what the recipe promises of the platform.
func (c *compiler) readTraits() (t connectors.Traits) {
	t.Idempotent = c.d.key.header != ""
	if c.d.idempotent != nil {
		t.Idempotent = *c.d.idempotent
	}
	t.DeduplicationWindow = c.d.window
	if t.DeduplicationWindow > 0 && !t.Idempotent {
		c.fail(below(c.d.path, "deduplication_window"), "means nothing where the platform is not idempotent; expected idempotency_key, or idempotent: true")
		t.DeduplicationWindow = 0
	}
	return t
}

// checkKeys holds that the key arrives where the platform is said to go by it.
func (c *compiler) checkKeys(calls map[string]*call) {
	if !c.traits.Idempotent || c.d.key.header != "" {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		if one := calls[name]; one.effect() && !one.keyed {
			c.fail(one.path, "carries no idempotency key, and the recipe says idempotent; expected idempotency_key, or ${request.key} in its map")
		}
	}
}

// asks tells whether effects can be asked for.
func (c *compiler) asks() bool {
	for i := range c.d.calls {
		if d := &c.d.calls[i]; d.find != nil || d.update != nil && d.update.find != nil {
			return true
		}
	}
	return false
}

// checkQuestions holds that all calls can be asked about where one can: what a platform is
// asked about is never sent again without.
func (c *compiler) checkQuestions(calls map[string]*call) {
	if !c.asks() {
		return
	}
	const expected = "expected find, or repeatable: true where to make it twice comes to the same as once"
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		one := calls[name]
		if one.effect() && one.find == nil && !one.repeatable {
			c.fail(one.path, "has no find, and other calls have; "+expected)
		}
		if u := one.update; u != nil && u.find == nil && !u.repeatable {
			c.fail(u.path, "can't be asked about: find of the call proves that the effect is there, not that it is up to date; "+expected)
		}
	}
}
