package rules

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// inspected is an answer that is being looked at: its body is parsed when a rule
// first looks into it, once.
type inspected struct {
	Answer
	parsed bool
	root   any
}

const (
	// maxDepth bounds nesting: what is deeper is nobody's answer, and a path's .. costs
	// the depth for each node.
	maxDepth = 64
	// maxText is how much of a text is looked at, in bytes.
	maxText = 1 << 10
)

// document is the body as JSON; nil where it is none.
func (in *inspected) document() any {
	if in.parsed {
		return in.root
	}
	in.parsed = true
	body := in.Body
	cut := in.Cut
	if len(body) > MaxBody {
		body, cut = body[:MaxBody], true
		in.Cut = true
	}
	in.root = Document(body, cut)
	return in.root
}

// Document is a body as JSON, its numbers as they are written (json.Number); of one that is
// cut, as much as came. It is nil where it is no JSON, or nests deeper than 64.
func Document(body []byte, cut bool) any {
	if len(body) == 0 || tooDeep(body) {
		return nil
	}
	var root any
	if cut {
		// The beginning of a number is another number.
		body = bytes.TrimRight(body, "+-.0123456789Ee")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if cut {
		root, _ = beginning(decoder)
		return root
	}
	if decoder.Decode(&root) != nil {
		return nil
	}
	return root
}

// beginning is as much of a value as came; ok says that all of it did.
func beginning(decoder *json.Decoder) (value any, ok bool) {
	token, err := decoder.Token()
	if err != nil {
		return nil, false
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return object, false
			}
			member, ok := beginning(decoder)
			if member != nil || ok {
				object[name.(string)] = member // a name is a string, or an error before
			}
			if !ok {
				return object, false
			}
		}
		_, err = decoder.Token()
		return object, err == nil
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			element, ok := beginning(decoder)
			if element != nil || ok {
				list = append(list, element)
			}
			if !ok {
				return list, false
			}
		}
		_, err = decoder.Token()
		return list, err == nil
	}
	return token, true
}

// tooDeep counts brackets outside of texts.
func tooDeep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// Written is a single value as it is written, its first KiB; false for a list, a mapping or
// null.
func Written(node any) (string, bool) {
	switch node := node.(type) {
	case string:
		return clipped(node), true
	case json.Number:
		return node.String(), true
	case bool:
		return strconv.FormatBool(node), true
	}
	return "", false
}

func clipped(text string) string { return text[:min(len(text), maxText)] }
