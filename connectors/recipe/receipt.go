package recipe

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/theory/jsonpath"

	"raffsync/connectors"
	"raffsync/connectors/mapping"
	"raffsync/connectors/outcome"
	"raffsync/connectors/rules"
)

const maxReceipt = 500

// receipt says where an answer tells what the platform made.
type receipt struct {
	id     *spot
	url    []part
	fields []fieldSpot
}

type fieldSpot struct {
	name string
	*spot
}

// spot is a JSON path, or a text over the answer.
type spot struct {
	path *jsonpath.Path
	text *mapping.Text
}

func (c *compiler) receipt(path string, d *receiptDocument) *receipt {
	r := &receipt{}
	if d.id != "" {
		r.id = c.spot(below(path, "id"), d.id)
	}
	if len(d.fields) > connectors.MaxFields {
		c.fail(below(path, "fields"), "found %d; expected at most %d", len(d.fields), connectors.MaxFields)
	}
	for _, name := range slices.Sorted(maps.Keys(d.fields)) {
		at := below(below(path, "fields"), name)
		if !settingName.MatchString(name) && !callName.MatchString(name) {
			c.fail(at, "expected a name of letters, digits and _")
		}
		r.fields = append(r.fields, fieldSpot{name, c.spot(at, d.fields[name])})
	}
	c.receiptURL(below(path, "url"), d.url, r)
	return r
}

// receiptURL compiles a link whose host is fixed: what expressions give is escaped.
func (c *compiler) receiptURL(path, text string, r *receipt) {
	all, err := pieces(text)
	if err != nil {
		c.fail(path, "%s", err)
	}
	literal := ""
	for _, p := range all {
		switch {
		case p.expression == "":
			r.url = append(r.url, part{literal: p.literal})
			literal += p.literal
		case !ofAnswer.MatchString(p.expression):
			fixed, _, ok := c.constant(path, "${"+p.expression+"}")
			if ok {
				r.url = append(r.url, part{literal: fixed})
				literal += fixed
			}
		default:
			if strings.Count(literal, "/") < 3 {
				c.fail(path, "has an expression in its host; expected one in its path or query, so that no answer changes the host")
			}
			r.url = append(r.url, part{
				text: c.text(path, "${"+p.expression+"}", c.env.answers),
				id:   strings.TrimSpace(p.expression) == "receipt.id",
			})
			literal += "x"
		}
	}
	if u, err := url.Parse(literal); text != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		c.fail(path, "expected an https URL, as https://app.example.com/orders/${receipt.id}")
	}
}

func (c *compiler) spot(path, text string) *spot {
	if strings.HasPrefix(text, "$") && !strings.HasPrefix(text, "${") {
		parsed, err := rules.ParsePath(text)
		if err != nil {
			c.fail(path, "%s", err)
		}
		return &spot{path: parsed}
	}
	if !strings.Contains(text, "${") {
		c.fail(path, "expected %s", place)
		return nil
	}
	return &spot{text: c.text(path, text, c.env.answers)}
}

// reading is an answer of which a receipt is read.
type reading struct {
	ctx      context.Context
	document any // the answer, or the item of it
	header   http.Header
	settings map[string]string
	scope    *mapping.Scope // made when an expression first asks for it
}

func (d *destination) reading(ctx context.Context, document any, header http.Header) *reading {
	return &reading{ctx: ctx, document: document, header: header, settings: d.visible}
}

func (r *reading) scoped() *mapping.Scope {
	if r.scope == nil {
		headers := make(map[string]string, len(r.header))
		for name := range r.header {
			headers[strings.ToLower(name)] = r.header.Get(name)
		}
		encoded, _ := json.Marshal(r.document) // it was JSON
		r.scope = &mapping.Scope{
			Event: &mapping.Event{}, Body: mapping.NewBody(encoded),
			Variables: map[string]any{"settings": r.settings, "headers": headers},
		}
	}
	return r.scope
}

// text is what stands at the spot, "" where there is nothing.
func (r *reading) text(s *spot) string {
	if s.path != nil {
		if r.document == nil {
			return ""
		}
		for _, node := range s.path.Select(r.document) {
			if found := rules.Text(node); found != "" {
				return found
			}
		}
		return ""
	}
	text, _, err := s.text.Render(r.ctx, r.scoped())
	if err != nil {
		return "" // absent, or not what the recipe thought: the effect is there all the same
	}
	return rules.Text(text)
}

// fill puts what the answer says into an outcome whose effect is there.
func (r *receipt) fill(x *exchanged, from *reading) {
	o, known := &x.Outcome, x.known
	if r.id != nil {
		o.ExternalID = ""
		if id := from.text(r.id); len(id) <= maxReceipt {
			o.ExternalID = outcome.Scrub(id, known)
		}
	}
	for _, f := range r.fields {
		if text := from.text(f.spot); text != "" {
			if o.Fields == nil {
				o.Fields = make(map[string]string, len(r.fields))
			}
			o.Fields[f.name] = shortened(outcome.Scrub(text, known), connectors.MaxFieldBytes)
		}
	}
	o.URL = outcome.Scrub(outcome.ReceiptURL(x.sent.URL, x.response.Header), known)
	if len(r.url) > 0 {
		o.URL = outcome.Scrub(r.link(from, o.ExternalID), known)
	}
}

// link is the URL that a receipt's template makes, "" where something in it is absent.
func (r *receipt) link(from *reading, id string) string {
	var b strings.Builder
	for _, p := range r.url {
		if p.text == nil {
			b.WriteString(p.literal)
			continue
		}
		text := id
		if !p.id {
			from.scoped().Variables["receipt"] = map[string]any{"id": id}
			text = from.text(&spot{text: p.text})
		}
		if text == "" {
			return ""
		}
		b.WriteString(url.PathEscape(text))
	}
	if b.Len() > maxReceipt {
		return ""
	}
	return b.String()
}

// shortened cuts a text at the end of a character.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// ReceiptFields implements [connectors.ReceiptNamer].
func (d *destination) ReceiptFields(planned any) []string {
	p, err := d.plan(connectors.Step{Plan: planned})
	if err != nil || p.call.receipt == nil {
		return nil
	}
	var names []string
	for _, f := range p.call.receipt.fields {
		names = append(names, f.name)
	}
	return names
}
