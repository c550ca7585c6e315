package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a file. goccy/go-yaml 1.19 takes time by the square of the entries of a
// mapping and of the depth (measured: 28,000 entries 4 s, 100,000 levels beyond 20 s).
const (
	maxFileBytes = 256 << 10
	maxTokens    = 40_000
	maxDepth     = 32
)

// parse makes the syntax tree of the file. Where there is a problem, it is the only
// one: behind it nothing can be told.
func parse(name string, content []byte) (*source, ast.Node, *Problem) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	src := newSource(name, strings.ToValidUTF8(string(content), "�"))
	fail := func(at position, format string, args ...any) (*source, ast.Node, *Problem) {
		src.hideWords(vocabulary())
		p := src.problem(at, fmt.Sprintf(format, args...))
		p.Excerpt = src.excerpt(p)
		return src, nil, &p
	}
	if len(content) > maxFileBytes {
		return fail(position{}, "is larger than %d KiB, the most that is read", maxFileBytes>>10)
	}
	if at, message := checkCharacters(src, content); message != "" {
		return fail(at, "%s", message)
	}
	tokens := lexer.Tokenize(string(content))
	for _, t := range tokens {
		if t.Type == token.CommentType { // an old secret, commented out
			at := positionOf(t)
			src.hide(position{at.line, at.column + 1}, position{at.line + 1, 1})
		}
	}
	if at, message := checkTokens(tokens); message != "" {
		return fail(at, "%s", message)
	}
	// Duplicate names are looked for later, so that they are not the only problem.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, message := syntaxError(err)
		return fail(at, "%s", message)
	}
	root, at, message := body(file)
	if message != "" {
		return fail(at, "%s", message)
	}
	return src, root, nil
}

func checkCharacters(src *source, content []byte) (position, string) {
	switch {
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		return position{}, "is UTF-16; save it as UTF-8"
	case !utf8.Valid(content):
		at := len(content)
		for i, r := range string(content) {
			if _, width := utf8.DecodeRune(content[i:]); r == utf8.RuneError && width == 1 {
				at = i
				break
			}
		}
		before := newSource("", string(content[:at]))
		return before.end(), "found a byte that is not UTF-8; save the file as UTF-8"
	}
	for i, line := range src.lines {
		indentation := true
		for j, r := range line {
			at := position{i + 1, j + 1}
			switch {
			case r == '\t' && indentation:
				return at, "found a tab in the indentation; expected spaces"
			case r != '\t' && r < ' ' || r >= 0x7f && r < 0xa0 && r != 0x85:
				return at, fmt.Sprintf("found the control character U+%04X; expected text", r)
			case r != ' ':
				indentation = false
			}
		}
	}
	return position{}, ""
}

// checkTokens bounds what the parser is given.
func checkTokens(tokens token.Tokens) (position, string) {
	if len(tokens) > maxTokens {
		return positionOf(tokens[maxTokens]), fmt.Sprintf("the file holds more than %d words and signs, the most that are read", maxTokens)
	}
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		at := positionOf(t)
		if at.line != line {
			line, entries = at.line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			entries++
		}
		if flow > maxDepth || entries > maxDepth || t.Position.IndentNum > 8*maxDepth {
			return at, fmt.Sprintf("is nested deeper than %d levels", maxDepth)
		}
	}
	return position{}, ""
}

// What would make one value stand for another, or for something else than it says.
const (
	anchorFound = "found an anchor (&name); expected the value alone"
	aliasFound  = "found an alias (*name); expected the value itself, written out"
	mergeFound  = "found a merge (<<); expected the fields themselves, written out"
	tagFound    = "found a tag (!name); expected the value alone"
)

// syntaxErrors says in other words what the parser found. What it says of its own
// accord may quote the file, and is not passed on.
var syntaxErrors = []struct{ found, message string }{
	{"end character of double-quoted text", `the quote that opens here is not closed; expected a closing "`},
	{"end character of single-quoted text", "the quote that opens here is not closed; expected a closing '"},
	{"',' or '}' must be specified", "expected , or } in the mapping that opened with {"},
	{"',' or ']' must be specified", "expected , or ] in the list that opened with ["},
	{"flow mapping end token", "the { that opens here is not closed; expected }"},
	{"flow map content", "the { that opens here is not closed; expected }"},
	{"sequence end token", "the [ that opens here is not closed; expected ]"},
	{"'[' character corresponding", "found ] without ["},
	{"'{' character corresponding", "found } without {"},
	{"mapping value is not allowed", `expected one value; put a text that holds ": " in quotes`},
	{"unknown escape character", `found an escape that YAML does not know; expected one like \n, \" or \\, or single quotes`},
	{"reserved character", "found a value that begins with @ or `; put it in quotes"},
	{"unexpected key name", `expected "name: value" on one line`},
	{"value is not allowed in this context", `does not belong here; expected "name: value", indented like its neighbours`},
	{"non-map value is specified", `expected "name: value"`},
	{"could not find multi-line content", "expected the lines of the text below, indented deeper"},
	{"alias", aliasFound},
	{"anchor", anchorFound},
	{"merge key", mergeFound},
	{"tag", tagFound},
}

func syntaxError(err error) (position, string) {
	known, ok := err.(yaml.Error)
	if !ok {
		return position{}, "is not valid YAML"
	}
	at := positionOf(known.GetToken())
	for _, e := range syntaxErrors {
		if strings.Contains(known.GetMessage(), e.found) {
			return at, e.message
		}
	}
	return at, `is not valid YAML; expected "name: value"`
}

// body is the only document of the file.
func body(file *ast.File) (ast.Node, position, string) {
	var root ast.Node
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil {
			continue
		}
		at := positionOf(doc.Body.GetToken())
		if _, ok := doc.Body.(*ast.DirectiveNode); ok {
			return nil, at, "found a YAML directive (%); expected the configuration alone"
		}
		if root != nil {
			return nil, at, "found a second document (after ---); expected one"
		}
		root = doc.Body
	}
	if root == nil {
		return nil, position{}, `is empty; expected at least "tenant: NAME"`
	}
	return root, position{}, ""
}
