package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is wrong with rules, and where, is in cmd/raffsync/config/testdata/rules-*.

func TestCompile_Reach(t *testing.T) {
	for _, test := range []struct{ name, rules, want string }{
		{"other statuses", `[{"name": "a", "status": "4xx", "kind": "VALIDATION"}, {"name": "b", "status": [400, 500], "kind": "VALIDATION"}]`, ""},
		{"a class covers its statuses", `[{"name": "a", "status": "4xx", "kind": "VALIDATION"}, {"name": "b", "status": [400, 404], "kind": "VALIDATION"}]`, `rules[1]: is never reached: "a"`},
		{"no status covers all", `[{"name": "a", "headers": {"X": "1"}, "kind": "VALIDATION"}, {"name": "b", "status": 400, "headers": {"x": [1]}, "kind": "VALIDATION"}]`, `rules[1]: is never reached`},
		{"fewer values", `[{"name": "a", "body": {"$.a": ["x", "y"]}, "kind": "VALIDATION"}, {"name": "b", "body": {"$['a']": "x"}, "kind": "VALIDATION"}]`, `rules[1]: is never reached`},
		{"more values", `[{"name": "a", "body": {"$.a": ["x", "y"]}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.a": ["x", "z"]}, "kind": "VALIDATION"}]`, ""},
		{"another path", `[{"name": "a", "body": {"$.a": "x"}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.b": "x"}, "kind": "VALIDATION"}]`, ""},
		{"a value that matches", `[{"name": "a", "body": {"$.a": {"matches": "^x"}}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.a": "xy"}, "kind": "VALIDATION"}]`, `rules[1]: is never reached`},
		{"existence covers any test", `[{"name": "a", "body": {"$.a": {"exists": true}}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.a": {"contains": "x"}}, "kind": "VALIDATION"}]`, `rules[1]: is never reached`},
		{"absence does not", `[{"name": "a", "body": {"$.a": {"exists": true}}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.a": {"exists": false}}, "kind": "VALIDATION"}]`, ""},
		{"a part of the text", `[{"name": "a", "body": {"$.a": {"contains": "X"}}, "kind": "VALIDATION"}, {"name": "b", "body": {"$.a": {"contains": "axb"}}, "kind": "VALIDATION"}]`, `rules[1]: is never reached`},
		{"two cover one", `[{"name": "a", "status": "400-449", "kind": "VALIDATION"}, {"name": "b", "status": "450-499", "kind": "VALIDATION"}, {"name": "c", "status": "4xx", "body": {"$.a": 1}, "kind": "VALIDATION"}]`, `rules[2]: is never reached: earlier rules`},
		{"nothing is success", `[{"name": "a", "kind": "VALIDATION"}]`, `leaves nothing to be a success`},
		{"something is success", `[{"name": "a", "status": 201, "body": {"$.a": 1}, "kind": "DELIVERED"}, {"name": "b", "kind": "VALIDATION"}]`, ""},
		{"one status of 2xx is none", `[{"name": "a", "status": 204, "kind": "REFERENCE_GONE"}]`, ""},
		{"no rules", `[]`, ""},
		{"no list", `{}`, `rules: expected a list`},
	} {
		_, err := Compile(json.RawMessage(test.rules), nil, true)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		var typed *Error
		if err != nil && !errors.As(err, &typed) {
			t.Errorf("%s: %T is no *Error", test.name, err)
		}
	}
}

