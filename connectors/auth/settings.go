package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kinds of authentication, as settings name them.
const (
	kindNone        = "none"
	kindAPIKey      = "api_key"
	kindBasic       = "basic"
	kindHMAC        = "hmac"
	kindCredentials = "oauth2_client_credentials"
	kindCode        = "oauth2_authorization_code"
	kindSession     = "session"
	kindOdoo        = "odoo"
	kindTryton      = "tryton"
)

// document is the settings as they are written; the package documentation says what each
// means.
type document struct {
	Kind string `json:"kind"`

	Key      string            `json:"key"`
	Place    *placeDocument    `json:"place"`
	Username string            `json:"username"`
	Password string            `json:"password"`
	Token    string            `json:"token"`
	Headers  map[string]string `json:"headers"`
	After    []callDocument    `json:"after"`

	hmacDocument
	oauthDocument

	URL      string            `json:"url"`
	Database string            `json:"database"`
	Login    *callDocument     `json:"login"`
	Inputs   map[string]string `json:"inputs"`
}

type placeDocument struct {
	In     string `json:"in"`
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	Value  string `json:"value"`
	Encode string `json:"encode"`
}

type hmacDocument struct {
	Secret          string `json:"secret"`
	Algorithm       string `json:"algorithm"`
	Encoding        string `json:"encoding"`
	Timestamp       string `json:"timestamp"`
	TimeZone        string `json:"timezone"`
	TimestampHeader string `json:"timestamp_header"`
	SignatureHeader string `json:"signature_header"`
	Message         string `json:"message"`
}

type oauthDocument struct {
	AuthorizeURL        string            `json:"authorize_url"`
	TokenURL            string            `json:"token_url"`
	ClientID            string            `json:"client_id"`
	ClientSecret        string            `json:"client_secret"`
	ClientAuth          string            `json:"client_auth"`
	Scopes              []string          `json:"scopes"`
	Parameters          map[string]string `json:"parameters"`
	AuthorizeParameters map[string]string `json:"authorize_parameters"`
	PKCE                *bool             `json:"pkce"`
	RefreshUnused       string            `json:"refresh_unused"`
	RefreshEnds         string            `json:"refresh_ends"`
	WarnBefore          string            `json:"warn_before"`
}

type callDocument struct {
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	Form      map[string]string `json:"form"`
	Require   string            `json:"require"`
	Refused   *refusedDocument  `json:"refused"`
	Token     string            `json:"token"`
	Cookie    string            `json:"cookie"`
	Variables map[string]string `json:"variables"`
	Expires   string            `json:"expires"`
}

type refusedDocument struct {
	Path     string   `json:"path"`
	Contains []string `json:"contains"`
}

// takes says which settings each kind takes, besides kind.
var takes = map[string][]string{
	kindNone:        {},
	kindAPIKey:      {"key", "place", "headers", "after"},
	kindBasic:       {"username", "password", "headers", "after"},
	kindHMAC:        {"secret", "token", "algorithm", "encoding", "timestamp", "timezone", "timestamp_header", "signature_header", "message", "headers", "after"},
	kindCredentials: {"token_url", "client_id", "client_secret", "client_auth", "scopes", "parameters", "place", "headers", "after"},
	kindCode: {
		"authorize_url", "token_url", "client_id", "client_secret", "client_auth", "scopes", "parameters", "authorize_parameters", "pkce",
		"refresh_unused", "refresh_ends", "warn_before", "place", "headers", "after",
	},
	kindSession: {"login", "inputs", "place", "headers", "after"},
	kindOdoo:    {"url", "database", "username", "password"},
	kindTryton:  {"url", "database", "username", "password"},
}

func kinds() string {
	return strings.Join([]string{kindNone, kindAPIKey, kindBasic, kindHMAC, kindCredentials, kindCode, kindSession, kindOdoo, kindTryton}, ", ")
}

// decode is strict: what the kind does not take is an error that says what it does.
func decode(raw json.RawMessage) (document, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return document{Kind: kindNone}, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return document{}, errors.New("auth: must be an object with a kind, one of " + kinds())
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) { // its value may be a secret
			return document{}, fmt.Errorf("auth: %s: is of the wrong type, %s", wrong.Field, strings.Fields(wrong.Value)[0])
		}
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return document{}, fmt.Errorf("auth: no setting %s", name)
		}
		return document{}, errors.New("auth: is not valid JSON")
	}
	known, ok := takes[d.Kind]
	if !ok {
		return document{}, fmt.Errorf("auth: kind: %q is not known; expected one of %s", d.Kind, kinds())
	}
	for name := range fields {
		if name != "kind" && !slices.Contains(known, name) {
			return document{}, fmt.Errorf("auth: kind %s takes no %q; it takes %s", d.Kind, name, strings.Join(known, ", "))
		}
	}
	return d, nil
}

// reader reads settings and gathers what is wrong with them, all of it at once, and the
// secrets that they name.
type reader struct {
	resolve  func(string) (string, error)
	loopback bool
	known    []string
	problems []error
}

func (r *reader) failf(name, format string, a ...any) {
	r.problems = append(r.problems, fmt.Errorf("auth: "+strings.ReplaceAll(name, ".", ": ")+": "+format, a...))
}

// secret is the text that a reference leads to; it must be one, and be there.
func (r *reader) secret(name, reference string) string {
	switch {
	case reference == "":
		r.failf(name, "is missing; expected a reference, env:NAME or file:PATH")
		return ""
	case !isReference(reference): // it may be the secret itself, so it is not repeated
		r.failf(name, "must be a reference, env:NAME or file:PATH, not the secret itself")
		return ""
	}
	text, err := r.resolve(reference)
	if err != nil {
		r.failf(name, "%w", err)
		return ""
	}
	if strings.ContainsAny(text, "\r\n\x00") {
		r.failf(name, "%s holds a line break in its middle", reference)
		return ""
	}
	r.known = append(r.known, text)
	return text
}

// text is a text as it stands, or what a reference leads to.
func (r *reader) text(name, text string) string {
	if isReference(text) {
		return r.secret(name, text)
	}
	if text == "" {
		r.failf(name, "is missing")
	}
	return text
}

func (r *reader) oneOf(name, text, otherwise string, all ...string) string {
	switch {
	case text == "":
		return otherwise
	case !slices.Contains(all, text):
		r.failf(name, "%q is not known; expected one of %s", text, strings.Join(all, ", "))
	}
	return text
}

func (r *reader) duration(name, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		r.failf(name, `%q is not a duration; expected for example "30m" or "1440h"`, text)
	}
	return d
}

// address checks an absolute URL: https, or http to this machine where that is allowed.
func (r *reader) address(name, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		r.failf(name, `is missing; expected for example "https://example.com/token"`)
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		r.failf(name, `is not an absolute URL without user and fragment; expected for example "https://example.com/token"`)
	case u.Scheme == "http" && isLoopback(u.Hostname()) && r.loopback:
	case u.Scheme != "https":
		r.failf(name, "must be https: tokens would go in the clear")
	case isLoopback(u.Hostname()) && !r.loopback:
		r.failf(name, "%s is this machine, which only --development allows", u.Hostname())
	}
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func isReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}
