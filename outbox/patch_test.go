package outbox

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestEditsConfig_Judge(t *testing.T) {
	t.Parallel()
	c := EditsConfig{Allow: []string{"/customer", "/lines/*/sku", "/data"}, SecondPerson: []string{"/total", "/lines/*/tax", "/data/tax/rate"}}
	for path, want := range map[string]string{
		"/customer":        "alone",
		"/customer/name":   "alone",
		"/lines/0/sku":     "alone",
		"/lines/12/sku/x":  "alone",
		"/data/note":       "alone",
		"/total":           "second",
		"/lines/3/tax":     "second",
		"/data/tax/rate":   "second",
		"/data/tax/rate/x": "second",
		"/data":            "second", // has one inside
		"/data/tax":        "second",
		"/customers":       "refused",
		"/lines":           "refused",
		"/lines/0":         "refused",
		"/lines/0/price":   "refused",
		"/":                "refused",
		"":                 "refused",
		"customer":         "refused",
		"/customer~2":      "refused",
		"/custo\x00mer":    "refused",
	} {
		second, err := c.judge([]Change{{Path: path, Value: json.RawMessage(`1`)}})
		got := "alone"
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal) && refusal.Field == "changes":
			got = "refused"
		case err != nil:
			t.Fatal(err)
		case second:
			got = "second"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", path, got, want, err)
		}
	}
	for _, value := range []string{``, `{`, `"a\u0000b"`, `"` + strings.Repeat("x", longestValue) + `"`} {
		if _, err := c.judge([]Change{{Path: "/customer", Value: json.RawMessage(value)}}); err == nil {
			t.Errorf("the value %.20q is taken", value)
		}
	}
	for _, changes := range [][]Change{nil, make([]Change, MostChanges+1)} {
		if _, err := c.judge(changes); err == nil {
			t.Errorf("%d changes are taken", len(changes))
		}
	}
	if second, err := (&EditsConfig{}).judge([]Change{{Path: "/a", Value: json.RawMessage(`1`)}}); err == nil || second {
		t.Error("a route that says nothing allows something")
	}
}

func TestPatched(t *testing.T) {
	t.Parallel()
	const payload = `{"id":9007199254740993,"price":1.10,"lines":[{"sku":"A"},{"sku":"<B>"}],"a/b":{"c~d":null}}`
	for _, test := range []struct{ path, value, want string }{
		{"/lines/1/sku", `"C"`, `{"a/b":{"c~d":null},"id":9007199254740993,"lines":[{"sku":"A"},{"sku":"C"}],"price":1.10}`},
		{"/lines/0", `{"sku":1}`, `{"a/b":{"c~d":null},"id":9007199254740993,"lines":[{"sku":1},{"sku":"<B>"}],"price":1.10}`},
		{"/a~1b/c~0d", `12345678901234567890.10`, `{"a/b":{"c~d":12345678901234567890.10},"id":9007199254740993,"lines":[{"sku":"A"},{"sku":"<B>"}],"price":1.10}`},
		{"/new", `null`, `{"a/b":{"c~d":null},"id":9007199254740993,"lines":[{"sku":"A"},{"sku":"<B>"}],"new":null,"price":1.10}`},
		{"/lines/2", `1`, ""},
		{"/lines/-1", `1`, ""},
		{"/lines/01", `1`, ""},
		{"/lines/-", `1`, ""},
		{"/none/x", `1`, ""},
		{"/price/x", `1`, ""},
		{"/a~1b/c~0d/x", `1`, ""},
	} {
		got, err := patched([]byte(payload), []Change{{test.path, json.RawMessage(test.value)}})
		if string(got) != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %s, %v", test.path, got, err)
		}
	}
	for _, broken := range []string{"", "{", "{} {}", "id,total\n1,2"} {
		if got, err := patched([]byte(broken), []Change{{"/a", json.RawMessage(`1`)}}); err == nil {
			t.Errorf("%q became %s", broken, got)
		}
	}
}

// Whatever is asked for, nothing but the place that it names is another afterwards, and
// what a route did not allow is never changed.
func FuzzPatched(f *testing.F) {
	f.Add(`{"a":{"b":[1,2.0,"x"]}}`, "/a/b/1", `{"c":1e3}`)
	f.Add(`{"a":1,"a":2}`, "/a", `[]`)
	f.Add(`[{"":0}]`, "/0/", `"\u00e9"`)
	f.Fuzz(func(t *testing.T, payload, path, value string) {
		changes := []Change{{path, json.RawMessage(value)}}
		if _, err := (&EditsConfig{Allow: []string{"/a"}}).judge(changes); err != nil {
			return
		}
		got, err := patched([]byte(payload), changes)
		if err != nil {
			return
		}
		before, _ := decodeExact([]byte(payload))
		after, err := decodeExact(got)
		if err != nil {
			t.Fatalf("%q is no JSON", got)
		}
		a, aIs := before.(map[string]any)
		b, bIs := after.(map[string]any)
		if !aIs || !bIs {
			t.Fatalf("%q became %q by %s", payload, got, path)
		}
		delete(a, "a")
		delete(b, "a")
		one, _ := json.Marshal(a)
		other, _ := json.Marshal(b)
		if string(one) != string(other) {
			t.Errorf("%q became %q by %s", payload, got, path)
		}
	})
}
