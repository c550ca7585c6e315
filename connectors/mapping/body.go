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
// once. Of fields with the same name the last one counts, as in [encoding/json]. One
// goroutine uses it at a time.
type Body struct {
	root    node
	checked bool
	empty   bool

	judged  bool
	problem error
}

// NewBody wraps a payload. Nil, like data that is no JSON, makes `body` null.
func NewBody(data []byte) *Body { return &Body{root: node{data: data}} }

func (b *Body) value() any {
	if !b.checked {
		b.checked = true
		data := bytes.TrimSpace(b.root.data)
		if ValidJSON(data) {
			b.root.data = data
		} else {
			b.empty = len(data) == 0
			b.root.parsed = true // as null
		}
	}
	return b.root.native()
}

// BodyError is told where a template or a text reads the body of a payload that is no
// JSON, or no UTF-8. A condition sees null there, and U+FFFD for what is no UTF-8; a
// document that is sent must not be made of that.
type BodyError struct{ reason string }

func (e *BodyError) Error() string { return e.reason }

// trusted tells why nothing may be made of the payload, or nil. An empty payload is null
// and no error.
func (b *Body) trusted() error {
	if b.judged {
		return b.problem
	}
	b.judged = true
	b.value()
	switch {
	case b.root.data == nil || b.empty:
	case !utf8.Valid(b.root.data):
		b.problem = &BodyError{"the payload is not UTF-8, which JSON has to be"}
	case b.root.parsed && b.root.value == nil && string(b.root.data) != "null":
		b.problem = &BodyError{"the payload is not JSON"}
	}
	return b.problem
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
// json.Number or nil.
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
		fields, inside := make(map[string]any), nodes{}
		skipElements(data, 0, 0, func(name, value [2]int) {
			fields[unquote(data[name[0]:name[1]])] = inside.add(data[value[0]:value[1]], n.depth+1)
		})
		return fields
	case '[':
		var elements []any
		inside := nodes{}
		skipElements(data, 0, 0, func(_, value [2]int) {
			elements = append(elements, inside.add(data[value[0]:value[1]], n.depth+1))
		})
		return elements
	case '"':
		return unquote(data)
	case 't', 'f':
		return data[0] == 't'
	case 'n':
		return nil
	}
	return json.Number(data)
}

// nodes makes nodes some at a time.
type nodes []node

func (b *nodes) add(data []byte, depth int) *node {
	if len(*b) == cap(*b) {
		*b = make(nodes, 0, min(max(4, 2*cap(*b)), 64))
	}
	*b = append(*b, node{data: data, depth: depth})
	return &(*b)[len(*b)-1]
}

func parseAll(data []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	_ = decoder.Decode(&v) // valid, so it cannot fail
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

// looseNumber is an int64 where that is exact, and else a float64; one that is out of
// range is infinite, which compares rightly.
func looseNumber(n json.Number) ref.Val {
	if n, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return types.Int(n)
	}
	f, _ := strconv.ParseFloat(string(n), 64)
	return types.Double(f)
}

// bodyAdapter shows nodes to CEL, numbers as the expressions of its environment see them.
type bodyAdapter struct {
	*types.Registry
	number func(json.Number) ref.Val
}

func (a bodyAdapter) NativeToValue(v any) ref.Val {
	if n, ok := v.(*node); ok {
		v = n.native()
	}
	switch v := v.(type) {
	case json.Number:
		return a.number(v)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	}
	return a.Registry.NativeToValue(v)
}
