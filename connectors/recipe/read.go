package recipe

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"raffsync/connectors/rules"
)

// Bounds of what can be written.
const (
	maxText    = 4096
	maxLine    = 200
	maxEntries = 64 // of a mapping of names
	maxCalls   = 200
	maxGraphQL = 32 << 10
)

// field is one field of a recipe: how it is read, and what a reference says of it.
type field[T any] struct {
	rules.Setting
	read func(p *problems, path string, raw json.RawMessage, into *T)
}

func object[T any](p *problems, path string, raw json.RawMessage, fields []field[T], into *T) {
	found, ok := p.mapping(path, raw, "a mapping with "+strings.Join(names(fields), ", "))
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		i := slices.IndexFunc(fields, func(f field[T]) bool { return f.Name == name })
		if i < 0 {
			p.fail(below(path, name), "there is no such field; expected one of %s", strings.Join(names(fields), ", "))
			continue
		}
		fields[i].read(p, below(path, name), found[name], into)
	}
	for _, f := range fields {
		if _, given := found[f.Name]; f.Required && !given {
			p.fail(path, "%q is missing; expected %s", f.Name, f.Takes)
		}
	}
}

func names[T any](fields []field[T]) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
}

func described[T any](fields []field[T]) []rules.Setting {
	var all []rules.Setting
	for _, f := range fields {
		all = append(all, f.Setting)
	}
	return all
}

func (p *problems) mapping(path string, raw json.RawMessage, expected string) (map[string]json.RawMessage, bool) {
	var found map[string]json.RawMessage
	if json.Unmarshal(raw, &found) != nil || found == nil {
		p.fail(path, "expected %s", expected)
		return nil, false
	}
	return found, true
}

// scalar is a text, number, true or false as it is written.
func scalar(raw json.RawMessage) (string, bool) {
	var text string
	switch {
	case len(raw) == 0, raw[0] == '{', raw[0] == '[', string(raw) == "null":
		return "", false
	case raw[0] == '"':
		return text, json.Unmarshal(raw, &text) == nil
	}
	return string(raw), true
}

// text reads a text of 1 to so many bytes.
func (p *problems) text(path string, raw json.RawMessage, most int) string {
	text, ok := scalar(raw)
	if !ok || text == "" || len(text) > most {
		p.fail(path, "expected a text of 1 to %d bytes", most)
		return ""
	}
	return text
}

// line reads one line of text.
func (p *problems) line(path string, raw json.RawMessage, most int) string {
	text := p.text(path, raw, most)
	if strings.ContainsFunc(text, unicode.IsControl) {
		p.fail(path, "expected one line of text")
		return ""
	}
	return text
}

func (p *problems) truth(path string, raw json.RawMessage) bool {
	var truth bool
	if json.Unmarshal(raw, &truth) != nil || string(raw) == "null" {
		p.fail(path, "expected true or false")
	}
	return truth
}

func (p *problems) duration(path string, raw json.RawMessage) time.Duration {
	text, _ := scalar(raw)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		p.fail(path, "expected a duration as 10s or 24h")
	}
	return d
}

func (p *problems) whole(path string, raw json.RawMessage, low, high int) int {
	var n int
	if json.Unmarshal(raw, &n) != nil || n < low || n > high {
		p.fail(path, "expected a whole number, %d to %d", low, high)
	}
	return n
}

func (p *problems) oneOf(path string, raw json.RawMessage, all ...string) string {
	text, _ := scalar(raw)
	if !slices.Contains(all, text) {
		p.fail(path, "found %q; expected one of %s", cut(text), strings.Join(all, ", "))
		return ""
	}
	return text
}

// texts reads a mapping of names to texts.
func (p *problems) texts(path string, raw json.RawMessage, most int) map[string]string {
	found, ok := p.mapping(path, raw, "a mapping of names to texts")
	if !ok {
		return nil
	}
	if len(found) > maxEntries {
		p.fail(path, "found %d entries; expected at most %d", len(found), maxEntries)
	}
	all := make(map[string]string, len(found))
	for name, value := range found {
		text, ok := scalar(value)
		if !ok || len(text) > most {
			p.fail(below(path, name), "expected a text of at most %d bytes", most)
			continue
		}
		all[name] = text
	}
	return all
}

func cut(text string) string {
	if runes := []rune(text); len(runes) > 40 {
		return string(runes[:40]) + "…"
	}
	return text
}

// tree decodes JSON with its numbers as they are written.
func tree(raw json.RawMessage) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("is no JSON: %w", err)
	}
	return v, nil
}