// A rule that is called unreachable decides nothing: tried with random rules over few
// statuses, paths and values, so that they meet, against random answers.
func TestCovering_IsTrue(t *testing.T) {
	values := []string{"x", "xy", "z", "1"}
	value := rapid.SampledFrom(values)
	drawTest := rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 5).Draw(t, "test") {
		case 0:
			return value.Draw(t, "equals")
		case 1:
			return rapid.SliceOfN(value, 1, 3).Draw(t, "one of")
		case 2:
			return map[string]any{"exists": rapid.Bool().Draw(t, "exists")}
		case 3:
			return map[string]any{"contains": value.Draw(t, "contains")}
		case 4:
			return map[string]any{"matches": "^" + value.Draw(t, "matches")}
		}
		return map[string]any{"contains": "x", "one_of": []string{"x", value.Draw(t, "or")}}
	})
	drawRule := rapid.Custom(func(t *rapid.T) map[string]any {
		r := map[string]any{"kind": "VALIDATION"}
		if statuses := rapid.SliceOfN(rapid.SampledFrom([]string{"400", "401", "4xx", "400-401"}), 0, 2).Draw(t, "status"); len(statuses) > 0 {
			r["status"] = statuses
		} else {
			r["status"] = "400-999"
		}
		if tests := rapid.MapOfN(rapid.SampledFrom([]string{"$.a", "$.b", "$..a"}), drawTest, 0, 2).Draw(t, "body"); len(tests) > 0 {
			r["body"] = tests
		}
		if rapid.Bool().Draw(t, "with header") {
			r["headers"] = map[string]any{"X-A": drawTest.Draw(t, "header")}
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(drawRule, 2, 4).Draw(t, "rules")
		for i := range all {
			all[i]["name"] = fmt.Sprint(i)
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		p := &parser{}
		read := list(p, "rules", raw, maxRules, ruleFields)
		if len(p.errs) > 0 {
			t.Skip(p.errs)
		}
		set := &Set{rules: read}
		for range 20 {
			a := Answer{Status: rapid.SampledFrom([]int{400, 401, 402, 500}).Draw(t, "status"), Cut: rapid.Bool().Draw(t, "cut")}
			if rapid.Bool().Draw(t, "has header") {
				a.Header = http.Header{"X-A": rapid.SliceOfN(value, 1, 2).Draw(t, "header")}
			}
			body := map[string]any{}
			for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 2).Draw(t, "names") {
				body[name] = rapid.SampledFrom([]any{"x", "xy", "z", 1, nil, map[string]any{"a": "x"}}).Draw(t, "value")
			}
			if a.Body, err = json.Marshal(body); err != nil {
				t.Fatal(err)
			}
			if _, by := set.classify(a); by >= 0 {
				if message := covering(read[:by], &read[by]); message != "" {
					t.Fatalf("rule %d decides %d %v %s, and %s", by, a.Status, a.Header, a.Body, message)
				}
			}
		}
	})
}

// A path that is taken selects no node of a body twice, whatever it is.
func TestParsePath_VisitsOnce(t *testing.T) {
	var nodes func(v any) int
	nodes = func(v any) (n int) {
		switch v := v.(type) {
		case map[string]any:
			for _, one := range v {
				n += nodes(one)
			}
		case []any:
			for _, one := range v {
				n += nodes(one)
			}
		}
		return n + 1
	}
	deep := strings.Repeat(`{"a":[`, 32) + strings.Repeat(`]}`, 32)
	wide := `[` + strings.Repeat(`{"a": 1, "b": [1, 2]},`, 300) + `0]`
	for _, path := range []string{
		"$", "$..*", "$.*.*.*", "$..['a','b']", "$[*].b[*]", "$..a[*]", "$[0:300:1]", "$..[?@.a == 1].b[*]", "$[?@.a]..*", "$..[0]", `$["..*$?"]`, "$[?@.a == '..*$?:,[']",
		"$..[?@.a || @.b].a", "$[*,*]", "$..*..*", "$[0,-1]", "$['a','a']", "$[0:1,0:1]", "$..[?@..a]", "$[?$..a]", "$[?@[*]]", "$[?@['a','b']]", "$[?@[?@.a]]", "$[?@[0:2]]", "$[?match(@.a, @.b)]", "$[?count(@.*) > 1]",
	} {
		parsed, err := ParsePath(path)
		refused := strings.Contains("$[*,*] $..*..* $[0,-1] $['a','a'] $[0:1,0:1] $..[?@..a] $[?$..a] $[?@[*]] $[?@['a','b']] $[?@[?@.a]] $[?@[0:2]] $[?match(@.a, @.b)] $[?count(@.*) > 1] ", path+" ") && path != "$"
		if (err != nil) != refused {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for _, body := range []string{deep, wide} {
			in := inspected{Answer: Answer{Body: []byte(body)}}
			if parsed != nil && len(parsed.Select(in.document())) > nodes(in.document()) {
				t.Errorf("%s selects more nodes than there are", path)
			}
		}
	}
}

// Whatever is written is compiled, or refused with a place.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(own))
	for _, seed := range []string{`[{"name": "a", "body": {"$[?@.a == \"\\\"*\"]": [1, true, "x"]}, "kind": "STALE"}]`, `[{"status": [[1]]}]`, `[null]`, `null`, ``, `[{"body": {"$": {}}}]`, `[{"headers": {"": null}}]`} {
		f.Add([]byte(seed))
	}
	answers := []Answer{{Status: 200}, {Status: 422, Body: []byte(`{"a": [{"b": "x"}], "code": "c"}`), Header: http.Header{"X": {"\xff"}}}, {Status: 500, Body: []byte(`{"a": [`), Cut: true}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, err := Compile(raw, shippedForTests, true)
		var typed *Error
		if err != nil && (!errors.As(err, &typed) || typed.Path == "" || typed.Message == "") {
			t.Fatalf("%v", err)
		}
		if err == nil {
			for _, a := range answers {
				if v := set.Classify(a); v.Kind == 0 || v.Rule == "" {
					t.Fatalf("%+v", v)
				}
			}
		}
	})
}
