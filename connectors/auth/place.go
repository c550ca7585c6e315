package auth

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// place is where a credential stands in a request.
type place struct {
	in     string // header, query or cookie
	name   string
	prefix string
	value  string // what stands there, as [expand] reads it
	base64 bool
}

var bearer = place{in: "header", name: "Authorization", prefix: "Bearer ", value: "{token}"}

func (r *reader) place(d *placeDocument, otherwise place) place {
	if d == nil {
		return otherwise
	}
	p := place{in: r.oneOf("place.in", d.In, "header", "header", "query", "cookie", "bearer"), name: d.Name, prefix: d.Prefix, value: d.Value}
	p.base64 = r.oneOf("place.encode", d.Encode, "", "base64") != ""
	if p.value == "" {
		p.value = "{token}"
	}
	if p.in == "bearer" {
		if d.Name != "" || d.Prefix != "" {
			r.failf("place", "bearer takes no name and no prefix: it is the header Authorization")
		}
		p.in, p.name, p.prefix = "header", bearer.name, bearer.prefix
	}
	if p.name == "" {
		r.failf("place.name", "is missing: the header, parameter or cookie that takes the credential")
	} else if p.in != "query" && !httpguts.ValidHeaderFieldName(p.name) {
		r.failf("place.name", "%q is not a name of a %s", p.name, p.in)
	}
	return p
}

// text is what stands there.
func (p place) text(variables map[string]string) string {
	text := expand(p.value, variables)
	if p.base64 {
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return p.prefix + text
}

// put sets the credential. A second put replaces the first.
func (p place) put(r *http.Request, variables map[string]string) {
	text := p.text(variables)
	switch p.in {
	case "query":
		u := *r.URL // others may share it
		q := u.Query()
		q.Set(p.name, text)
		u.RawQuery = q.Encode()
		r.URL = &u
	case "cookie":
		kept := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return c.Name == p.name })
		r.Header.Del("Cookie")
		for _, c := range append(kept, &http.Cookie{Name: p.name, Value: text}) {
			r.AddCookie(c)
		}
	default:
		r.Header.Set(p.name, text)
	}
}

// carries tells whether the request holds this credential.
func (p place) carries(r *http.Request, variables map[string]string) bool {
	text := p.text(variables)
	switch p.in {
	case "query":
		return r.URL.Query().Get(p.name) == text
	case "cookie":
		c, err := r.Cookie(p.name)
		return err == nil && c.Value == text
	}
	return r.Header.Get(p.name) == text
}

// expand replaces each {name} that is known by its value. What is not known stays as it is,
// so that a text may hold braces.
func expand(text string, variables map[string]string) string {
	var out strings.Builder
	for {
		open := strings.IndexByte(text, '{')
		if open < 0 {
			break
		}
		length := strings.IndexByte(text[open:], '}')
		if length < 0 {
			break
		}
		value, ok := variables[text[open+1:open+length]]
		if !ok {
			out.WriteString(text[:open+1])
			text = text[open+1:]
			continue
		}
		out.WriteString(text[:open])
		out.WriteString(value)
		text = text[open+length+1:]
	}
	return out.String() + text
}
