package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Change sets one field of a JSON payload.
type Change struct {
	// Path is a JSON pointer (RFC 6901): what is there, or a new name in an object that is.
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

const (
	// MostChanges is how many fields one edit changes at most, longestPath and
	// longestValue the most bytes of each.
	MostChanges  = 50
	longestPath  = 500
	longestValue = 64 << 10
)

// CheckEditPath tells whether a text is a pattern of [EditsConfig].
func CheckEditPath(pattern string) error {
	names, err := pointer(pattern)
	if err == nil && slices.Contains(names, "") {
		err = errors.New("expected a name between two /")
	}
	return err
}

// pointer splits a JSON pointer into its names.
func pointer(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") || len(path) > longestPath || storable(path) != path {
		return nil, errors.New("expected a JSON pointer, as /data/items/0/sku")
	}
	names := strings.Split(path[1:], "/")
	for i, name := range names {
		if rest := strings.NewReplacer("~0", "", "~1", "").Replace(name); strings.Contains(rest, "~") {
			return nil, errors.New("in a JSON pointer ~ is written ~0, and / within a name ~1")
		}
		names[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
	}
	return names, nil
}

// below tells whether a path is at a pattern or below it.
func below(path, pattern []string) bool {
	if len(path) < len(pattern) {
		return false
	}
	for i, name := range pattern {
		if name != "*" && name != path[i] {
			return false
		}
	}
	return true
}

// judge tells whether a route allows changes, and whether they need a second person: also
// where what they replace has such a field inside.
func (c *EditsConfig) judge(changes []Change) (second bool, err error) {
	if len(changes) == 0 || len(changes) > MostChanges {
		return false, &Refusal{Field: "changes", Message: fmt.Sprintf("an edit changes 1 to %d fields", MostChanges)}
	}
	for _, change := range changes {
		path, err := pointer(change.Path)
		if err != nil {
			return false, &Refusal{Field: "changes", Message: fmt.Sprintf("%q is no path: %v", truncated(change.Path, 100), err)}
		}
		if len(change.Value) > longestValue || !json.Valid(change.Value) || bytes.Contains(change.Value, []byte(`\u0000`)) {
			return false, &Refusal{Field: "changes", Message: fmt.Sprintf("the value of %s is no JSON, longer than %d bytes, or has a NUL in it", change.Path, longestValue)}
		}
		allowed := false
		for _, pattern := range c.Allow {
			names, _ := pointer(pattern) // checked when it was applied
			allowed = allowed || below(path, names)
		}
		for _, pattern := range c.SecondPerson {
			names, _ := pointer(pattern)
			if below(path, names) {
				allowed, second = true, true
			}
			if len(path) < len(names) && below(pad(path, names), names) {
				second = true
			}
		}
		if !allowed {
			return false, &Refusal{Field: "changes", Message: fmt.Sprintf("its route does not allow to change %s; it allows %s", change.Path, c.words())}
		}
	}
	return second, nil
}

// pad makes a path as long as a pattern whose end it does not reach.
func pad(path, pattern []string) []string { return append(slices.Clone(path), pattern[len(path):]...) }

func (c *EditsConfig) words() string {
	all := append(slices.Clone(c.Allow), c.SecondPerson...)
	if len(all) == 0 {
		return "nothing (edits.allow)"
	}
	return strings.Join(all, ", ")
}

// patched is a payload with changes. Numbers that are not changed stay digit for digit.
func patched(payload []byte, changes []Change) ([]byte, error) {
	document, err := decodeExact(payload)
	if err != nil {
		return nil, &Refusal{Message: "the event's payload is no JSON: it cannot be edited by field"}
	}
	for _, change := range changes {
		names, err := pointer(change.Path)
		if err != nil {
			return nil, err
		}
		value, err := decodeExact(change.Value)
		if err != nil {
			return nil, err
		}
		if err := set(document, names, value); err != nil {
			return nil, &Refusal{Field: "changes", Message: fmt.Sprintf("%s: %v", change.Path, err)}
		}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(document)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func decodeExact(text []byte) (v any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one value")
	}
	return v, nil
}

// set changes a document at a path, which has a name at least.
func set(document any, names []string, value any) error {
	for i, name := range names {
		last := i == len(names)-1
		switch at := document.(type) {
		case map[string]any:
			if last {
				at[name] = value
				return nil
			}
			inner, ok := at[name]
			if !ok {
				return fmt.Errorf("there is no %q to change something in", name)
			}
			document = inner
		case []any:
			n, err := strconv.Atoi(name)
			if err != nil || n < 0 || n >= len(at) || strconv.Itoa(n) != name {
				return fmt.Errorf("there is no element %q in a list of %d", name, len(at))
			}
			if last {
				at[n] = value
				return nil
			}
			document = at[n]
		default:
			return fmt.Errorf("what %q would be in is neither an object nor a list", name)
		}
	}
	return nil
}
