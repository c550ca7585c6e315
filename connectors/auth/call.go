package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/egress"
)

// call is a request that yields a token, a session or variables: a login, or what follows
// a token.
type call struct {
	name      string // as people know it: login, after[0]
	method    string
	url       string
	headers   map[string]string
	body      any               // a tree of JSON whose texts are expanded; nil for none
	form      map[string]string // or a form
	require   string
	refused   *refusedDocument
	token     string
	cookie    string
	variables map[string]string // by name, the path in the answer
	expires   time.Duration
}

func (r *reader) call(name string, d callDocument) call {
	c := call{
		name: name, method: strings.ToUpper(d.Method), url: d.URL, headers: d.Headers, form: d.Form,
		require: d.Require, refused: d.Refused, token: d.Token, cookie: d.Cookie, variables: d.Variables,
		expires: r.duration(name+".expires", d.Expires),
	}
	if c.method == "" {
		c.method = http.MethodPost
	}
	if host, _, _ := strings.Cut(strings.TrimPrefix(d.URL, "https://"), "/"); !strings.Contains(host, "{") {
		r.address(name+".url", d.URL) // one that an earlier call yields is checked by the client
	}
	if len(d.Body) > 0 {
		tree, err := decodeJSON(d.Body)
		if err != nil {
			r.failf(name+".body", "is not valid JSON")
		}
		c.body = tree
		if len(d.Form) > 0 {
			r.failf(name, "has both a body and a form; leave one out")
		}
	}
	if d.Refused != nil && (d.Refused.Path == "" || len(d.Refused.Contains) == 0) {
		r.failf(name+".refused", "needs a path and what its text contains")
	}
	return c
}

// yield is what a call brought.
type yield struct {
	token     string
	variables map[string]string
	expires   time.Duration // 0: not known
}

// run makes the request, which authorize adds a credential to.
func (c *call) run(ctx context.Context, client *egress.Client, variables map[string]string, authorize func(*http.Request)) (yield, error) {
	request, err := c.request(variables)
	if err != nil {
		return yield{}, &Error{Kind: revoked, Reason: c.name + ": no request can be made of its settings"}
	}
	authorize(request)
	response, err := client.Do(ctx, request)
	if err != nil {
		return yield{}, unreachable(c.name, err)
	}
	return c.read(response)
}

func (c *call) request(variables map[string]string) (*http.Request, error) {
	var body []byte
	contentType := ""
	switch {
	case c.body != nil:
		raw, err := json.Marshal(expandTree(c.body, variables))
		if err != nil {
			return nil, err
		}
		body, contentType = raw, "application/json"
	case len(c.form) > 0:
		form := url.Values{}
		for name, value := range c.form {
			form.Set(name, expand(value, variables))
		}
		body, contentType = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	request, err := http.NewRequest(c.method, expand(c.url, variables), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	for name, value := range c.headers {
		request.Header.Set(name, expand(value, variables))
	}
	return request, nil
}

// expandTree is the tree with its texts expanded.
func expandTree(tree any, variables map[string]string) any {
	switch t := tree.(type) {
	case string:
		return expand(t, variables)
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = expandTree(t[i], variables)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for name := range t {
			out[name] = expandTree(t[name], variables)
		}
		return out
	}
	return tree
}

// read makes of an answer what it yields. The body is looked into before the status is
// believed: login endpoints answer 200 to a wrong password.
func (c *call) read(response *egress.Response) (yield, error) {
	status := strconv.Itoa(response.Status)
	switch {
	case response.Status == http.StatusTooManyRequests || response.Status >= 500:
		return yield{}, &Error{Kind: transient, Reason: c.name + ": answered with status " + status}
	case response.Status == http.StatusBadRequest || response.Status == http.StatusUnauthorized || response.Status == http.StatusForbidden:
		return yield{}, &Error{Kind: revoked, Reason: c.name + ": refused with status " + status}
	case response.Status >= 300:
		return yield{}, &Error{Kind: transient, Reason: c.name + ": answered with status " + status}
	case response.Truncated:
		return yield{}, &Error{Kind: transient, Reason: c.name + ": the answer is too long"}
	}
	y := yield{expires: c.expires, variables: make(map[string]string)}
	var tree any
	if c.needsJSON() {
		var err error
		if tree, err = decodeJSON(response.Body); err != nil {
			return yield{}, &Error{Kind: transient, Reason: c.name + ": the answer is not JSON"}
		}
	}
	if c.refused != nil {
		text, _ := textAt(tree, c.refused.Path)
		for _, sign := range c.refused.Contains {
			if text != "" && strings.Contains(text, sign) {
				return yield{}, &Error{Kind: revoked, Reason: c.name + ": refused, the answer says so at " + c.refused.Path}
			}
		}
	}
	kind := revoked // what says nothing of why it gives nothing is a refusal
	if c.refused != nil {
		kind = transient // unless a refusal has a form of its own
	}
	if c.require != "" && !isTrue(tree, c.require) {
		return yield{}, &Error{Kind: kind, Reason: c.name + ": the answer has nothing at " + c.require}
	}
	for name, path := range c.variables {
		text, ok := textAt(tree, path)
		if !ok {
			return yield{}, &Error{Kind: kind, Reason: c.name + ": the answer has no text at " + path}
		}
		y.variables[name] = text
	}
	return y, c.readToken(response, tree, &y, kind)
}

func (c *call) readToken(response *egress.Response, tree any, y *yield, kind kindOf) error {
	switch {
	case c.cookie != "":
		for _, cookie := range (&http.Response{Header: response.Header}).Cookies() {
			if cookie.Name == c.cookie && cookie.Value != "" {
				y.token = cookie.Value
			}
		}
	case c.token != "":
		y.token, _ = textAt(tree, c.token)
	default:
		return nil
	}
	if y.token == "" || !isHeaderText(y.token) {
		return &Error{Kind: kind, Reason: c.name + ": the answer gives no session"}
	}
	return nil
}

func (c *call) needsJSON() bool {
	return c.require != "" || c.refused != nil || c.token != "" || len(c.variables) > 0
}

// decodeJSON reads one document. Numbers stay as they are written.
func decodeJSON(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("more than one document")
	}
	return tree, nil
}

// find follows a path such as d.0.host: names of objects, and indexes of lists.
func find(tree any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch t := tree.(type) {
		case map[string]any:
			tree = t[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(t) {
				return nil
			}
			tree = t[i]
		default:
			return nil
		}
	}
	return tree
}

// textAt is the text or the number at a path: one that a header, a URL and Postgres can hold.
func textAt(tree any, path string) (string, bool) {
	var text string
	switch t := find(tree, path).(type) {
	case string:
		text = t
	case json.Number:
		text = t.String()
	}
	return text, text != "" && isHeaderText(text)
}

// isTrue tells whether there is something at the path, other than null, false, 0 and "".
func isTrue(tree any, path string) bool {
	switch t := find(tree, path).(type) {
	case nil:
		return false
	case bool:
		return t
	case string:
		return t != ""
	case json.Number:
		return t.String() != "0"
	}
	return true
}

// maxText bounds what is kept of an answer: tokens that are JSON Web Tokens have a few KiB.
const maxText = 16 << 10

// isHeaderText: printable ASCII, as tokens are (RFC 6749, appendix A).
func isHeaderText(text string) bool {
	return len(text) <= maxText && !strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 || c > 0x7e })
}
