package hooks

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"raffsync/connectors/rules"
)

// Config of a source that is received here.
type Config struct {
	Tenant string
	Name   string
	// ID is the source's number in the outbox.
	ID int32
	// Webhook and Event are the sections of the source's configuration, as JSON. Event
	// may be nil where the format brings its expressions.
	Webhook, Event json.RawMessage
	// Secret gives the secret behind a reference such as "env:SHOP_SECRET".
	Secret func(reference string) (string, error)
}

// document is the section webhook as it is written.
type document struct {
	Format    string          `json:"format"`
	Signature json.RawMessage `json:"signature"`
}

type signatureDocument struct {
	Scheme          string   `json:"scheme"`
	Secrets         []string `json:"secrets"`
	Header          string   `json:"header"`
	TimestampHeader string   `json:"timestamp_header"`
	IDHeader        string   `json:"id_header"`
	Encoding        string   `json:"encoding"`
	Prefix          string   `json:"prefix"`
	Signed          string   `json:"signed"`
	SecretEncoding  string   `json:"secret_encoding"`
	Window          string   `json:"window"`
}

// WebhookSettings describes the section webhook of a source.
func WebhookSettings() []rules.Setting {
	byScheme := "as the scheme has it"
	return []rules.Setting{
		{Name: "format", Takes: strings.Join(slices.Sorted(maps.Keys(formats())), ", ") + ", or json", Fallback: "that of the scheme, else json", Doc: "Whose webhooks they are: it brings the expressions that hold where `event` gives none. `cloudevents` takes both of its modes over HTTP."},
		{Name: "signature", Takes: "a mapping with scheme, secrets, …", Required: true, Doc: "How a webhook proves whose it is.", Inside: []rules.Setting{
			{Name: "scheme", Takes: strings.Join(schemeNames(), ", "), Required: true, Doc: "How it is signed, always over the body as it came. `none` takes what anybody sends."},
			{Name: "secrets", Takes: "references to 1 to 4 secrets", Fallback: "an error, but for none", Doc: "Each of them is good: two while they are being changed."},
			{Name: "header", Takes: "the name of a header", Fallback: byScheme, Doc: "The one with the signature, or several with commas between; needed for the hmac schemes."},
			{Name: "encoding", Takes: "hex or base64", Fallback: byScheme + "; hex for hmac", Doc: "Of the signature. Both alphabets of base64 are read."},
			{Name: "prefix", Takes: "a text, as sha256=", Fallback: "none", Doc: "What stands before each signature of an hmac scheme."},
			{Name: "signed", Takes: "a text with ${body}, as ${timestamp}.${body}", Fallback: byScheme + "; ${body} for hmac", Doc: "What is signed. ${timestamp} and ${id} are the values of their headers."},
			{Name: "timestamp_header", Takes: "the name of a header", Fallback: byScheme, Doc: "The one with the signed time: seconds or milliseconds since 1970, or RFC 3339."},
			{Name: "id_header", Takes: "the name of a header", Fallback: byScheme, Doc: "The one with the signed id."},
			{Name: "window", Takes: "a duration, 1s to 1h", Fallback: "5m where a time is signed", Doc: "How old a signed time may be, and how far in the future."},
			{Name: "secret_encoding", Takes: "text, base64 (behind whsec_ or not) or hex", Fallback: byScheme + "; text for hmac", Doc: "How the secret stands there."},
		}},
	}
}

// EventSettings describes the section event of a source.
func EventSettings() []rules.Setting {
	expression := "a text with ${…}"
	byFormat := "as the format has it, else an error"
	return []rules.Setting{
		{Name: "id", Takes: expression, Fallback: byFormat, Doc: "The same whenever the sender sends it again, another for everything else. At most 200 bytes. `digest`, the SHA-256 of the body in hexadecimal, serves where there is nothing better."},
		{Name: "type", Takes: expression, Fallback: byFormat, Doc: "What happened. It is made lower case, with dots between words: orders/create becomes orders.create."},
		{Name: "ordering_key", Takes: expression, Fallback: byFormat, Doc: "Events with the same one are delivered one after the other. At most 200 bytes."},
		{Name: "outlet", Takes: expression, Fallback: "none", Doc: "The place that it happened at."},
		{Name: "occurred_at", Takes: expression, Fallback: "as the format has it, else the time of acceptance", Doc: "RFC 3339, or seconds or milliseconds since 1970. Where it is absent: the time of acceptance."},
		{Name: "references", Takes: "a mapping of names to such texts", Fallback: "as the format has it, else none", Doc: "What people search by. Those that are absent are left out."},
	}
}

// formats are the known ones, without the empty one.
func formats() map[string]expressions {
	known := maps.Clone(defaults)
	delete(known, "")
	return known
}

// headerName is a token of RFC 9110, in the length of what is used.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

const maxSecrets = 4

// readWebhook gives the verifier and the format. Every wrong setting is reported.
func readWebhook(raw json.RawMessage, secret func(string) (string, error)) (v verifier, format string, err error) {
	var d document
	if err := decode(raw, &d); err != nil {
		return v, "", err
	}
	var signature signatureDocument
	if d.Signature == nil {
		return v, "", errors.New("signature: is missing; expected a mapping with scheme and secrets")
	}
	if err := decode(d.Signature, &signature); err != nil {
		return v, "", fmt.Errorf("signature: %w", err)
	}
	known, ok := schemes[signature.Scheme]
	if !ok {
		return v, "", fmt.Errorf("signature: scheme: found %q; expected one of %s", signature.Scheme, strings.Join(schemeNames(), ", "))
	}
	v.scheme = known
	format = known.event
	switch _, ok := formats()[d.Format]; {
	case ok:
		format = d.Format
	case d.Format == "json":
		format = ""
	case d.Format != "":
		err = fmt.Errorf("format: found %q; expected json or one of %s", d.Format, strings.Join(slices.Sorted(maps.Keys(formats())), ", "))
	}
	if known.hash == nil {
		return v, format, errors.Join(err, signature.nothingElse())
	}
	err = errors.Join(err, v.read(&signature), v.readSecrets(signature.Secrets, secret))
	return v, format, err
}

