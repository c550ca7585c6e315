package rules

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/registry"
	"github.com/theory/jsonpath/spec"
)

// maxPath bounds a path, in bytes.
const maxPath = 200

// paths parses RFC 9535 without functions: two of them take regular expressions from
// the body, and none is worth its cost here.
var paths = jsonpath.NewParser(jsonpath.WithRegistry(&registry.Registry{}))

// ParsePath takes a JSON path (RFC 9535) of at most 200 bytes of which evaluation visits no node of a body twice. One of
// 200 bytes could otherwise select more nodes than there are atoms: $[*,*][*,*]…
func ParsePath(text string) (*jsonpath.Path, error) {
	if len(text) > maxPath {
		return nil, fmt.Errorf("has %d bytes; expected at most %d", len(text), maxPath)
	}
	path, err := paths.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is no JSON path (RFC 9535): %s", strings.TrimPrefix(err.Error(), "jsonpath: "))
	}
	descents := 0
	for _, segment := range path.Query().Segments() {
		if segment.IsDescendant() {
			descents++
		}
		if err := checkSelectors(segment.Selectors()); err != nil {
			return nil, err
		}
	}
	if descents > 1 {
		return nil, errors.New("holds .. twice; expected it once")
	}
	return path, nil
}

var quotedLiteral = regexp.MustCompile(`"(\\.|[^"\\])*"`)

func checkSelectors(selectors []spec.Selector) error {
	seen := map[spec.Name]bool{}
	for _, selector := range selectors {
		switch selector := selector.(type) {
		case spec.Name:
			if seen[selector] {
				return fmt.Errorf("selects %s twice in one place", selector)
			}
			seen[selector] = true
		case *spec.FilterSelector:
			filter := quotedLiteral.ReplaceAllString(strings.TrimPrefix(selector.String(), "?"), "")
			if strings.ContainsAny(filter, "*$?:,") || strings.Contains(filter, "..") {
				return errors.New("holds a filter that searches; expected one that compares what @ names, as [?@.level == 'error']")
			}
		}
	}
	if len(selectors) > 1 && len(seen) != len(selectors) {
		return errors.New("selects in several ways in one place; expected several names, as ['code','type'], or one of the others")
	}
	return nil
}

// place is where something is found in an answer: by a path into its body, or in a
// header. The zero place is nowhere.
type place struct {
	path   *jsonpath.Path
	header string
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,100}$`)

func parsePlace(text string) (place, error) {
	if strings.HasPrefix(text, "$") {
		path, err := ParsePath(text)
		return place{path: path}, err
	}
	if !headerName.MatchString(text) {
		return place{}, errors.New("expected a JSON path ($.error.code), or the name of a header")
	}
	return place{header: http.CanonicalHeaderKey(text)}, nil
}

// find is the first text there, as one line.
func (p place) find(in *inspected) string {
	switch {
	case p.header != "":
		return line(in.Header.Get(p.header))
	case p.path == nil || in.document() == nil:
		return ""
	}
	for _, node := range p.path.Select(in.document()) {
		if found := Text(node); found != "" {
			return found
		}
	}
	return ""
}
