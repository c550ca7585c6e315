package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/auth"
)

const (
	// longestRequest is for whoever sends without a deadline; the dispatcher's is shorter.
	longestRequest = time.Minute
)

// document is the settings as they are written; the package documentation says
// what each means.
type document struct {
	URL                 string            `json:"url"`
	Secret              string            `json:"secret"`
	PreviousSecret      string            `json:"previous_secret"`
	Headers             map[string]string `json:"headers"`
	Idempotent          *bool             `json:"idempotent"`
	DeduplicationWindow string            `json:"deduplication_window"`
	Ask                 *askDocument      `json:"ask"`
	Auth                json.RawMessage   `json:"auth"`
}

// settings is a document that was checked, its references resolved.
type settings struct {
	url     *url.URL
	signers []signer          // by the current secret first
	headers map[string]secret // by canonical name
	traits  connectors.Traits
	ask     *question // nil where the receiver cannot be asked
	auth    auth.Connector
	// known is what must not be recorded where a receiver quotes it.
	known []string
}

func readSettings(o connectors.Options) (settings, error) {
	d, err := decode(o.Settings)
	if err != nil {
		return settings{}, err
	}
	var s settings
	// Every wrong setting is reported at once: one round of corrections, not seven.
	return s, errors.Join(
		s.readURL(d.URL, o.AllowLoopback),
		s.readSecret("secret", d.Secret, o.Secret),
		s.readPreviousSecret(d.PreviousSecret, o.Secret),
		s.readHeaders(d.Headers, o.Secret),
		s.readTraits(d.Idempotent, d.DeduplicationWindow),
		s.readAsk(d.Ask, o.AllowLoopback),
		s.readAuth(d.Auth, o),
	)
}

// decode is strict: what it does not know is an error that says what there is.
func decode(raw json.RawMessage) (document, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return document{}, fmt.Errorf("settings: must be a JSON object with %s", strings.Join(knownSettings(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(knownSettings(), name) {
			return document{}, fmt.Errorf("settings: no setting %q; there is %s", name, strings.Join(knownSettings(), ", "))
		}
	}
	var d document
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields() // of ask: the others are looked at above
	if err := decoder.Decode(&d); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return document{}, fmt.Errorf("%s: must be %s, not %s", wrong.Field, typeName(wrong.Type), wrong.Value)
		}
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return document{}, fmt.Errorf("ask: no setting %s; there is url", name)
		}
		return document{}, fmt.Errorf("settings: %w", err)
	}
	return d, nil
}

func knownSettings() []string {
	var names []string
	for field := range reflect.TypeFor[document]().Fields() {
		names = append(names, field.Tag.Get("json"))
	}
	slices.Sort(names)
	return names
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Map:
		return "an object of texts"
	case reflect.Struct:
		return "an object"
	default:
		return "a text"
	}
}

func (s *settings) readURL(raw string, allowLoopback bool) error {
	u, err := parseURL("url", raw, "https://example.com/hooks", allowLoopback)
	if err != nil {
		return err
	}
	s.url = u
	s.known = append(s.known, tokens(u)...)
	return nil
}

// parseURL shows no more of the address in an error than scheme and host: paths and
// queries of webhooks often hold a token.
func parseURL(name, raw, example string, allowLoopback bool) (*url.URL, error) {
	if raw == "" {
		return nil, fmt.Errorf(`%s: is missing; expected for example %q`, name, example)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf(`%s: is not an absolute URL; expected for example %q`, name, example)
	case u.User != nil:
		return nil, fmt.Errorf("%s: holds a user or password; send them in headers, by reference (env: or file:)", name)
	case u.Fragment != "":
		return nil, fmt.Errorf("%s: has a fragment (#…), which is never sent; leave it out", name)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%s: scheme %q; must be https", name, u.Scheme)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s: http to %s would send in the clear; must be https", name, u.Hostname())
	case isLoopback(u.Hostname()) && !allowLoopback:
		return nil, fmt.Errorf("%s: %s is this machine, which only --development allows", name, u.Hostname())
	}
	return u, nil
}

// tokens are the parts of an address that may be secret: what stands in the query,
// and long parts of the path.
func tokens(u *url.URL) []string {
	const long = 16
	found := []string{u.RawQuery}
	for _, values := range u.Query() {
		found = append(found, values...)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= long {
			found = append(found, part)
		}
	}
	return slices.DeleteFunc(found, func(text string) bool { return len(text) < minKnown })
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (s *settings) readSecret(name, reference string, resolve func(string) (string, error)) error {
	if reference == "" {
		return fmt.Errorf(`%s: is missing; expected a reference to a whsec_ secret, for example "env:BOOKS_SECRET"`, name)
	}
	if !isReference(reference) {
		// It may be the secret itself, so it is not repeated.
		return fmt.Errorf("%s: must be a reference, env:NAME or file:PATH, not the secret itself", name)
	}
	text, err := resolve(reference)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	key, encoded, err := parseSigningSecret(text)
	if err != nil {
		return fmt.Errorf("%s: %s %w", name, reference, err)
	}
	s.signers = append(s.signers, newSigner(key))
	s.known = append(s.known, encoded, string(key))
	return nil
}

func (s *settings) readPreviousSecret(reference string, resolve func(string) (string, error)) error {
	if reference == "" {
		return nil
	}
	return s.readSecret("previous_secret", reference, resolve)
}

func (s *settings) readTraits(idempotent *bool, window string) (err error) {
	s.traits.Idempotent = idempotent == nil || *idempotent
	s.traits.DeduplicationWindow, err = readDuration("deduplication_window", window, 0)
	switch {
	case err != nil:
		return err
	case s.traits.DeduplicationWindow < 0:
		return errors.New("deduplication_window: is negative; leave it out where keys are remembered for ever")
	case s.traits.DeduplicationWindow > 0 && !s.traits.Idempotent:
		return errors.New("deduplication_window: means nothing with idempotent: false; leave one of them out")
	}
	return nil
}

func readDuration(name, text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`%s: %q is not a duration; expected for example "10s" or "24h"`, name, text)
	}
	return d, nil
}

func isReference(text string) bool {
	return strings.HasPrefix(text, "env:") || strings.HasPrefix(text, "file:")
}
