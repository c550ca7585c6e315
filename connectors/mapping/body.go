package mapping

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Body is a payload that is parsed as far as expressions look into it, each part
// once. One goroutine uses it at a time.
type Body struct {
	root    node
	checked bool
}

// NewBody wraps a payload. Nil, like data that is no JSON, makes `body` null.
func NewBody(data []byte) *Body { return &Body{root: node{data: data}} }

func (b *Body) value() any {
	if !b.checked {
		b.checked = true
		if ValidJSON(b.root.data) {
			b.root.data = bytes.TrimSpace(b.root.data)
		} else {
			b.root.parsed = true // as null
		}
	}
	return b.root.native()
}

// node is a value inside valid JSON. Conditions read a field or two of payloads that
// may have thousands, so what holds a node parses no further than to where it ends.
type node struct {
	data   []byte
	depth  int
	value  any // once parsed
	parsed bool
}

// lazyDepth is how deep parsing goes step by step. Each step looks at all that is
// inside, so what is nested deeper is parsed at once.
const lazyDepth = 32

// native is the value in Go: map[string]any and []any of nodes, or a string, bool,
// int64, float64 or nil.
func (n *node) native() any {
	if !n.parsed {
		n.parsed = true
		n.value = n.parse()
	}
	return n.value
}

func (n *node) parse() any {
	data := n.data
	if n.depth == lazyDepth {
		return parseAll(data)
	}
	switch data[0] {
	case '{':
		fields := make(map[string]any)
		skipElements(data, 0, 0, func(name, value [2]int) {
			fields[unquote(data[name[0]:name[1]])] = &node{data: data[value[0]:value[1]], depth: n.depth + 1}
		})
		return fields
	case '[':
		var elements []any
		skipElements(data, 0, 0, func(_, value [2]int) {
			elements = append(elements, &node{data: data[value[0]:value[1]], depth: n.depth + 1})
		})
		return elements
	case '"':
		return unquote(data)
	case 't', 'f':
		return data[0] == 't'
	case 'n':
		return nil
	}
	return number(string(data))
}

func parseAll(data []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	_ = decoder.Decode(&v) // valid, so it cannot fail
	return exactNumbers(v)
}

// exactNumbers resolves the numbers of a value, in place.
func exactNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case map[string]any:
		for name, field := range v {
			v[name] = exactNumbers(field)
		}
	case []any:
		for i, element := range v {
			v[i] = exactNumbers(element)
		}
	}
	return v
}

func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // valid, so it cannot fail
	return s
}

// number is an int64 where that is exact, and else a float64; one that is out of
// range is infinite, which compares rightly.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f
}

// bodyAdapter shows nodes to CEL.
type bodyAdapter struct{ *types.Registry }

func (a bodyAdapter) NativeToValue(v any) ref.Val {
	if n, ok := v.(*node); ok {
		v = n.native()
	}
	switch v := v.(type) {
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Registry.NativeToValue(v)
}
