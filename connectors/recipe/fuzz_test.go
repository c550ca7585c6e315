package recipe

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"raffsync/connectors"
)

// Whatever is written, compiling comes to an end with a destination or with errors that
// say where.
func FuzzFactory(f *testing.F) {
	for _, seed := range []string{
		`{"recipe": {"url": "https://a.example/v1", "calls": {"a": {"url": "/x/${event.id}", "map": {"a": "${body.b}"}, "find": {"url": "/x", "query": {"q": "${reference(9)}"}, "absent": {"status": 404}}}}}}`,
		`{"recipe": {"url": "https://${auth.host}", "settings": {"t": {"doc": "x", "secret": true}}, "headers": {"A": "${settings.t}"}, "check": {"url": "/"}, "calls": {"a": {"graphql": "{a}"}}}, "settings": {"t": "env:T"}}`,
		`{"recipe": "none", "auth": {"kind": "none"}}`, `{}`, `[]`, `null`, `{"recipe": null}`, `{"recipe": {"calls": {"a": null}}}`,
		`{"recipe": {"url": "https://a.example", "rules": [{"name": "x", "kind": "DELIVERED", "body": {"$.a": 1}}], "calls": {"a": {"body": "none", "receipt": {"url": "https://a.example/${receipt.id}"}}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, settings []byte) {
		d, err := Factory(connectors.Options{Name: "x", Settings: settings, Secret: func(string) (string, error) { return "a-secret-text", nil }})
		if err != nil {
			if strings.Contains(err.Error(), "a-secret-text") || err.Error() == "" {
				t.Errorf("%v", err)
			}
			return
		}
		step := connectors.Step{Event: &connectors.Event{ID: "a/b", Data: []byte(`{"b": 1}`)}, Effect: "e", Key: strings.Repeat("0", 64)}
		r, err := d.Prepare(step)
		if err != nil {
			return
		}
		p := d.(connectors.Previewer).Preview(r)
		if u, err := url.Parse(p.URL); !strings.Contains(p.URL, "{") && (err != nil || u.Scheme != "https" || u.Host == "") {
			t.Errorf("%q", p.URL)
		}
		for name, values := range p.Header {
			if strings.ContainsAny(name+values[0], "\r\n\x00") {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}

// A form holds what the JSON does, in its order, and nothing breaks out of its place.
func FuzzEncodeForm(f *testing.F) {
	for _, seed := range []string{`{"a": [{"b": "x&y=z"}, null, 1.50]}`, `{}`, `[1, [2]]`, `"x"`, `{"a": {"b": true}, "c d": "é"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		form, err := encodeForm(value)
		if err != nil {
			return // nested deeper than the decoder goes
		}
		pairs, err := url.ParseQuery(string(form))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		n := 0
		for _, values := range pairs {
			n += len(values)
		}
		if want := leaves(value); n < want { // a name that stands there twice counts once there
			t.Errorf("%s has %d pairs, want %d: %s", value, n, want, form)
		}
		again, _ := encodeForm(value)
		if !bytes.Equal(form, again) {
			t.Error("a second time it is another")
		}
	})
}

func leaves(value []byte) int {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return 0
	}
	var count func(v any) int
	count = func(v any) (n int) {
		switch v := v.(type) {
		case nil:
			return 0
		case map[string]any:
			for _, one := range v {
				n += count(one)
			}
			return n
		case []any:
			for _, one := range v {
				n += count(one)
			}
			return n
		}
		return 1
	}
	return count(v)
}
