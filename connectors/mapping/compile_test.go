package mapping

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompileTemplate_Errors(t *testing.T) {
	env := Events().WithSteps("order", "confirm")
	for _, test := range []struct{ template, want string }{
		{`{a: "${evnt.id}"}`, "/a: line 1, column 3: undeclared reference to 'evnt' (did you mean 'event'?)"},
		{`{a: ["x ${body.n} ${event.tpye}"]}`, "/a/0: line 1, column 20: undefined field 'tpye'"},
		{"{a: \"é ${body.n +\\n  line.n}\"}", "/a: line 2, column 3: undeclared reference to 'line'"},
		{`{a: "${body.}"}`, "/a: line 1, column 8: Syntax error: no viable alternative at input '.'"},
		{`{a: "${}"}`, "/a: line 1, column 3: the expression ends too early"},
		{`{a: "x ${body.n"}`, "/a: line 1, column 3: the expression that begins here has no end: a } is missing, or a quote; $${ writes ${"},
		{`{a: "${'}"}`, "/a: line 1, column 1: the expression that begins here has no end: a } is missing, or a quote; $${ writes ${"},
		{`{a: "${lookup('sku')}"}`, "/a: line 1, column 9: found no matching overload for 'lookup' applied to '(string)'"},
		{`{a: "${lookup('', body.n)}"}`, "/a: line 1, column 10: lookup needs the name of a table"},
		{`{a: "${lookup('sku', body.n, {deflaut: 1})}"}`, "/a: line 1, column 26: the third argument of lookup is {default: …}"},
		{`{a: "${lookup('sku', body.n, 'x')}"}`, "/a: line 1, column 25: the third argument of lookup is {default: …}"},
		{`{a: "${lookup('sku', body.n, {default: 5})}"}`, "/a: line 1, column 35: the default of a look-up is a text, as its targets are"},
		{`{a: "${reference(11)}"}`, "/a: line 1, column 13: " + shortReference},
		{`{a: "${date(body.d, 'Jakarta', 'iso')}"}`, "/a: line 1, column 16: " + badZone},
		{`{a: "${date(body.d, 'UTC', 'DD/MM/YYYY')}"}`, "/a: line 1, column 23: " + badPattern},
		{`{a: "${money(1, 'RP')}"}`, "/a: line 1, column 12: " + unknownCurrency},
		{`{a: "${decimal(1) == 0}"}`, "/a: line 1, column 14: found no matching overload for '_==_' applied to '(decimal, int)'; write the whole number with a fraction, as in 0.0"},
		{`{a: "${double(1)}"}`, "/a: line 1, column 9: undeclared reference to 'double'"},
		{`{a: "${steps.ordr.receipt.id}"}`, `/a: line 1, column 8: no step before this one is named "ordr": those before this one are order, confirm`},
		{`{a: "${steps.order.number}"}`, `/a: line 1, column 14: a step has no "number": it is steps.order.receipt.…`},
		{`{a: [{$each: {l: "${body.l}"}, b: "${m}"}]}`, "/a/0/b: line 1, column 3: undeclared reference to 'm'"},
		{`{a: [{$each: {l: "${body.l}"}, b: 1}, "${l}"]}`, "/a/1: line 1, column 3: undeclared reference to 'l'"},
		{`{a: [{$each: {event: "${body.l}"}, b: 1}]}`, `/a/0/$each: "event" is the name of a variable already`},
		{`{a: [{$each: {l: "${body.l}", m: "${body.m}"}, b: 1}]}`, "/a/0/$each: $each takes one variable and its list"},
		{`{a: [{$each: {l: "all ${body.l}"}, b: 1}]}`, "/a/0/$each/l: $each takes one expression that gives a list"},
		{`{a: [{$each: {l: "${event.id}"}, b: 1}]}`, "/a/0/$each/l: $each takes one expression that gives a list, like ${body.lines}; this gives string"},
		{`{a: {$each: {l: "${body.l}"}, b: 1}}`, "/a/$each: $each stands in a list: put a - before its map"},
		{`{a: {$splice: [1]}}`, "/a/$splice: $splice stands in a list"},
		{`{a: [{$splice: [1], b: 2}]}`, "/a/0/$splice: $splice is all that is added, so there can be no b beside it"},
		{`{a: [{$splice: 1}]}`, "/a/0/$splice: $splice takes a list"},
		{`{a: [{$index: i, b: 2}]}`, "/a/0/$index: $index names the place in an $each, and there is none"},
		{`{a: {$value: 1, b: 2}}`, "/a/$value: $value is the whole value, so there can be no b beside it"},
		{`{a: {$if: "${event.id}", b: 2}}`, "/a/$if: $if takes one expression that gives true or false, like ${line.quantity > 0}; this gives string"},
		{`{a: {$if: true, b: 2}}`, "/a/$if: $if takes one expression"},
		{`{a: {$when: 1}}`, "/a/$when: there is no $when: there are $each, $index, $if, $value and $splice; a field that is named so is written $$when"},
		{`{a: {"${body.n}": 1}}`, "/a/${body.n}: a field's name is plain text, without ${"},
		{`{a: 2026-11-23T10:00:00Z, b: .nan}`, "/b: it is no number that JSON has"},
		{`{a: ` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`, "it nests deeper than 100 levels"},
		{`{a: "${` + strings.Repeat("1+", 3000) + `1}"}`, "/a: line 1, column 3: expression code point size exceeds limit"},
	} {
		_, err := CompileTemplate(decoded(t, test.template), env)
		var failed *TemplateError
		if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), test.want) && !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%.60s\n got %v\nwant %s", test.template, err, test.want)
		}
	}
}

func TestCompileText(t *testing.T) {
	for source, want := range map[string]string{
		"order/${body.id}":                      "order/7",
		"${body.id}":                            "7",
		"plain":                                 "plain",
		"":                                      "",
		"$${body.id} is $ { } } $":              "${body.id} is $ { } } $",
		`${"}" + '}' + r'\' + """}"'""" + 'x'}`: `}}\}"'x`,
		`${{'a': {'b': 1}}.a.b}${'\'}'}`:        "1'}",
		"${body.id // } a comment\n}":           "7",
		"${1}${2}":                              "12",
		"${b'x' == b'x'}":                       "true",
		"${body.absent}":                        "absent",
		"x${body.absent}y":                      "absent",
		"${null}":                               "absent",
		"${body}":                               "a text takes texts, numbers, true and false, and got map",
	} {
		text, err := CompileText(source, Webhooks())
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got, _, err := text.Render(t.Context(), &Scope{Body: NewBody([]byte(`{"id":7}`))})
		var absence *AbsentError
		switch {
		case errors.As(err, &absence):
			got = "absent"
		case err != nil:
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
	_, err := CompileText("a\nb ${body.id} ${x}", Webhooks())
	var syntax *SyntaxError
	if !errors.As(err, &syntax) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(SyntaxError{2, 16, "undeclared reference to 'x'"}, *syntax); diff != "" {
		t.Error(diff)
	}
}

func TestTemplate_Check(t *testing.T) {
	template, err := CompileTemplate(decoded(t, `{a: "${body.memo}", b: [{$each: {l: "${body.lines}"}, item: "${lookup('sku', l.sku)}", note: "n ${l.note}", $if: "${l.qty > 0}"}], c: "${1 / body.n}", d: {$if: "${body.x}", e: 1}}`), Events())
	if err != nil {
		t.Fatal(err)
	}
	findings := template.Check(t.Context(), Sample{"paid", testScope(shop)}, Sample{"zero", testScope(`{"n":0,"memo":"m"}`)},
		Sample{"one of two", testScope(`{"n":1,"lines":[{"sku":"LATTE","qty":1},{"sku":"LATTE","qty":1,"note":"n"}]}`)}, Sample{"csv", testScope("id;name")})
	want := []Finding{
		{Sample: "paid", Missing: []Miss{{"sku", "TEA", "/b/1/item"}}, LeftOut: []string{"/a", "/b/*/note"}},
		{Sample: "zero", Err: errors.New("/c: division by zero")},
		{Sample: "one of two", LeftOut: []string{"/a"}},
		{Sample: "csv", Err: errors.New("/: the payload is not JSON")},
	}
	if diff := cmp.Diff(want, findings, cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error()) })); diff != "" {
		t.Error(diff)
	}
}

// What is not known stops nothing, and is neither an error nor a miss, whatever is done
// with it; what stands beside it is tried.
func TestTemplate_CheckUnknown(t *testing.T) {
	scope := testScope(`{"n": 3, "lines": [1]}`)
	scope.Unknown = []string{"steps", "existing"}
	for _, expression := range []string{
		"steps.order.receipt.number", "steps['order'].receipt['number']", "int(steps.order.receipt.number) + body.n", "steps.order.receipt.number + 'x'",
		"existing['line_' + string(body.n)]", "has(existing.id) ? existing.id : 'none'", "existing.?id.orValue('none')", "date(steps.order.receipt.on, 'UTC', 'iso')",
		"lookup('sku', steps.order.receipt.number)", "money(decimal(steps.order.receipt.total), 'IDR')", "required(steps.order.receipt.id)",
		"steps.order.receipt.number.split(',').map(x, x.trim()).join('-')", "body.lines.map(l, existing['line_' + string(l)])",
		"body.lines.exists(l, existing['n'] == string(l)) ? 1 : 2", "sum(steps.order.receipt.lines.split(',').map(x, decimal(x)))",
		"steps.order.receipt.number.truncate(3)", "string(steps.order.receipt.number).matches('a')", "existing",
		"has(steps.order) && steps.order.receipt.paid == 'yes'", "size(existing)", "{'a': existing.id}", "[existing.id]", "existing.id in ['a']",
	} {
		for shape, doc := range map[string]any{
			"value": map[string]any{"a": "${" + expression + "}"}, "text": map[string]any{"a": "no ${" + expression + "}."},
			"each": map[string]any{"a": []any{map[string]any{"$each": map[string]any{"x": "${" + expression + "}"}, "$value": "${x}"}}},
		} {
			template, err := CompileTemplate(doc, Events())
			if err != nil {
				continue // not of a list, for instance
			}
			for _, f := range template.Check(t.Context(), Sample{"s", scope}) {
				if f.Err != nil || len(f.Missing) > 0 || len(f.LeftOut) > 0 {
					t.Errorf("%s of %s: %+v", shape, expression, f)
				}
			}
		}
	}
	template, err := CompileTemplate(map[string]any{"a": "${steps.order.receipt.id}", "b": "${1 / 0 + int(existing.id)}"}, Events())
	if err != nil {
		t.Fatal(err)
	}
	if f := template.Check(t.Context(), Sample{"s", scope})[0]; f.Err == nil || !strings.Contains(f.Err.Error(), "/b: division by zero") {
		t.Errorf("beside it: %+v", f)
	}
}
