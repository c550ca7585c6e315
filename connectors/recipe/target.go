package recipe

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"raffsync/connectors/mapping"
)

// target is a path and a query below the recipe's URL.
type target struct {
	path  []part
	query []header // by name
}

// part of a path: a literal, or what an expression gives, escaped. id: the receipt's, which
// wants no evaluation.
type part struct {
	literal string
	text    *mapping.Text
	id      bool
}

func (c *compiler) target(d *callDocument) (t target) {
	path := below(d.path, "url")
	all, err := pieces(d.url)
	if err != nil {
		c.fail(path, "%s", err)
	}
	literal := ""
	for _, p := range all {
		if p.expression != "" {
			t.path = append(t.path, part{text: c.text(path, "${"+p.expression+"}", c.env.calls)})
			literal += "x"
			continue
		}
		t.path = append(t.path, part{literal: p.literal})
		literal += p.literal
	}
	u, err := url.Parse(literal)
	switch {
	case d.url == "":
	case !strings.HasPrefix(d.url, "/") || strings.HasPrefix(d.url, "//"):
		c.fail(path, "expected a path that begins with one /, as /orders/${event.references.order}: the host is that of the recipe's url")
	case err != nil || u.Fragment != "" || strings.ContainsAny(literal, "\\ "):
		c.fail(path, "is not the path of a URL")
	case strings.Contains(literal, "?"):
		c.fail(path, "holds a query; expected it under query, name by name")
	case dotted(literal):
		c.fail(path, "holds . or .. for a segment; expected the path without")
	}
	for _, name := range slices.Sorted(maps.Keys(d.query)) {
		t.query = append(t.query, header{name, c.text(below(below(d.path, "query"), name), d.query[name], c.env.calls)})
	}
	return t
}

var errSegment = errors.New("what the event gives for a part of the path is empty, or dots only: that would be the path of another thing")

// render gives the path and query, and the look-ups that missed.
func (t *target) render(ctx context.Context, scope *mapping.Scope) (string, []mapping.Miss, error) {
	var b strings.Builder
	var missing []mapping.Miss
	for _, p := range t.path {
		if p.text == nil {
			b.WriteString(p.literal)
			continue
		}
		text, missed, err := p.text.Render(ctx, scope)
		if err != nil {
			return "", nil, &fault{"url", err}
		}
		if missing = append(missing, missed...); text == "" && len(missed) == 0 {
			return "", nil, &fault{"url", errSegment}
		}
		b.WriteString(url.PathEscape(text))
	}
	if dotted(b.String()) {
		return "", nil, &fault{"url", errSegment}
	}
	separator := byte('?')
	for _, q := range t.query {
		text, missed, err := q.text.Render(ctx, scope)
		var absent *mapping.AbsentError
		switch {
		case errors.As(err, &absent):
			continue
		case err != nil:
			return "", nil, &fault{"query." + q.name, err}
		}
		missing = append(missing, missed...)
		b.WriteByte(separator)
		b.WriteString(url.QueryEscape(q.name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(text))
		separator = '&'
	}
	return b.String(), missing, nil
}

func dotted(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// base is the URL that all calls are below: known when the recipe is compiled, or made of
// what came with the authorisation.
type base struct {
	fixed    string // without a slash at its end
	late     *mapping.Text
	shown    string
	loopback bool
}

func (c *compiler) base(loopback bool) (b base) {
	path := below(c.d.path, "url")
	b.loopback = loopback
	b.shown = strings.NewReplacer("${", "{", " ", "").Replace(c.d.url)
	switch {
	case c.d.url == "":
	case reads(c.d.url, ofEvent):
		c.fail(path, "reads the event; expected settings and auth alone, so that no payload changes the host")
	case reads(c.d.url, ofAuth):
		b.late = c.text(path, c.d.url, c.env.late)
		if !strings.HasPrefix(c.d.url, "https://") && !strings.HasPrefix(c.d.url, "${") {
			c.fail(path, "expected an https URL")
		}
	default:
		c.checkSettings(path, c.d.url)
		text, _, ok := c.constant(path, c.d.url)
		if !ok {
			return b
		}
		fixed, err := b.checked(text)
		if err != nil {
			c.fail(path, "%s", err)
		}
		b.fixed, b.shown = fixed, fixed
	}
	return b
}

// at gives the URL that a path is put behind.
func (b *base) at(ctx context.Context, variables func() (map[string]any, error)) (string, error) {
	if b.late == nil {
		return b.fixed, nil
	}
	known, err := variables()
	if err != nil {
		return "", err
	}
	text, _, err := b.late.Render(ctx, &mapping.Scope{Event: &mapping.Event{}, Body: mapping.NewBody(nil), Variables: known})
	if err != nil {
		return "", errBase
	}
	return b.checked(text)
}

var errBase = errors.New("the authorisation did not say which host serves this account")

// checked is a base URL without the slash at its end. Errors hold no more of it than the
// host.
func (b *base) checked(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return "", errors.New("is not an absolute URL; expected for example https://api.example.com/v1")
	case u.User != nil:
		return "", errors.New("holds a user or password; expected them under auth")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("holds a query or fragment; expected scheme, host and path alone")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return "", errors.New("would send in the clear; expected https")
	case isLoopback(u.Hostname()) && !b.loopback:
		return "", errors.New(u.Hostname() + " is this machine, which only --development allows")
	}
	return strings.TrimRight(text, "/"), nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
