package rules

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCompileLayers(t *testing.T) {
	for _, test := range []struct{ name, call, recipe, want string }{
		{"says otherwise", `[{"name": "a", "status": 404, "kind": "VALIDATION"}]`, `[{"name": "b", "status": 404, "kind": "REFERENCE_GONE"}]`, ""},
		{
			"a status blinds a body", `[{"name": "a", "status": "2xx", "kind": "DELIVERED"}]`, `[{"name": "b", "status": 200, "body": {"$.s": false}, "kind": "VALIDATION"}]`,
			`calls.x.rules[0]: takes the answer for a success before rules[0] ("b") can look into it`,
		},
		{"some statuses do", `[{"name": "a", "status": 201, "kind": "DELIVERED"}]`, `[{"name": "b", "body": {"$.s": false}, "kind": "VALIDATION"}]`, `calls.x.rules[0]: takes`},
		{"another status does not", `[{"name": "a", "status": 201, "kind": "DELIVERED"}]`, `[{"name": "b", "status": 200, "body": {"$.s": false}, "kind": "VALIDATION"}]`, ""},
		{"a condition does not", `[{"name": "a", "status": 200, "body": {"$.s": true}, "kind": "DELIVERED"}]`, `[{"name": "b", "status": 200, "body": {"$.s": false}, "kind": "VALIDATION"}]`, ""},
		{"each layer by itself", `[{"name": "a", "status": 4, "kind": "VALIDATION"}]`, `[{"name": "b", "kind": "NONE"}]`, "rules[0].kind: there is no kind"},
		{"declared otherwise", `[{"name": "a", "status": 409, "idempotent": false, "kind": "DUPLICATE"}]`, `[]`, "calls.x.rules[0].idempotent: is never reached"},
	} {
		_, err := CompileLayers([]Layer{{Path: "calls.x.rules", Rules: json.RawMessage(test.call)}, {Path: "rules", Rules: json.RawMessage(test.recipe)}}, nil, true)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestSet_Unproven(t *testing.T) {
	const success = `{"name": "ok", "status": 200, "body": {"$.s": true}, "kind": "DELIVERED"}`
	answer := func(status, body, kind string) string {
		return `{"name": "x", "status": ` + status + `, "body": ` + body + `, "expect": {"kind": "` + kind + `"}}`
	}
	taken := answer("200", `{"s": true}`, "DELIVERED")
	for _, test := range []struct {
		name, rules string
		answers     []string
		want        string
	}{
		{"no answer", success, nil, `no recorded answer shows that "ok" is a success`},
		{"no failure", success, []string{taken}, `no recorded answer tells "ok" from a failure`},
		{"a failure of another status", success, []string{taken, answer("500", `{}`, "UNCLASSIFIED")}, `from a failure`},
		{"both", success, []string{taken, answer("200", `{"s": false}`, "UNCLASSIFIED")}, ""},
		{"a status alone", `{"name": "ok", "status": 201, "kind": "DELIVERED"}`, []string{answer("201", `{}`, "DELIVERED")}, ""},
		{"no success of its own", `{"name": "no", "status": 422, "kind": "VALIDATION"}`, nil, ""},
	} {
		set, err := Compile(json.RawMessage("["+test.rules+"]"), nil, true)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := ReadAnswers(json.RawMessage("[" + strings.Join(test.answers, ",") + "]"))
		if err != nil {
			t.Fatal(err)
		}
		wrong := set.Unproven(answers)
		if test.want == "" && len(wrong) > 0 || test.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0].Message, test.want) || set.Path(wrong[0].Index) != "rules[0]") {
			t.Errorf("%s: %v, want %q", test.name, wrong, test.want)
		}
	}
}
