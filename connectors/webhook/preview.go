package webhook

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/outcome"
)

// hidden stands for what may be secret in an address: long parts of its path, and every
// value of its query.
const hidden = "{secret}"

// Preview implements [connectors.Previewer].
func (d *destination) Preview(prepared connectors.Request) connectors.Preview {
	r, ok := prepared.(*request)
	if !ok {
		return connectors.Preview{}
	}
	p := connectors.Preview{Method: http.MethodPost, URL: d.shown(), Header: r.header(len(d.headers) + attemptFields), Body: r.body}
	for name := range d.headers {
		p.Header.Set(name, outcome.Redacted)
	}
	for _, name := range []string{"Webhook-Timestamp", "Webhook-Signature"} {
		p.Header.Set(name, outcome.Redacted)
	}
	return p
}

// shown is the address as people may see it.
func (d *destination) shown() string {
	u := d.url()
	secret := tokens(u)
	parts := strings.Split(u.EscapedPath(), "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err != nil || slices.Contains(secret, plain) {
			parts[i] = hidden
		}
	}
	text := d.host + strings.Join(parts, "/")
	if u.RawQuery == "" {
		return text
	}
	var query []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, valued := strings.Cut(pair, "=")
		if !valued { // it may be the token itself
			name = hidden
		} else {
			name += "=" + hidden
		}
		query = append(query, name)
	}
	return text + "?" + strings.Join(query, "&")
}
