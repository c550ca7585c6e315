package mapping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// shop is the payload of the tables below.
const shop = `{"id":9007199254740993,"big":18446744073709551617,"huge":1E400,"price":18.50,"tiny":0.001,"zero":0.00,"n":3,"text":"a/b \"c\"","unicode":"Café 🥐\u2028",
	"yes":true,"nothing":null,"empty":"","list":[1,2.50,"x",null],"none":[],"nested":{"a":{"b":[{"c":1}]}},
	"lines":[{"sku":"LATTE","qty":2,"price":18000.50,"extras":[{"sku":"OAT"},{"sku":"SHOT"}]},{"sku":"latte","qty":0,"price":1,"extras":[]},{"sku":"TEA","qty":1,"price":0.001}]}`

// tables are the look-ups of the tables below.
var tables = map[string]string{"sku/LATTE": "ITM-1", "sku/OAT": "ITM-2", "sku/9007199254740993": "ITM-3", "sku/18.50": "ITM-4", "sku/18446744073709551617": "ITM-5"}

func testScope(body string) *Scope {
	jakarta, err := time.LoadLocation("Asia/Jakarta")
	if err != nil {
		panic(err)
	}
	return &Scope{
		Event: order, Body: NewBody([]byte(body)), Outlet: Outlet{Name: "mall", Location: jakarta},
		Steps:  map[string]Receipt{"order": {ExternalID: "77", Fields: map[string]string{"number": "SO-1"}}},
		Tenant: "kopi", Destination: "books", Effect: "invoice/1042",
		Lookup: func(table, value string) (string, bool) {
			target, ok := tables[table+"/"+value]
			return target, ok
		},
	}
}