// nothingElse wants no other field beside the scheme none.
func (d *signatureDocument) nothingElse() error {
	rest := *d
	rest.Scheme = ""
	if !reflect.ValueOf(rest).IsZero() {
		return errors.New("signature: scheme: none signs nothing, so nothing else may stand beside it")
	}
	return nil
}

// read takes what is set beside the scheme.
func (v *verifier) read(d *signatureDocument) error {
	var faults []error
	fail := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("signature: "+name+": "+format, args...))
	}
	for _, h := range []struct {
		name, given string
		into        *string
	}{{"header", d.Header, &v.header}, {"timestamp_header", d.TimestampHeader, &v.timestamp}, {"id_header", d.IDHeader, &v.id}} {
		switch {
		case h.given != "" && !headerName.MatchString(h.given):
			fail(h.name, "expected the name of a header, as X-Signature")
		case h.given != "":
			*h.into = strings.ToLower(h.given)
		}
	}
	if v.header == "" {
		fail("header", "is missing; expected the name of the header that has the signature")
	}
	switch e := encoding(d.Encoding); e {
	case "":
	case hexadecimal, base64Text:
		v.encoding = e
	default:
		fail("encoding", "found %q; expected hex or base64", d.Encoding)
	}
	switch f := secretForm(d.SecretEncoding); f {
	case "":
	case secretText, secretBase64, secretHex:
		v.secret = f
	default:
		fail("secret_encoding", "found %q; expected text, base64 or hex", d.SecretEncoding)
	}
	if d.Prefix != "" {
		if v.layout != plain || len(d.Prefix) > 60 || strings.Contains(d.Prefix, ",") {
			fail("prefix", "expected a short text without a comma, for a scheme of hmac")
		}
		v.prefix = d.Prefix
	}
	if d.Signed != "" {
		v.signed = d.Signed
	}
	var ok bool
	if v.template, ok = parseTemplate(v.signed); !ok {
		fail("signed", "expected a text with ${body} once, and beside it no other place than ${timestamp} and ${id}")
	}
	signsTime, hasTime := v.template.count("${timestamp}") > 0, v.timestamp != "" || v.layout == pairs
	switch {
	case signsTime && !hasTime:
		fail("timestamp_header", "is missing; expected the name of the header that ${timestamp} stands for")
	case hasTime && !signsTime:
		fail("signed", "expected ${timestamp} in it: a time that is not signed proves nothing")
	}
	if signsID, hasID := v.template.count("${id}") > 0, v.id != ""; signsID != hasID {
		fail("id_header", "expected it together with ${id} in signed, or neither")
	}
	if signsTime && v.window == 0 {
		v.window = defaultWindow
	}
	if d.Window != "" {
		window, err := time.ParseDuration(d.Window)
		switch {
		case err != nil || window < time.Second || window > time.Hour:
			fail("window", "found %q; expected a duration, 1s to 1h", d.Window)
		case !signsTime:
			fail("window", "expected a signed time for it: timestamp_header, and ${timestamp} in signed")
		default:
			v.window = window
		}
	}
	return errors.Join(faults...)
}

// readSecrets follows the references. Errors name those, never a secret.
func (v *verifier) readSecrets(references []string, secret func(string) (string, error)) error {
	if len(references) == 0 || len(references) > maxSecrets {
		return fmt.Errorf("signature: secrets: found %d; expected references to 1 to %d secrets, as [\"env:SHOP_SECRET\"]", len(references), maxSecrets)
	}
	var keys [][]byte
	var faults []error
	for i, reference := range references {
		if slices.Index(references, reference) < i {
			faults = append(faults, fmt.Errorf("signature: secrets: %q stands there twice", reference))
			continue
		}
		text, err := secret(reference)
		if err == nil {
			var key []byte
			if key, err = v.key(text); err != nil {
				err = fmt.Errorf("%q: %w", reference, err)
			}
			keys = append(keys, key)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("signature: secrets: %w", err))
		}
	}
	v.keys = func() [][]byte { return keys }
	return errors.Join(faults...)
}

// key turns the text of a secret into a key.
func (v *verifier) key(text string) (key []byte, err error) {
	switch v.secret {
	case secretBase64:
		key, err = decodeBase64(strings.TrimPrefix(text, "whsec_"))
	case secretHex:
		key, err = hex.DecodeString(text)
	default:
		key = []byte(text)
	}
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("is not %s, as secret_encoding has it", v.secret)
	}
	return key, nil
}

// decode is strict: what it does not know is an error that says what there is.
func decode(raw json.RawMessage, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field == "" {
			return errors.New("expected a mapping")
		}
		return fmt.Errorf("%s: expected %s, found %s", strings.ReplaceAll(wrong.Field, ".", ": "), typeName(wrong.Type), wrong.Value)
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return fmt.Errorf("unknown field %s; expected one of %s", name, strings.Join(fieldNames(reflect.TypeOf(into).Elem()), ", "))
	}
	return err
}

func fieldNames(t reflect.Type) (names []string) {
	for field := range t.Fields() {
		names = append(names, field.Tag.Get("json"))
	}
	return names
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list of texts"
	case reflect.Map:
		return "a mapping of texts"
	case reflect.Struct:
		return "a mapping"
	}
	return "a text"
}
