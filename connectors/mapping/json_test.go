package mapping

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

var samples = []string{
	``, ` `, `{}`, `[]`, ` [ ] `, `{"a":1,"b":[true,false,null],"c":{"d":"e"}}`, `{"a":1,"a":2}`, `"\u00e9\ud83d\ude00\n\/"`, "\"caf\xe9\"", `"\u12"`, `"\x"`, "\"\n\"", `"`,
	`0`, `-0`, `01`, `-`, `1.`, `.5`, `1.5e+10`, `1e`, `1e400`, `-1E-2`, `9223372036854775807`, `9223372036854775808`, `1 2`, `[1,]`, `[,1]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":1`, `[1}`,
	`tru`, `truex`, `nul`, `+1`, `--1`, "\ufeff{}", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
}

// FuzzValidJSON holds the scanner, and what it makes of valid JSON, against
// encoding/json.
func FuzzValidJSON(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := json.Valid(data)
		if got := ValidJSON(data); got != want {
			t.Fatalf("%q: %v, encoding/json says %v", data, got, want)
		}
		if !want {
			if v := NewBody(data).value(); v != nil {
				t.Fatalf("%q: %v", data, v)
			}
			return
		}
		if got, want := plain(NewBody(data).value()), parseAll(data); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, want %v", data, got, want)
		}
	})
}

// plain resolves nodes.
func plain(v any) any {
	switch v := v.(type) {
	case *node:
		return plain(v.native())
	case map[string]any:
		all := make(map[string]any)
		for name, field := range v {
			all[name] = plain(field)
		}
		return all
	case []any:
		if v == nil {
			return []any{} // as encoding/json makes it
		}
		all := make([]any, len(v))
		for i := range v {
			all[i] = plain(v[i])
		}
		return all
	}
	return v
}

func BenchmarkValidJSON(b *testing.B) {
	data := []byte(`{"items":[` + strings.Repeat(`{"sku":"LATTE-OAT","quantity":2,"unit_price":18.50,"name":"Caffè latte"},`, 8) + `{}],"total":100}`)
	for name, valid := range map[string]func([]byte) bool{"Ours": ValidJSON, "EncodingJSON": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if !valid(data) {
					b.Fatal("invalid")
				}
			}
		})
	}
}
