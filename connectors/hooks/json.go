package hooks

import (
	"bytes"
	"encoding/json"
)

// fewNames is up to how many names an object's are compared one by one.
const fewNames = 24

// duplicateName tells whether an object in valid JSON has the same name twice: readers
// differ in which of the two counts, so it is not known what the sender meant. It passes
// over the data once.
func duplicateName(data []byte) bool {
	type frame struct {
		object bool
		few    [][]byte
		many   map[string]struct{}
	}
	var stack []frame
	name := false // a string that comes next is a name
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if len(stack) < cap(stack) { // what an earlier object has gathered is used again
				stack = stack[:len(stack)+1]
				top := &stack[len(stack)-1]
				top.object, top.few, top.many = data[i] == '{', top.few[:0], nil
			} else {
				stack = append(stack, frame{object: data[i] == '{'})
			}
			name = data[i] == '{'
		case '}', ']':
			stack = stack[:len(stack)-1]
			name = false
		case ',':
			name = stack[len(stack)-1].object
		case '"':
			begin := i + 1
			escaped := false
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					escaped = true
					i++
				}
			}
			if !name {
				continue
			}
			name = false
			text := data[begin:i]
			if escaped {
				var unescaped string
				_ = json.Unmarshal(data[begin-1:i+1], &unescaped) // valid, so it cannot fail
				text = []byte(unescaped)
			}
			top := &stack[len(stack)-1]
			if top.many != nil {
				if _, twice := top.many[string(text)]; twice {
					return true
				}
				top.many[string(text)] = struct{}{}
				continue
			}
			for _, other := range top.few {
				if bytes.Equal(other, text) {
					return true
				}
			}
			if top.few = append(top.few, text); len(top.few) > fewNames {
				top.many = make(map[string]struct{}, 2*fewNames)
				for _, other := range top.few {
					top.many[string(other)] = struct{}{}
				}
			}
		}
	}
	return false
}
