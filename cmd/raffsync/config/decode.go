package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"raffsync/connectors"
	"raffsync/connectors/hooks"
)

// field is one setting of the format: how it is read, and what [Reference] says of it.
type field struct {
	name string
	// takes says what is expected, as in "expected …"; fallback is what holds where
	// it is left out.
	takes, fallback, doc string
	required             bool
	// inside are the fields of a section. named says that the names before them are
	// the user's.
	// listed that it is a list of them.
	inside []field
	named  bool
	listed bool
	decode func(*decoder, value)
}

// value is a node with where it stands.
type value struct {
	path string
	name string
	key  position
	node ast.Node
}

// decoder reads a syntax tree into fields and gathers problems.
type decoder struct {
	options  Options
	src      *source
	problems []Problem
	warnings []Problem
	// places are the positions of values, names those of the names before them, by
	// path: "routes.invoices.to".
	places, names map[string]position
	// references are the texts in settings, by path.
	references map[string]string
	// unsound are the routes that were not read as they were meant.
	unsound map[string]bool
	// connectors are the destinations that could be built, by name: they plan their routes'
	// steps.
	connectors map[string]connectors.Destination
	// receivers are the sources that webhooks are received of, by name.
	receivers map[string]*hooks.Source
}

func (d *decoder) fail(at position, path, format string, args ...any) {
	d.problems = append(d.problems, d.src.problem(at, under(path, fmt.Sprintf(format, args...))))
}

func (d *decoder) warn(at position, path, format string, args ...any) {
	d.warnings = append(d.warnings, d.src.problem(at, under(path, fmt.Sprintf(format, args...))))
}

func under(path, message string) string {
	if path == "" {
		return message
	}
	return path + ": " + message
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// at is where the value begins; where there is none, its name.
func (v value) at() position {
	switch n := v.node.(type) {
	case nil, *ast.NullNode:
		return v.key
	case *ast.MappingNode:
		// A mapping in block style has the colon of its first entry for a token.
		if first := entries(n); !n.IsFlowStyle && len(first) > 0 {
			return positionOf(first[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return positionOf(n.Key.GetToken())
	}
	return positionOf(v.node.GetToken())
}

// kind says what sort of value stands there.
func (v value) kind() string {
	switch v.node.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	}
	return "a number, true or false"
}

// found repeats what stands there, short.
func (v value) found() string {
	text, ok := scalar(v.node)
	if !ok {
		return v.kind()
	}
	if v.kind() == "a text" {
		return strconv.Quote(short(text))
	}
	return short(text)
}

func short(text string) string {
	const most = 40
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// scalar is the text of a single value as it was written: 0042 stays 0042, no is "no".
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func entries(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// refuse reports what is YAML but not taken here, and says whether there was any.
func (d *decoder) refuse(root ast.Node) bool {
	seen := map[string]bool{}
	ast.Walk(visitor(func(n ast.Node) {
		var message string
		switch n.(type) {
		case *ast.AnchorNode:
			message = anchorFound
		case *ast.AliasNode:
			message = aliasFound
		case *ast.MergeKeyNode:
			message = mergeFound
		case *ast.TagNode:
			message = tagFound
		case *ast.MappingKeyNode:
			message = "found a complex key (?); expected a name"
		}
		// The first of each, since there may be thousands.
		if message != "" && !seen[message] {
			seen[message] = true
			d.fail(positionOf(n.GetToken()), "", "%s", message)
		}
	}), root)
	if len(seen) > 0 {
		d.src.hideWords(vocabulary())
	}
	return len(seen) > 0
}

type visitor func(ast.Node)

func (v visitor) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

// mapping gives the entries of a mapping, without those defined twice. Anything else
// is a problem.
func (d *decoder) mapping(v value, expected string) ([]value, bool) {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		// Not repeated: it may be a secret that lost its indentation.
		d.conceal(v.node)
		d.fail(v.at(), v.path, "found %s; expected %s", v.kind(), expected)
		return nil, false
	}
	var all []value
	seen := map[string]position{}
	for _, entry := range entries(v.node) {
		at := positionOf(entry.Key.GetToken())
		if entry.GetToken().Type != token.MappingValueType {
			// {url, "hunter2"}: a value that lost its name may be a secret too.
			d.src.hide(at, d.behind(entry.Key))
			d.fail(at, v.path, `found no colon; expected "name: value"`)
			continue
		}
		name, ok := scalar(entry.Key)
		if _, null := entry.Key.(*ast.NullNode); null {
			name, ok = entry.Key.GetToken().Value, true
		}
		if !ok {
			d.fail(at, v.path, "expected a name before the colon")
			continue
		}
		if first, twice := seen[name]; twice {
			d.fail(at, v.path, "%q is defined twice; it is in line %d already", short(name), first.line)
			d.conceal(entry.Value)
			continue
		}
		seen[name] = at
		e := value{join(v.path, name), name, at, entry.Value}
		d.names[e.path], d.places[e.path] = at, e.at()
		all = append(all, e)
	}
	return all, true
}

// object reads a mapping by its fields. It gives the fields that unknown names were
// most likely meant for, lest they be reported as missing too.
func (d *decoder) object(v value, fields []field) (guessed []string) {
	all, ok := d.mapping(v, "a mapping with "+choices(namesOf(fields)))
	if !ok {
		return nil
	}
	var found []string
	for _, entry := range all {
		found = append(found, entry.name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == entry.name })
		if i >= 0 {
			fields[i].decode(d, entry)
			continue
		}
		d.conceal(entry.node)
		guessed = append(guessed, meant(entry.name, namesOf(fields)))
		d.fail(entry.key, v.path, "unknown field %q%s expected %s", short(entry.name),
			didYouMean(entry.name, namesOf(fields)), oneOf(namesOf(fields)))
	}
	for _, f := range fields {
		if f.required && !slices.Contains(found, f.name) && !slices.Contains(guessed, f.name) {
			d.fail(v.head(), v.path, "%q is missing; expected %s", f.name, f.takes)
		}
	}
	return guessed
}

// head is the name before a value, or its beginning where it has none.
func (v value) head() position {
	if v.key.line > 0 {
		return v.key
	}
	return v.at()
}

func namesOf(fields []field) []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// conceal keeps every value below a node that may be a secret out of excerpts. Names
// and what [visible] lets through stay.
func (d *decoder) conceal(n ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, entry := range entries(n) {
			d.conceal(entry.Value)
		}
	case *ast.SequenceNode:
		for _, element := range n.Values {
			d.conceal(element)
		}
	default:
		if text, ok := scalar(n); ok && visible(text) != text {
			d.src.hide(positionOf(n.GetToken()), d.behind(n))
		}
	}
}

// behind is where the token after a single value begins.
func (d *decoder) behind(n ast.Node) position {
	last := n.GetToken()
	if literal, ok := n.(*ast.LiteralNode); ok && literal.Value != nil && literal.Value.GetToken() != nil {
		last = literal.Value.GetToken()
	}
	var next *token.Token
	if last != nil {
		next = last.Next
	}
	if next == nil {
		return d.src.end()
	}
	return positionOf(next)
}

// vocabulary is every name of the format.
func vocabulary() map[string]bool {
	known := map[string]bool{}
	var add func([]field)
	add = func(fields []field) {
		for _, f := range fields {
			known[strings.Trim(f.name, "<>")] = true
			add(f.inside)
		}
	}
	add(rootFields(new(File), nil))
	return known
}