func decoded(t testing.TB, source string) any {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(source), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTemplate(t *testing.T) {
	for _, test := range []struct {
		name, template, want string
		missing              []Miss
		err                  string
	}{
		{name: "types are kept", template: `{a: "${body.n}", b: "${body.yes}", c: "${body.nothing}", d: "${body.text}", e: "${body.list}", f: "${body.nested}"}`, want: `{"a":3,"b":true,"c":null,"d":"a/b \"c\"","e":[1,2.50,"x",null],"f":{"a":{"b":[{"c":1}]}}}`},
		{name: "constants", template: `{a: 1, b: 1.5, c: true, d: null, e: x, f: "", g: [], h: {}}`, want: `{"a":1,"b":1.5,"c":true,"d":null,"e":"x","f":"","g":[],"h":{}}`},
		{name: "a text around makes a text", template: `{a: "n${body.n} ${body.price} ${body.yes} ${body.id} ${body.big}"}`, want: `{"a":"n3 18.50 true 9007199254740993 18446744073709551617"}`},
		{name: "a whole that is a text", template: `"${body.id}"`, want: `9007199254740993`},
		{name: "absent", template: `{a: "${body.missing}", b: "${body.nested.x.y}", c: "${body.list[9]}", d: "to ${body.missing}", e: "${body.?missing}", f: ["${body.missing}", 1, "x${body.missing}"], g: {h: "${body.missing}"}}`, want: `{"f":[1],"g":{}}`},
		{name: "absent behind null, and within a text", template: `{a: "${body.nothing.id}", b: "${body.text.id}"}`, want: `{}`},
		{name: "null within a text is absent", template: `{a: "x ${body.nothing}"}`, want: `{}`},
		{name: "or something else", template: `{a: "${body.?missing.orValue('x')}", b: "${has(body.missing) ? body.missing : 'y'}"}`, want: `{"a":"x","b":"y"}`},
		{name: "the whole absent", template: `"${body.missing}"`, err: "/: it reads something that is not there"},
		{name: "escapes", template: `{$$each: "$${body.n} costs $5 ${'}'} ${{'a': '{'}.a}"}`, want: `{"$each":"${body.n} costs $5 } {"}`},
		{name: "names in pointers", template: `{"a/b~c": ["${lookup('sku', 'x')}"]}`, want: `{"a/b~c":["‹no sku for x›"]}`, missing: []Miss{{"sku", "x", "/a~1b~0c/0"}}},

		{name: "integers are exact", template: `{a: "${body.id}", b: "${body.big}", c: "${body.id + 1}", d: "${body.big + 1}", e: "${decimal(body.id) * body.id}"}`, want: `{"a":9007199254740993,"b":18446744073709551617,"c":9007199254740994,"d":18446744073709551618,"e":81129638414606699710187514626049}`},
		{name: "passed on as written", template: `{a: "${body.huge}", b: "${body.price}", c: "${body.zero}", d: "${decimal(body.price)}"}`, want: `{"a":1E400,"b":18.50,"c":0.00,"d":18.50}`},
		{name: "no drift", template: `{a: "${0.1 + 0.2}", b: "${body.tiny * 3}", c: "${1.1 * 1.1}", d: "${-0.5 + 1}", e: "${0.30000000000000000001}", f: "${.5 - -1.5e-1}"}`, want: `{"a":0.3,"b":0.003,"c":1.21,"d":0.5,"e":0.30000000000000000001,"f":0.65}`},
		{name: "whole numbers divide into fractions", template: `{a: "${10 / 4}", b: "${body.n / 2}", c: "${100 / 4}", d: "${10 / 3}", e: "${7 % 4}", f: "${100000 / 10}"}`, want: `{"a":2.5,"b":1.5,"c":25,"d":3.333333333333333333333333333333333,"e":3,"f":10000}`},
		{name: "comparisons by value", template: `{a: "${0 == body.zero && body.zero == 0 && body.zero in [0]}", b: "${body.price > 18 && 18 < body.price && body.price <= 18.5 && body.tiny != 0}", c: "${[0, {'a': 1}] == [body.zero, {'a': decimal('1.0')}]}", d: "${decimal(1) == 1.0}"}`, want: `{"a":true,"b":true,"c":true,"d":true}`},
		{name: "texts and numbers", template: `{a: "${string(body.price)}", b: "${string(body.big)}", c: "${decimal('12.50') + 1}", d: "${int(decimal('12.00'))}", e: "${string(money(5, 'USD'))}"}`, want: `{"a":"18.50","b":"18446744073709551617","c":13.50,"d":12,"e":"5.00"}`},
		{name: "negative zero", template: `{a: "${-body.zero}", b: "${0.0 * -1}"}`, want: `{"a":0.00,"b":0.0}`},
		{name: "rounding is commercial", template: `{a: "${decimal(2.345, 2)}", b: "${decimal(-2.345, 2)}", c: "${decimal(0.5, 0)}", d: "${decimal(1e3, 1)}"}`, want: `{"a":2.35,"b":-2.35,"c":1,"d":1000.0}`},
		{name: "money", template: `{idr: "${money(18000.5, 'IDR')}", practice: "${money(18000.5, 'IDR', 0)}", jpy: "${money('1250.4', 'JPY')}", kwd: "${money(1.5, 'kwd')}", usd: "${money(body.n, 'USD')}", own: "${money(1, 'GOLD', 4)}"}`, want: `{"idr":18000.50,"jpy":1250,"kwd":1.500,"own":1.0000,"practice":18001,"usd":3.00}`},
		{name: "money of nothing is absent", template: `{a: "${money(body.nothing, 'USD')}", b: "${decimal(body.missing)}", c: "${date(body.nothing, 'UTC', 'iso')}"}`, want: `{}`},
		{name: "sums", template: `{a: "${sum(body.lines.map(l, l.price * l.qty))}", b: "${money(sum(['0.1', 0.2, 3]), 'USD')}", c: "${sum([])}"}`, want: `{"a":36001.001,"b":3.30,"c":0}`},
		{name: "what is required is there", template: `{a: "${required(body.n)}", b: [{$each: {x: "${required([1, 2])}"}, c: "${required(x)}"}]}`, want: `{"a":3,"b":[{"c":1},{"c":2}]}`},
		{name: "what is required is not there", template: `{a: [{b: "${required(decimal(body.missing))}"}]}`, err: "/a/0/b: it is required, and not there"},
		{name: "what is required is null", template: `{a: "${required(body.nothing)}"}`, err: "/a: it is required"},
		{name: "what is required has no counterpart", template: `{a: "${required(lookup('a', 'x'))}"}`, want: `{"a":"‹no a for x›"}`, missing: []Miss{{"a", "x", "/a"}}},
		{name: "a sum is never absent by one of its values", template: `{a: "${sum(body.lines.map(l, decimal(l.discount)))}"}`, err: "/a: sum reads something that is not there"},

		{name: "each", template: `[{$each: {line: "${body.lines}"}, $index: i, $if: "${line.qty > 0}", no: "${i + 1}", item: "${line.sku}"}, last]`, want: `[{"item":"LATTE","no":1},{"item":"TEA","no":3},"last"]`},
		{name: "each of a scalar", template: `{tags: [first, {$each: {x: "${body.list}"}, $value: "${x}"}]}`, want: `{"tags":["first",1,2.50,"x",null]}`},
		{name: "each inside each, spliced", template: `[{$each: {line: "${body.lines}"}, $splice: [{item: "${line.sku}"}, {$each: {extra: "${line.extras}"}, item: "${extra.sku}", of: "${line.sku}"}]}]`, want: `[{"item":"LATTE"},{"item":"OAT","of":"LATTE"},{"item":"SHOT","of":"LATTE"},{"item":"latte"},{"item":"TEA"}]`},
		{name: "each inside each, kept apart", template: `[{$each: {line: "${body.lines}"}, extras: [{$each: {e: "${line.extras}"}, $value: "${e.sku}"}]}]`, want: `[{"extras":["OAT","SHOT"]},{"extras":[]},{"extras":[]}]`},
		{name: "each of nothing", template: `{a: [{$each: {x: "${body.missing}"}, b: 1}], c: [{$each: {x: "${body.nothing}"}, b: 1}], d: [{$each: {x: "${body.none}"}, b: 1}]}`, want: `{"a":[],"c":[],"d":[]}`},
		{name: "each of no list", template: `{a: [{$each: {x: "${body.n}"}, b: 1}]}`, err: "/a: $each takes a list, and got int"},
		{name: "each of a computed list", template: `[{$each: {x: "${body.lines.filter(l, l.qty > 0).map(l, l.sku)}"}, $value: "${x.lowerAscii()}"}]`, want: `["latte","tea"]`},
		{name: "if", template: `{a: {$if: "${body.yes}", b: 1}, c: {$if: "${!body.yes}", d: 1}, e: {$if: "${body.missing > 1}", $value: x}, f: [{$if: "${body.n == 3}", $value: "${body.n}"}, {$if: "${false}", g: 1}, {$if: "${true}", $splice: [1, 2]}]}`, want: `{"a":{"b":1},"f":[3,1,2]}`},
		{name: "if that is no answer", template: `{a: {$if: "${body.n}", b: 1}}`, err: "/a: a condition gave int"},

		{name: "look-ups", template: `{a: "${lookup('sku', 'LATTE')}", b: "${lookup('sku', body.id)}", c: "${lookup('sku', body.price)}", d: "${lookup('sku', body.big)}", e: "${lookup('sku', body.nothing)}", f: "${lookup('sku', body.missing)}"}`, want: `{"a":"ITM-1","b":"ITM-3","c":"ITM-4","d":"ITM-5"}`},
		{name: "defaults", template: `{a: "${lookup('sku', 'x', {default: 'D'})}", b: "${lookup('sku', body.missing, {'default': 'D'})}", c: "${lookup('sku', 'LATTE', {default: lookup('sku', 'y')})}", d: "${lookup('sku', body.nothing, {default: body.text})}"}`, want: `{"a":"D","b":"D","c":"ITM-1","d":"a/b \"c\""}`},
		{
			name: "one pass names every miss", template: `{lines: [{$each: {line: "${body.lines}"}, item: "${lookup('sku', line.sku)}", text: "${lookup('unit', line.sku)} of ${lookup('sku', line.sku)}"}]}`,
			want:    `{"lines":[{"item":"ITM-1","text":"‹no unit for LATTE› of ITM-1"},{"item":"‹no sku for latte›","text":"‹no unit for latte› of ‹no sku for latte›"},{"item":"‹no sku for TEA›","text":"‹no unit for TEA› of ‹no sku for TEA›"}]}`,
			missing: []Miss{{"unit", "LATTE", "/lines/0/text"}, {"sku", "latte", "/lines/1/item"}, {"unit", "latte", "/lines/1/text"}, {"sku", "TEA", "/lines/2/item"}, {"unit", "TEA", "/lines/2/text"}},
		},
		{
			name: "a miss survives every operation", template: `{a: "${lookup('a', 'x') + 'b' + lookup('b', 'x')}", b: "${int(lookup('c', 'x')) * 2 > 1 ? 'y' : 'z'}", c: "${[lookup('d', 'x')].map(x, x.size())}", d: "${money(lookup('e', 'x'), 'USD')}", e: "${lookup('f', lookup('g', 'x'))}", f: "${{'k': lookup('h', 'x')}.k.trim()}", g: "${sum([lookup('i', 'x')])}", h: "${date(lookup('j', 'x'), lookup('k', 'x'), 'iso')}", i: [{$each: {x: "${lookup('l', 'x').split(',')}"}, y: 1}], j: {$if: "${lookup('m', 'x') == 'y'}", k: "${lookup('n', 'x')}"}}`,
			want: `{"a":"‹no a for x›","b":"‹no c for x›","c":"‹no d for x›","d":"‹no e for x›","e":"‹no g for x›","f":"‹no h for x›","g":"‹no i for x›","h":"‹no j for x›","i":[]}`,
			missing: []Miss{
				{"a", "x", "/a"}, {"b", "x", "/a"}, {"c", "x", "/b"}, {"d", "x", "/c"}, {"e", "x", "/d"}, {"g", "x", "/e"}, {"h", "x", "/f"}, {"i", "x", "/g"}, {"j", "x", "/h"}, {"k", "x", "/h"}, {"l", "x", "/i"}, {"m", "x", "/j"},
			},
		},
		{name: "a miss beside something absent", template: `{a: "${lookup('a', 'x') + body.missing}", b: "${lookup('b', 'x')} ${body.missing}"}`, want: `{}`, missing: []Miss{{"a", "x", "/a"}, {"b", "x", "/b"}}},
		{name: "look up a list", template: `{a: "${lookup('sku', body.list)}"}`, err: "/a: lookup takes a text or a number"},

		{name: "receipts", template: `{a: "${steps.order.receipt.number}", b: "${steps.order.receipt.id}", c: "${steps.order.receipt.url}", d: "${steps.invoice.receipt.id}", e: "${existing.id}", f: "${has(existing.id)}"}`, want: `{"a":"SO-1","b":"77","f":false}`},
		{name: "event and outlet", template: `{a: "${event.id}", b: "${event.occurred_at}", c: "${outlet.name}", d: "${outlet.timezone}", e: "${event.references.order}"}`, want: `{"a":"o-1","b":"2026-11-23T10:00:00Z","c":"mall","d":"Asia/Jakarta","e":"1042"}`},
		{name: "texts", template: `{a: "${' x '.trim() + 'Ab'.upperAscii()}", b: "${body.unicode.truncate(4)}", c: "${'a,b'.split(',')}", d: "${'aXa'.replace('a', 'bb')}", e: "${['x', 'y'].join('-')}", f: "${'ab'.truncate(9)}"}`, want: `{"a":"xAB","b":"Café","c":["a","b"],"d":"bbXbb","e":"x-y","f":"ab"}`},

		{name: "types that do not go together", template: `{a: [{b: "${body.text + 1}"}]}`, err: "/a/0/b: it compares or combines values of types"},
		{name: "no number", template: `{a: "${money(body.text, 'USD')}"}`, err: "/a: it takes a number"},
		{name: "no currency", template: `{a: "${money(1, body.text)}"}`, err: "/a: the currency is no code of ISO 4217"},
		{name: "no currency of that name", template: `{a: "${int(body.price)}"}`, err: "/a: int() takes a whole number"},
		{name: "division by zero", template: `{a: "${1 / body.zero}"}`, err: "/a: division by zero"},
		{name: "overflow", template: `{a: "${body.id * body.id}"}`, err: "overflow"},
		{name: "a number past reckoning", template: `{a: "${decimal('1e1001')}"}`, err: "/a: a number has more than 1000 digits"},
		{name: "what JSON does not have", template: `{a: "${duration('1h')}"}`, err: "/a: it gives google.protobuf.Duration, which JSON does not have"},
		{name: "a list in a text", template: `{a: "x${body.list}"}`, err: "/a: a text takes texts, numbers, true and false, and got list"},
		{name: "a field's name that is a number", template: `{a: "${{1: 2}}"}`, err: "/a: a field's name has to be a text"},
	} {
		t.Run(test.name, func(t *testing.T) {
			template, err := CompileTemplate(decoded(t, test.template), Events())
			if err != nil {
				t.Fatal(err)
			}
			result, err := template.Render(t.Context(), testScope(shop))
			if (err != nil) != (test.err != "") || err != nil && !strings.HasPrefix(err.Error(), test.err) && !strings.HasSuffix(err.Error(), test.err) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if err != nil {
				return
			}
			got, err := result.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.missing, result.Missing); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTemplate_NeverQuotesPayload(t *testing.T) {
	const secret = "4111-1111"
	body := NewBody([]byte(`{"s":"` + secret + `","m":{"` + secret + `":1}}`))
	for _, expression := range []string{
		"int(body.s)", "body.s + 1", "money(body.s, 'USD')", "money(1, body.s)", "date(body.s, 'UTC', 'iso')", "date(1, body.s, 'iso')", "date('2026-01-01', 'UTC', body.s)", "decimal(body.s)", "timestamp(body.s)",
		"duration(body.s)", "body.s.matches(body.s + '(')", "body.s > 1", "sum([body.s])", "[1][body.s]", "body.s[0]", "lookup('x', body.m)", "body.m.map(k, int(k))", "bool(body.s)", "uint(body.s)", "body.s.join(',')", "type(body.s)",
	} {
		template, err := CompileTemplate("${"+expression+"}", Events())
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if result, err := template.Render(t.Context(), &Scope{Body: body}); err == nil {
			t.Errorf("%s: %v", expression, result.Value)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func TestTemplate_Body(t *testing.T) {
	for name, test := range map[string]struct{ body, template, want string }{
		"not JSON":         {"id;name", "${body.id}", "/: the payload is not JSON"},
		"not UTF-8":        {"{\"id\":\"caf\xe9\"}", "${body.id}", "/: the payload is not UTF-8, which JSON has to be"},
		"UTF-16":           {"\xff\xfe{\x00}\x00", "${body.id}", "/: the payload is not UTF-8, which JSON has to be"},
		"a mark before it": {"\ufeff{}", "${body}", "/: the payload is not JSON"},
		"deep":             {strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "${body}", "/: the payload is not JSON"},
		"deep output":      {strings.Repeat("[", maxNesting+2) + strings.Repeat("]", maxNesting+2), "${body}", "/: it nests deeper than 100 levels"},
		"not read":         {"id;name", "x ${event.id}", `"x o-1"`},
		"empty":            {" ", "${body == null}", `true`},
		"null":             {" null ", "${body == null}", `true`},
		"duplicate names":  {`{"a":1,"a":2}`, "${body.a}", `2`},
		"10 MiB":           {`{"pad":"` + strings.Repeat("x", 10<<20) + `","a":2}`, "${body.a}", `2`},
		"10 MiB, all":      {`{"pad":"` + strings.Repeat("x", 10<<20) + `","a":2}`, "${body}", "/: it renders more than the limit of 1048576 bytes"},
	} {
		template, err := CompileTemplate(test.template, Events())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if result, err := template.Render(t.Context(), testScope(test.body)); err != nil {
			got = err.Error()
		} else if out, err := result.JSON(); err == nil {
			got = string(out)
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	var wrong *BodyError
	text, err := CompileText("${body.id}", Webhooks())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := text.Render(t.Context(), &Scope{Body: NewBody([]byte("x"))}); !errors.As(err, &wrong) {
		t.Error(err)
	}
}

// What grows or loops without bound costs no more than the limits, in time and in memory.
func TestTemplate_Bounds(t *testing.T) {
	thousand := "[" + strings.Repeat("1,", 999) + "1]"
	doubling := strings.Repeat(".map(x, x + x)", 100)
	for name, test := range map[string]struct{ template, err string }{
		"texts that double":           {`"${[body.s]` + doubling + `}"`, "more work than the limit"},
		"lists that double":           {`"${[body.l]` + doubling + `}"`, "it makes a list of more than"},
		"trees that double":           {`"${dyn([body.s]` + strings.Repeat(".map(x, [x, x])", 60) + `) == dyn([1]) ? 1 : 2}"`, ""},
		"trees that are equal":        {`"${[[body.s]` + strings.Repeat(".map(x, [x, x])", 60) + `].map(x, x == x)}"`, "it compares more than the limit"},
		"trees that are put out":      {`"${[body.s]` + strings.Repeat(".map(x, [x, x])", 60) + `}"`, "it renders more than the limit"},
		"texts that optionals double": {`"${optional.of(body.s)` + strings.Repeat(".optMap(x, x + x)", 100) + `}"`, "it"},
		"replacements":                {`"${body.s` + strings.Repeat(".replace('a', 'aaaaaaaaaa')", 50) + `}"`, "more work than the limit"},
		"joins":                       {`"${body.t.join(body.s)}"`, ""},
		"loops":                       {`"${body.l.map(a, body.l.map(b, body.l.map(c, a + b + c)))}"`, "more work than the limit"},
		"loops over large texts":      {`"${body.l.map(a, body.l2.replace('x', 'y'))}"`, "more work than the limit"},
		"one large replacement":       {`"${body.l2.replace('x', body.l2)}"`, "it makes a text of more than 1 MiB"},
		"one large join":              {`"${body.l.map(x, body.s).join(body.l2)}"`, "it makes a text of more than 1 MiB"},
		"loops over sums":             {`"${body.l.map(a, sum(body.l))}"`, "more work than the limit"},
		"each in each":                {`[{$each: {a: "${body.l}"}, $splice: [{$each: {b: "${body.l}"}, $splice: [{$each: {c: "${body.l}"}, $if: "${false}", d: 1}]}]}]`, "the template takes more work than"},
		"each in each, large":         {`[{$each: {a: "${body.l}"}, $splice: [{$each: {b: "${body.l}"}, x: "${body.s}"}]}]`, "it renders more than the limit of"},
		"many large texts":            {`[{$each: {a: "${body.l}"}, x: "` + strings.Repeat("x", 2000) + `"}]`, "it renders more than the limit of"},
		"a text of many":              {`"` + strings.Repeat("${body.l2}", 40) + `"`, "it renders more than the limit of"},
		"numbers that grow":           {`"${[body.n]` + strings.Repeat(".map(x, x * x)", 40) + `}"`, "a number has more than 1000 digits"},
		"patterns":                    {`"${body.l2.matches('(x+x+)+y')}"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := CompileTemplate(decoded(t, test.template), Events())
			if err != nil {
				t.Fatal(err)
			}
			body := NewBody([]byte(`{"s":"aaaaaaaaaa","t":["a","b"],"n":12345.678,"l":` + thousand + `,"l2":"` + strings.Repeat("x", 40_000) + `"}`))
			_, err = template.Render(t.Context(), &Scope{Body: body})
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

func TestTemplate_Cancelled(t *testing.T) {
	gone := errors.New("the lease is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	for _, source := range []string{"${1}", "${[1, 2].map(x, x)}"} {
		template, err := CompileTemplate(source, Events())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := template.Render(ctx, &Scope{}); !errors.Is(err, gone) {
			t.Error(err)
		}
	}
}

// The same template serves many goroutines, and always gives the same bytes.
func TestTemplate_Canonical(t *testing.T) {
	template, err := CompileTemplate(decoded(t, `{b: "${body}", a: "${0.1 + body.price}", c: "${lookup('sku', 'x')}", d: "${1 / body.zero2}", e: "${body.text + ''}"}`), Events())
	if err != nil {
		t.Fatal(err)
	}
	outputs := make(chan string)
	for range 20 {
		go func() {
			result, err := template.Render(context.Background(), testScope(shop))
			out, _ := result.JSON()
			outputs <- fmt.Sprint(string(out), result.Missing, err)
		}()
	}
	first := <-outputs
	for range 19 {
		if got := <-outputs; got != first {
			t.Fatalf("%s\n%s", got, first)
		}
	}
}

func TestEnvironment(t *testing.T) {
	recipe, err := Events().With("settings", "request")
	if err != nil {
		t.Fatal(err)
	}
	text, err := CompileText("${settings.host}/${request.id}/${event.id}", recipe)
	if err != nil {
		t.Fatal(err)
	}
	scope := testScope(`{}`)
	scope.Variables = map[string]any{"settings": map[string]string{"host": "h"}, "request": NewBody([]byte(`{"id":9007199254740993}`))}
	if got, _, err := text.Render(t.Context(), scope); err != nil || got != "h/9007199254740993/o-1" {
		t.Error(got, err)
	}
	scope.Variables = maps.Clone(scope.Variables)
	delete(scope.Variables, "settings")
	var absence *AbsentError
	if _, _, err := text.Render(t.Context(), scope); !errors.As(err, &absence) {
		t.Error(err)
	}
	for _, name := range []string{"event", "Settings", "in", "a-b", "", "_x", "string", strings.Repeat("a", 65)} {
		if _, err := Events().With(name); err == nil {
			t.Errorf("%q names a variable", name)
		}
	}
	if _, err := CompileText("${lookup('sku', body.id)}", Webhooks()); err == nil {
		t.Error("a receiver looks up")
	}
}
