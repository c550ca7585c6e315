package recipe_test

import (
	"strings"
	"testing"

	"raffsync/connectors/auth"
	"raffsync/connectors/recipe"
)

// A recipe may know several ways to be authorised; the user's kind picks one.
func TestRecipe_Ways(t *testing.T) {
	ways := []any{
		map[string]any{"kind": "api_key", "place": map[string]any{"name": "X-Key"}},
		map[string]any{"kind": "basic", "username": "shop"},
	}
	for name, c := range map[string]struct {
		ways  any
		given map[string]any
		kind  string
		err   string
	}{
		"TheFirst":          {ways, map[string]any{"key": "env:TOKEN"}, "api_key", ""},
		"ByKind":            {ways, map[string]any{"kind": "basic", "password": "env:TOKEN"}, "basic", ""},
		"OneOfTheUsersOwn":  {ways, map[string]any{"kind": "none"}, "none", ""},
		"OfTheOther":        {ways, map[string]any{"kind": "basic", "key": "env:TOKEN"}, "", `takes no "key"`},
		"TwiceOneKind":      {append(ways, ways[0]), map[string]any{"key": "env:TOKEN"}, "", "recipe.auth[2]: there is a way of kind api_key before"},
		"WithoutAKind":      {[]any{map[string]any{"username": "shop"}}, nil, "", "recipe.auth[0]: kind is missing"},
		"None":              {[]any{}, nil, "", "expected a mapping with a kind, or a list of them"},
		"ATextAmongThem":    {[]any{"basic"}, nil, "", "recipe.auth[0]"},
		"OneThatIsOverlaid": {map[string]any{"kind": "basic", "username": "shop"}, map[string]any{"password": "env:TOKEN"}, "basic", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ledger(t, func(r map[string]any) { r["auth"] = c.ways })
			settings := settingsOf(r)
			if c.given != nil {
				settings["auth"] = c.given
			}
			d, err := recipe.Factory(options(t, settings))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if kind := d.(auth.Authenticated).Authenticator().(auth.Connector).Kind(); kind != c.kind {
				t.Errorf("it is authorised by %s, want %s", kind, c.kind)
			}
		})
	}
}
