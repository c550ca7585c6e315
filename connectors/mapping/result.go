package mapping

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Result is what a template gives.
type Result struct {
	// Value is a tree of map[string]any, []any, string, bool, json.Number and nil. Where
	// a look-up missed, a text stands that names it.
	Value any
	// Missing are the look-ups that found nothing, each table and value once. Nothing
	// may be sent while there are any.
	Missing []Miss
}

// JSON is the value as JSON of at most 1 MiB: the same value always gives the same bytes.
// Fields are sorted by name, numbers stand as they were written, and nothing is escaped
// that need not be. It fails where a value is none that a template renders.
func (r Result) JSON() ([]byte, error) {
	return appendJSON(make([]byte, 0, 1024), r.Value)
}

func appendJSON(out []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return fmt.Append(out, v), nil
	case json.Number:
		return append(out, v...), nil
	case string:
		return appendString(out, v), nil
	case map[string]any:
		out = append(out, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(appendString(out, name), ':')
			if out, err = appendJSON(out, v[name]); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	case []any:
		out = append(out, '[')
		for i, element := range v {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendJSON(out, element); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	return nil, fmt.Errorf("no template renders a %T", v)
}

func sortedNames(v map[string]any) []string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const hexDigits = "0123456789abcdef"

// appendString escapes what JSON asks to be: quotes, backslashes and control characters.
func appendString(out []byte, s string) []byte {
	out = append(out, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(out, s[done:]...), '"')
}
