package mapping

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzTemplate compiles and renders what it is given: it never panics, its output is JSON
// within the limits and the same each time, and its errors say where.
func FuzzTemplate(f *testing.F) {
	for _, s := range [][2]string{
		{`{"a":"${body.n}","b":[{"$each":{"l":"${body.l}"},"$index":"i","$if":"${l > 0}","c":"x${l}${i}"}]}`, `{"n":9007199254740993,"l":[1,2.50,"x"]}`},
		{`["${lookup('sku', body.s, {default: 'D'})}", "${lookup('t', body.s)}", {"$splice": ["${body}"], "$if": "${has(body.s)}"}]`, `{"s":"\ud83d\ude00"}`},
		{`{"$$x":"$${","m":"${money(body.p * 1.1, 'IDR')}","r":"${reference(30)}","d":"${date(body.d, 'UTC', 'iso')}"}`, `{"p":0.001,"d":"2026-11-23"}`},
		{`"${[body.s].map(x, x + x).map(x, x + x)}"`, `{"s":"x"}`},
		{`"${'}'}${\"\"\"}\"\"\"}${r'\\'}"`, ``},
		{`{"v":{"$value":"${1 / body.z}"},"e":"${existing.id}","s":"${steps.a.receipt.b}"}`, `{"z":1e400}`},
		{`"${sum(body.map(x, decimal(x))) - -.5e-3}"`, `[1e5,-0,0.0]`},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, source, payload []byte) {
		if !json.Valid(source) || !utf8.Valid(source) {
			t.Skip()
		}
		template, err := CompileTemplate(parseAll(source), Events())
		if err != nil {
			var failed *TemplateError
			if !errors.As(err, &failed) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		var first string
		for range 2 {
			result, err := template.Render(t.Context(), &Scope{Body: NewBody(payload), Effect: "e", Lookup: func(_, v string) (string, bool) { return v, len(v)%2 == 0 }})
			if err != nil {
				var failed *TemplateError
				if !errors.As(err, &failed) {
					t.Fatalf("%T: %v", err, err)
				}
				return
			}
			out, err := result.JSON()
			if err != nil || !json.Valid(out) || !utf8.Valid(out) || len(out) > maxOutput {
				t.Fatalf("%d bytes, %v: %.200q", len(out), err, out)
			}
			if first != "" && first != string(out) {
				t.Fatalf("%s, and then %s", first, out)
			}
			first = string(out)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"dd/MM/yyyy", "iso", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "'", "EEEE a h", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		if pieces, ok := parsePattern(pattern); ok {
			if got := format(order.OccurredAt, pieces); len(got) > 1000 {
				t.Fatal(got)
			}
		}
	})
}
