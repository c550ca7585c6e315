package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
	"raffsync/connectors/rules"
)

// How a body is written.
const (
	asJSON    = "json"
	asForm    = "form"
	asGraphQL = "graphql"
	asNothing = "none"
)

// call is a compiled call. It is immutable.
type call struct {
	name, path string
	method     string
	target     target
	headers    headers
	encoding   string
	graphql    []byte // the document, as JSON
	doc        any    // the map as it is written; nil for none
	template   *mapping.Template
	rules      *rules.Set
	receipt    *receipt
	find       *find
	update     *call
	repeatable bool
	// needsExisting: a map that does not read existing updates nothing.
	needsExisting bool
	// question: it brings nothing about, whatever its method.
	question bool
	// keyed: it reads request.key, so that its content is told without.
	keyed bool
}

// effect tells whether it brings something about.
func (c *call) effect() bool { return !c.question && c.method != http.MethodGet }

// header is one that is made at a time of its own.
type header struct {
	name string
	text *mapping.Text
}

// headers are those of a call.
type headers struct {
	plain  http.Header       // the same for each request
	secret map[string]secret // the same, and not to be seen
	made   []header          // of the event, when it is prepared
	late   []header          // of the authorisation, when it is sent
}

// compiler compiles a recipe and gathers what is wrong with it.
type compiler struct {
	problems
	d        *document
	env      environments
	settings []setting
	visible  map[string]string
	secrets  map[string]secret
	own      json.RawMessage // the destination's rules
	traits   connectors.Traits
	// unresolved are references that lead to no secret.
	unresolved []error
}

func (c *compiler) declared(name string) bool {
	return slices.ContainsFunc(c.settings, func(s setting) bool { return s.name == name })
}

func (c *compiler) isSecret(name string) bool {
	return slices.ContainsFunc(c.settings, func(s setting) bool { return s.name == name && s.secret })
}

func (c *compiler) settingNames() string {
	var all []string
	for _, s := range c.settings {
		all = append(all, s.name)
	}
	if len(all) == 0 {
		return "none, for the recipe declares no settings"
	}
	return strings.Join(all, ", ")
}

// call compiles a call; more are rules that come before the recipe's.
func (c *compiler) call(d *callDocument) *call {
	made := c.request(d)
	made.rules = c.rules(d)
	made.receipt = c.receipt(below(d.path, "receipt"), &d.receipt)
	made.repeatable = d.repeatable
	if d.find != nil {
		made.find = c.find(d.find, made)
	}
	if d.update != nil {
		made.update = c.update(d, made)
	}
	if !made.effect() && (d.find != nil || d.update != nil) {
		c.fail(d.path, "is a GET, which brings nothing about; it takes neither find nor update")
	}
	return made
}

// update compiles what is otherwise where the effect is there.
func (c *compiler) update(d *callDocument, base *call) *call {
	u := *d.update
	u.method = orElse(u.method, d.method)
	u.url = orElse(u.url, d.url)
	u.graphql = orElse(u.graphql, d.graphql)
	u.encoding = base.encoding
	if u.query == nil {
		u.query = d.query
	}
	u.headers = merged(d.headers, u.headers)
	over := u.mapping
	u.mapping = nil
	made := c.request(&u)
	made.rules, made.receipt, made.repeatable, made.needsExisting = base.rules, base.receipt, u.repeatable, u.needsExisting
	if over != nil {
		// Compiled alone for what is wrong with it, and with each map that it is laid over.
		made.doc, _ = tree(over)
		c.template(below(u.path, "map"), made.doc)
	}
	if base.doc != nil {
		made.template = c.template(below(u.path, "map"), overlaid(base.doc, made.doc))
	}
	if u.find != nil {
		made.find = c.find(u.find, made)
	}
	return made
}

