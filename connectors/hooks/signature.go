package hooks

import (
	"crypto/hmac"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is looked at before anything is proven.
const (
	maxSignatures      = 16
	maxSignatureHeader = 4096
	maxSignedField     = 256 // bytes of an id or a time
)

// Distrust is why a request is refused. It goes to metrics and the log, never to the
// caller.
type Distrust string

const (
	trusted Distrust = ""
	// Missing: a header of the signature is not there.
	Missing Distrust = "missing"
	// Doubled: one is there twice, so that it is not known which was meant.
	Doubled Distrust = "doubled"
	// Malformed: one is not of its form.
	Malformed Distrust = "malformed"
	// Stale: the signed time is outside of the window, before or after.
	Stale Distrust = "stale"
	// Wrong: no secret makes any of the signatures.
	Wrong Distrust = "wrong"
)

// verifier holds requests against their signatures. It may be used from many goroutines.
type verifier struct {
	scheme
	template template
	// keys are the secrets, in a closure: nothing that prints a source gets at them.
	keys func() [][]byte
}

// check is one request that is being verified: its body is written to it as it comes, so
// that a long one need not be held.
type check struct {
	given [][]byte
	macs  []hash.Hash
	after []byte
}

// begin reads the headers of a request. Distrust that shows there is told, but only once
// the whole request was read: who sends it learns nothing from the time that takes.
func (v *verifier) begin(h http.Header, now time.Time) (*check, Distrust) {
	if v.hash == nil {
		return nil, trusted
	}
	c := &check{}
	var at, id string
	given, distrust := one(h, v.header, maxSignatureHeader)
	if distrust == trusted {
		c.given, at, distrust = v.parse(given)
	}
	for _, field := range []struct {
		name string
		into *string
	}{{v.timestamp, &at}, {v.id, &id}} {
		if field.name == "" {
			continue
		}
		var wrong Distrust
		if *field.into, wrong = one(h, field.name, maxSignedField); distrust == trusted {
			distrust = wrong
		}
	}
	if distrust == trusted && v.window > 0 {
		distrust = v.fresh(at, now)
	}
	before, after := v.template.around(at, id)
	c.after = after
	for _, key := range v.keys() {
		mac := hmac.New(v.hash, key)
		mac.Write(before)
		c.macs = append(c.macs, mac)
	}
	return c, distrust
}

func (c *check) Write(p []byte) (int, error) {
	if c != nil {
		for _, mac := range c.macs {
			mac.Write(p)
		}
	}
	return len(p), nil
}

// holds tells whether one of the secrets makes one of the signatures. It compares each
// with each, whatever it finds.
func (c *check) holds() bool {
	if c == nil {
		return true
	}
	found := 0
	var sum [64]byte
	for _, mac := range c.macs {
		mac.Write(c.after)
		want := mac.Sum(sum[:0])
		for _, given := range c.given {
			found |= subtle.ConstantTimeCompare(given, want)
		}
	}
	return found == 1
}

// one is the value of a header that must be there once.
func one(h http.Header, name string, most int) (string, Distrust) {
	values := h[http.CanonicalHeaderKey(name)]
	switch {
	case len(values) == 0 || values[0] == "":
		return "", Missing
	case len(values) > 1:
		return "", Doubled
	case len(values[0]) > most:
		return "", Malformed
	}
	return values[0], trusted
}

// parse reads the header of signatures, and the time where it stands there.
func (v *verifier) parse(header string) (given [][]byte, at string, distrust Distrust) {
	switch v.layout {
	case versioned:
		for _, one := range strings.Fields(header) {
			version, signature, ok := strings.Cut(one, ",")
			if !ok {
				return nil, "", Malformed
			}
			if version == "v1" { // others are of keys that are not ours
				given = append(given, v.decode(signature))
			}
		}
	case pairs:
		for one := range strings.SplitSeq(header, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(one), "=")
			switch {
			case !ok || len(value) > maxSignedField && name == "t":
				return nil, "", Malformed
			case name == "t" && at != "":
				return nil, "", Doubled
			case name == "t":
				at = value
			case name == "v1":
				given = append(given, v.decode(value))
			}
		}
		if at == "" {
			return nil, "", Missing
		}
	default:
		for one := range strings.SplitSeq(header, ",") {
			signature, ok := strings.CutPrefix(strings.TrimSpace(one), v.prefix)
			if !ok {
				return nil, "", Malformed
			}
			given = append(given, v.decode(signature))
		}
	}
	switch {
	case len(given) == 0:
		return nil, at, Missing
	case len(given) > maxSignatures:
		return nil, at, Malformed
	}
	return given, at, trusted
}

// decode gives the bytes of a signature; none where it is of no such form, which no
// signature equals.
func (v *verifier) decode(text string) []byte {
	if v.encoding == hexadecimal {
		decoded, err := hex.DecodeString(text)
		if err != nil {
			return nil
		}
		return decoded
	}
	decoded, err := decodeBase64(text)
	if err != nil {
		return nil
	}
	return decoded
}

var toStandard = strings.NewReplacer("-", "+", "_", "/")

// decodeBase64 reads both alphabets, with padding or without.
func decodeBase64(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(toStandard.Replace(text), "="))
}

// fresh holds a signed time against the window, in both directions.
func (v *verifier) fresh(text string, now time.Time) Distrust {
	at, ok := parseTime(text)
	if !ok {
		return Malformed
	}
	if age := now.Sub(at); age > v.window || age < -v.window {
		return Stale
	}
	return trusted
}

// parseTime reads seconds or milliseconds since 1970, or RFC 3339; without an offset it
// is taken for UTC.
func parseTime(text string) (time.Time, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch {
		case n < 0 || n >= 1e15:
			return time.Time{}, false
		case n >= 1e11:
			return time.UnixMilli(n).UTC(), true
		}
		return time.Unix(n, 0).UTC(), true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// template is what is signed: texts with ${body}, ${timestamp} and ${id} between.
type template []string

const bodyPlace = "${body}"

// parseTemplate wants the body exactly once.
func parseTemplate(text string) (t template, ok bool) {
	for text != "" {
		next := len(text)
		var place string
		for _, p := range []string{bodyPlace, "${timestamp}", "${id}"} {
			if i := strings.Index(text, p); i >= 0 && i < next {
				next, place = i, p
			}
		}
		if next > 0 {
			t = append(t, text[:next])
		}
		if strings.Contains(text[:next], "${") {
			return nil, false
		}
		if place != "" {
			t = append(t, place)
		}
		text = text[next+len(place):]
	}
	return t, t.count(bodyPlace) == 1
}

func (t template) count(place string) (n int) {
	for _, part := range t {
		if part == place {
			n++
		}
	}
	return n
}

// around is what is signed before the body and behind it.
func (t template) around(at, id string) (before, after []byte) {
	out := &before
	for _, part := range t {
		switch part {
		case bodyPlace:
			out = &after
		case "${timestamp}":
			*out = append(*out, at...)
		case "${id}":
			*out = append(*out, id...)
		default:
			*out = append(*out, part...)
		}
	}
	return before, after
}
