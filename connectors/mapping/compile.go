package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// maxNesting is how deep a template may nest, and what it renders.
const maxNesting = 100

// part compiles a value of a template. Its path is a JSON pointer into the template.
func (c *compiler) part(doc any, path string) (part, error) {
	if strings.Count(path, "/") > maxNesting {
		return nil, &TemplateError{Path: path, Err: fmt.Errorf("it nests deeper than %d levels", maxNesting)}
	}
	switch doc := doc.(type) {
	case map[string]any:
		return c.object(doc, path)
	case []any:
		elements, err := c.elements(doc, path)
		if err != nil {
			return nil, err
		}
		return &list{elements}, nil
	case string:
		segments, err := c.segments(doc)
		if err != nil {
			return nil, &TemplateError{Path: path, Err: err}
		}
		switch {
		case len(segments) == 1 && segments[0].expression != nil:
			return &value{segments[0].expression}, nil
		case len(segments) == 1:
			return &literal{segments[0].literal}, nil
		case len(segments) == 0:
			return &literal{""}, nil
		}
		return &text{segments}, nil
	}
	scalar, err := constantOf(doc)
	if err != nil {
		return nil, &TemplateError{Path: path, Err: err}
	}
	return &literal{scalar}, nil
}

// constantOf is a scalar of decoded YAML or JSON as results have it.
func constantOf(doc any) (any, error) {
	switch doc := doc.(type) {
	case nil, bool:
		return doc, nil
	case json.Number:
		if skipNumber([]byte(doc+" "), 0) != len(doc) {
			return nil, errors.New("it is no number of JSON")
		}
		return doc, nil
	}
	switch v := reflect.ValueOf(doc); {
	case v.CanInt():
		return json.Number(strconv.FormatInt(v.Int(), 10)), nil
	case v.CanUint():
		return json.Number(strconv.FormatUint(v.Uint(), 10)), nil
	case v.CanFloat():
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), nil
		}
		return nil, errors.New("it is no number that JSON has")
	}
	return nil, fmt.Errorf("a map holds maps, lists, texts, numbers, true, false and null, not %T; put a date in quotes", doc)
}

// The names that mean something in a map of a template.
const (
	eachName   = "$each"
	indexName  = "$index"
	ifName     = "$if"
	valueName  = "$value"
	spliceName = "$splice"
)

// object compiles a map that stands for one value: as a field, or as the whole.
func (c *compiler) object(doc map[string]any, path string) (part, error) {
	for _, name := range []string{eachName, indexName, spliceName} {
		if _, ok := doc[name]; ok {
			return nil, &TemplateError{Path: path + "/" + name, Err: fmt.Errorf("%s stands in a list: put a - before its map", name)}
		}
	}
	one, err := c.fields(doc, path)
	if err != nil {
		return nil, err
	}
	condition, err := c.condition(doc, path)
	if err != nil || condition == nil {
		return one, err
	}
	return &optional{condition, one}, nil
}

// fields compiles what a map is besides its $each and $if.
func (c *compiler) fields(doc map[string]any, path string) (part, error) {
	o := &object{}
	var sorted []string
	for name := range doc {
		switch {
		case name == eachName, name == indexName, name == ifName, name == valueName:
		case strings.HasPrefix(name, "$$"):
			sorted = append(sorted, name)
		case strings.HasPrefix(name, "$") && !strings.HasPrefix(name, "${"):
			return nil, &TemplateError{Path: pointer(path, name), Err: fmt.Errorf("there is no %s: there are $each, $index, $if, $value and $splice; a field that is named so is written $%s", name, name)}
		case strings.Contains(name, "${"):
			return nil, &TemplateError{Path: pointer(path, name), Err: errors.New("a field's name is plain text, without ${")}
		case !utf8.ValidString(name):
			return nil, &TemplateError{Path: path, Err: errors.New("a field's name is not UTF-8")}
		default:
			sorted = append(sorted, name)
		}
	}
	if only, ok := doc[valueName]; ok {
		if len(sorted) > 0 {
			return nil, &TemplateError{Path: path + "/" + valueName, Err: fmt.Errorf("$value is the whole value, so there can be no %s beside it", sorted[0])}
		}
		return c.part(only, path+"/"+valueName)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		compiled, err := c.part(doc[name], pointer(path, name))
		if err != nil {
			return nil, err
		}
		o.names = append(o.names, strings.Replace(name, "$$", "$", 1))
		o.fields = append(o.fields, compiled)
	}
	return o, nil
}

// condition compiles a map's $if; it is nil where there is none.
func (c *compiler) condition(doc map[string]any, path string) (*expression, error) {
	source, ok := doc[ifName]
	if !ok {
		return nil, nil
	}
	return c.sole(source, path+"/"+ifName, "$if takes one expression that gives true or false, like ${line.quantity > 0}", cel.BoolType)
}

// sole compiles a value that has to be one expression which gives a type, or something
// that only an event shows.
func (c *compiler) sole(doc any, path, takes string, gives *cel.Type) (*expression, error) {
	source, ok := doc.(string)
	if !ok {
		return nil, &TemplateError{Path: path, Err: errors.New(takes)}
	}
	segments, err := c.segments(source)
	if err != nil {
		return nil, &TemplateError{Path: path, Err: err}
	}
	if len(segments) != 1 || segments[0].expression == nil {
		return nil, &TemplateError{Path: path, Err: errors.New(takes)}
	}
	if out := segments[0].expression.gives; out.Kind() != gives.Kind() && out.Kind() != cel.DynType.Kind() {
		return nil, &TemplateError{Path: path, Err: fmt.Errorf("%s; this gives %s", takes, out)}
	}
	return segments[0].expression, nil
}

// pointer adds a name to a JSON pointer (RFC 6901).
func pointer(path, name string) string {
	return path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