// overlaid is a map with the entries of another added, or in place of its own.
func overlaid(base, over any) any {
	b, ok := base.(map[string]any)
	o, also := over.(map[string]any)
	if !ok || !also {
		return base
	}
	all := maps.Clone(b)
	maps.Copy(all, o)
	return all
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func merged(under, over map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range under {
		all[textproto.CanonicalMIMEHeaderKey(name)] = text
	}
	for name, text := range over {
		all[textproto.CanonicalMIMEHeaderKey(name)] = text
	}
	return all
}

// request compiles what is common to all requests.
func (c *compiler) request(d *callDocument) *call {
	made := &call{name: d.name, path: d.path, method: d.method, encoding: d.encoding}
	made.target = c.target(d)
	made.headers = c.headers(d)
	if d.graphql != "" {
		made.graphql, _ = json.Marshal(d.graphql) // a text always can be
	}
	switch {
	case made.encoding != "":
	case d.graphql != "":
		made.encoding = asGraphQL
	case d.method == http.MethodGet || d.method == http.MethodDelete:
		made.encoding = asNothing
	default:
		made.encoding = asJSON
	}
	switch {
	case made.encoding == asGraphQL && d.graphql == "":
		c.fail(d.path, "has body: graphql and no graphql; expected the query or mutation")
	case made.encoding != asGraphQL && d.graphql != "":
		c.fail(below(d.path, "body"), "%s does not go with graphql; leave one of them out", made.encoding)
	case made.encoding == asNothing && d.mapping != nil:
		c.fail(below(d.path, "map"), "is never sent: there is no body; expected body: json or form, or no map")
	case made.encoding != asNothing && d.method == http.MethodGet:
		c.fail(below(d.path, "body"), "a GET has none; expected another method")
	}
	if d.mapping != nil {
		made.doc, _ = tree(d.mapping)
		made.template = c.template(below(d.path, "map"), made.doc)
	}
	made.keyed = mentions(made.doc, "request") || c.readsKey(d)
	return made
}

func (c *compiler) readsKey(d *callDocument) bool {
	for _, text := range d.query {
		if reads(text, ofKey) {
			return true
		}
	}
	return reads(d.url, ofKey)
}

// mentions tells whether an expression in a tree holds a word.
func mentions(doc any, word string) bool {
	return slices.ContainsFunc(expressions(doc), func(e string) bool { return strings.Contains(e, word) })
}

// expressions are those in the texts of a tree.
func expressions(doc any) (found []string) {
	switch doc := doc.(type) {
	case string:
		all, _ := pieces(doc)
		for _, p := range all {
			found = append(found, p.expression)
		}
	case []any:
		for _, one := range doc {
			found = append(found, expressions(one)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(doc)) {
			found = append(found, expressions(doc[name])...)
		}
	}
	return found
}

// template compiles a map.
func (c *compiler) template(path string, doc any) *mapping.Template {
	c.checkTree(path, doc)
	t, err := mapping.CompileTemplate(doc, c.env.calls)
	if err != nil {
		c.add(templateError(path, doc, err))
		return nil
	}
	return t
}

func (c *compiler) checkTree(path string, doc any) {
	switch doc := doc.(type) {
	case string:
		c.checkSettings(path, doc)
	case []any:
		for i, one := range doc {
			c.checkTree(fmt.Sprintf("%s[%d]", path, i), one)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(doc)) {
			c.checkTree(below(path, name), doc[name])
		}
	}
}

// templateError places an error of a map, whose path is a JSON pointer into it.
func templateError(path string, doc any, err error) *Error {
	wrong := &Error{Path: path, Message: err.Error()}
	var where *mapping.TemplateError
	if errors.As(err, &where) {
		wrong.Path, wrong.Message = pointed(path, doc, where.Path), where.Err.Error()
	}
	var syntax *mapping.SyntaxError
	if errors.As(err, &syntax) {
		wrong.Line, wrong.Column, wrong.Message = syntax.Line, syntax.Column, syntax.Message
	}
	return wrong
}

// pointed is a JSON pointer as a path of the configuration.
func pointed(path string, doc any, pointer string) string {
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if token == "" {
			continue
		}
		switch at := doc.(type) {
		case []any:
			path += "[" + token + "]"
			var i int
			if _, err := fmt.Sscan(token, &i); err == nil && i >= 0 && i < len(at) {
				doc = at[i]
			} else {
				doc = nil
			}
		default:
			token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
			path = below(path, token)
			m, _ := at.(map[string]any)
			doc = m[token]
		}
	}
	return path
}

// headers compiles the recipe's headers with those of a call.
func (c *compiler) headers(d *callDocument) headers {
	h := headers{plain: http.Header{}, secret: map[string]secret{}}
	all := merged(c.d.headers, d.headers)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := below(below(c.d.path, "headers"), name)
		if _, own := d.headers[name]; own {
			path = below(below(d.path, "headers"), name)
		}
		if !c.headerName(path, name) {
			continue
		}
		switch text := all[name]; {
		case reads(text, ofAuth) && reads(text, ofEvent):
			c.fail(path, "reads both the authorisation and the event; expected one of them")
		case reads(text, ofAuth):
			h.late = append(h.late, header{name, c.text(path, text, c.env.late)})
		case reads(text, ofEvent):
			h.made = append(h.made, header{name, c.text(path, text, c.env.calls)})
		default:
			value, confidential, ok := c.constant(path, text)
			switch {
			case !ok:
			case !isHeaderValue(value):
				c.fail(path, "must be at most %d bytes, without control characters", maxHeaderBytes)
			case confidential:
				h.secret[name] = newSecret(value)
			default:
				h.plain.Set(name, value)
			}
		}
	}
	return h
}

// ownHeaders are made for each request, or are of the connection and not of the message
// (RFC 9110, section 7.6.1).
var ownHeaders = []string{
	"Content-Length", "Content-Encoding", "Host", "User-Agent", "Accept-Encoding", "Expect",
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

const maxHeaderBytes = 4 << 10

func (p *problems) headerName(path, name string) bool {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		p.fail(path, "is not the name of a header")
	case slices.Contains(ownHeaders, canonical):
		p.fail(path, "%s can't be set: it is made for each request, or is of the connection", canonical)
	default:
		return true
	}
	return false
}

// isHeaderValue follows RFC 9110, section 5.5, without the obsolete bytes above ASCII,
// which platforms read in different ways.
func isHeaderValue(value string) bool {
	return len(value) <= maxHeaderBytes && httpguts.ValidHeaderFieldValue(value) && !strings.ContainsFunc(value, func(r rune) bool { return r > '~' })
}
