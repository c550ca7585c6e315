package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// output is a value of CEL as Result has it.
func (r *run) output(v ref.Val, depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("it nests deeper than %d levels", maxNesting)
	}
	switch v := v.(type) {
	case types.String:
		return r.scalar(string(v))
	case types.Bool:
		return r.scalar(bool(v))
	case types.Null:
		return r.scalar(nil)
	case *types.Unknown:
		return r.scalar(r.gap(v))
	case *types.Optional:
		if !v.HasValue() {
			return absent, nil
		}
		return r.output(v.GetValue(), depth)
	case types.Timestamp:
		return r.scalar(v.Format(time.RFC3339Nano))
	case *types.Err:
		return nil, describe(v)
	case traits.Mapper:
		return r.outputMap(v, depth)
	case traits.Lister:
		return r.outputList(v, depth)
	}
	if number, ok := jsonNumber(v); ok {
		return r.scalar(number)
	}
	return nil, fmt.Errorf("it gives %s, which JSON does not have", v.Type().TypeName())
}

func jsonNumber(v ref.Val) (json.Number, bool) {
	switch v := v.(type) {
	case *decimal:
		return v.json(), true
	case types.Int, types.Uint:
		return json.Number(fmt.Sprint(v.Value())), true
	case types.Double:
		number, _, err := asDecimal(v)
		if err != nil {
			return "", false
		}
		return json.Number(number.Text('f')), true
	}
	return "", false
}

func (r *run) outputMap(m traits.Mapper, depth int) (any, error) {
	if err := r.grow(3); err != nil {
		return nil, err
	}
	all := make(map[string]any)
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, errors.New("a field's name has to be a text")
		}
		if err := r.grow(jsonLength(string(name)) + 2); err != nil {
			return nil, err
		}
		v, err := r.output(m.Get(key), depth+1)
		if err != nil {
			return nil, err
		}
		if v != absent {
			all[string(name)] = v
		}
	}
	return all, nil
}

func (r *run) outputList(l traits.Lister, depth int) (any, error) {
	if err := r.grow(3); err != nil {
		return nil, err
	}
	all := make([]any, 0, min(listSize(l), 1024))
	for it := l.Iterator(); it.HasNext() == types.True; {
		v, err := r.output(it.Next(), depth+1)
		if err != nil {
			return nil, err
		}
		if v != absent {
			all = append(all, v)
		}
	}
	return all, nil
}

// scalar counts a value that is no map or list, and the comma behind it.
func (r *run) scalar(v any) (any, error) {
	length := len("false")
	switch s := v.(type) {
	case string:
		if !utf8.ValidString(s) {
			v = strings.ToValidUTF8(s, "\uFFFD")
		}
		length = jsonLength(v.(string))
	case json.Number:
		length = len(s)
	}
	if err := r.grow(length + 1); err != nil {
		return nil, err
	}
	return v, nil
}

// jsonLength is how many bytes a text has as JSON at most.
func jsonLength(s string) int {
	length := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20:
			length += 5
		case c == '"', c == '\\':
			length++
		}
	}
	return length
}

// written is a value as it stands within a text.
func (r *run) written(v ref.Val) (string, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Bool, types.Int, types.Uint:
		return fmt.Sprint(v.Value()), nil
	case *decimal:
		text, err := v.text()
		if err != nil {
			return "", describe(err.(*types.Err))
		}
		return text, nil
	case types.Timestamp:
		return v.Format(time.RFC3339Nano), nil
	case *types.Unknown:
		return r.gap(v), nil
	}
	return "", fmt.Errorf("a text takes texts, numbers, true and false, and got %s", v.Type().TypeName())
}
