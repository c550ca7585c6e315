package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// secrets are those of the tests, by reference.
var secrets = map[string]string{
	"env:HUSH": "hush", "env:OLD": "old", "env:GITHUB": "It's a Secret to Everybody", "env:JEFE": "Jefe", "env:STRIPE": "whsec_stripe",
	"env:STANDARD": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "env:URL": "whsec_-_-_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "env:HEX": "4a656665",
	"env:EMPTY": "", "env:NOT_BASE64": "whsec_!",
}

func secretOf(reference string) (string, error) {
	if text, ok := secrets[reference]; ok {
		return text, nil
	}
	return "", fmt.Errorf("%q: the environment variable is not set", reference)
}

const anyEvent = `{"id": "${digest}", "type": "x", "ordering_key": "k"}`

// source is one that signs as the JSON in signature says.
func source(t testing.TB, signature, event string) *Source {
	t.Helper()
	s, err := New(Config{Tenant: "kopi", Name: "shop", ID: 7, Webhook: json.RawMessage(`{"signature": ` + signature + `}`), Event: json.RawMessage(event), Secret: secretOf})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Unix(1492774577, 0)

// verify is what a receiver makes of a body with such headers.
func (s *Source) verify(h http.Header, body string, now time.Time) Distrust {
	c, distrust := s.verifier.begin(h, now)
	for len(body) > 0 { // as it comes
		n := min(len(body), 7)
		_, _ = c.Write([]byte(body[:n]))
		body = body[n:]
	}
	genuine := c.holds()
	if distrust == trusted && !genuine {
		return Wrong
	}
	return distrust
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

const shopBody = `{"id":450789469,"name":"Kopi"}`

func TestVerifier(t *testing.T) {
	t.Parallel()
	const (
		github  = `{"scheme": "hmac-sha256", "header": "X-Hub-Signature-256", "prefix": "sha256=", "secrets": ["env:GITHUB"]}`
		jefe    = `{"scheme": "hmac-%s", "header": "X-Signature", "secrets": ["env:JEFE"]}`
		shopify = `{"scheme": "shopify", "secrets": ["env:OLD", "env:HUSH"]}`
		stripe  = `{"scheme": "stripe", "secrets": ["env:STRIPE"]}`
		long    = `{"scheme": "hmac-sha512", "header": "X-Sign", "timestamp_header": "X-Time", "id_header": "X-Id", "signed": "${timestamp}|${id}|${body}|end", "window": "10s", "secrets": ["env:HUSH"]}`

		// RFC 4231, 4.3, and RFC 2202, 3, test case 2.
		rfc     = "what do ya want for nothing?"
		rfc1    = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
		rfc256  = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
		rfc512  = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
		stripe1 = "371921c14ed62b7bab6fbe813c53f66a92c7eb38afea595b55fa04f3ef432d7e"
		shop1   = "hy7IXvQ0PbVFjUwqyQk8SlN4FGB9cu0PvLnExY1U+uQ="
		long1   = "d435fdc75f2d311f2a045e2fafb2e8bebdea950c9150c25a34e9d54aaba357cf659b38ec48d6c469b39e4bbfd9dbf2c5d4b55c9d643441be092838d4f9ef7120"
	)
	for _, test := range []struct {
		name, signature, body string
		header                http.Header
		now                   time.Time
		want                  Distrust
	}{
		// docs.github.com, "Validating webhook deliveries".
		{name: "GitHub", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")},
		{name: "in capitals", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17")},
		{name: "without its prefix", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), want: Malformed},
		{name: "of another body", signature: github, body: "Hello, World?", header: header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), want: Wrong},
		{name: "cut short", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "sha256=757107ea"), want: Wrong},
		{name: "empty behind the prefix", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "sha256="), want: Wrong},
		{name: "no hexadecimal", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", "sha256=zz"), want: Wrong},
		{name: "missing", signature: github, body: "Hello, World!", header: header(), want: Missing},
		{name: "empty", signature: github, body: "Hello, World!", header: header("X-Hub-Signature-256", ""), want: Missing},
		{name: "SHA-1", signature: fmt.Sprintf(jefe, "sha1"), body: rfc, header: header("X-Signature", rfc1)},
		{name: "SHA-256", signature: fmt.Sprintf(jefe, "sha256"), body: rfc, header: header("X-Signature", rfc256)},
		{name: "SHA-512", signature: fmt.Sprintf(jefe, "sha512"), body: rfc, header: header("X-Signature", rfc512)},
		{name: "a secret in hexadecimal", signature: `{"scheme": "hmac-sha256", "header": "x-signature", "secret_encoding": "hex", "secrets": ["env:HEX"]}`, body: rfc, header: header("X-Signature", rfc256)},
		{name: "another hash", signature: fmt.Sprintf(jefe, "sha512"), body: rfc, header: header("X-Signature", rfc256), want: Wrong},
		{name: "doubled", signature: fmt.Sprintf(jefe, "sha256"), body: rfc, header: header("X-Signature", rfc256, "X-Signature", rfc256), want: Doubled},
		{name: "several in one header", signature: fmt.Sprintf(jefe, "sha256"), body: rfc, header: header("X-Signature", "00, "+rfc256)},
		{name: "too many", signature: fmt.Sprintf(jefe, "sha256"), body: rfc, header: header("X-Signature", strings.Repeat("00,", 16)+rfc256), want: Malformed},
		{name: "too long", signature: fmt.Sprintf(jefe, "sha256"), body: rfc, header: header("X-Signature", strings.Repeat("0", 5000)), want: Malformed},

		{name: "Shopify, by the second secret", signature: shopify, body: shopBody, header: header("X-Shopify-Hmac-Sha256", shop1)},
		{name: "Shopify, in the URL's alphabet, not padded", signature: shopify, body: shopBody, header: header("X-Shopify-Hmac-Sha256", strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(shop1), "="))},
		{name: "Shopify, no base64", signature: shopify, body: shopBody, header: header("X-Shopify-Hmac-Sha256", "***"), want: Wrong},
		{name: "Shopify, a secret that is gone", signature: `{"scheme": "shopify", "secrets": ["env:OLD"]}`, body: shopBody, header: header("X-Shopify-Hmac-Sha256", shop1), want: Wrong},

		{name: "Stripe", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v1="+stripe1+",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39")},
		{name: "Stripe, the second of two", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v1=00,v1="+stripe1)},
		{name: "Stripe, as v0 only", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v0="+stripe1), want: Missing},
		{name: "Stripe, another time", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774578,v1="+stripe1), want: Wrong},
		{name: "Stripe, two times", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,t=1492774578,v1="+stripe1), want: Doubled},
		{name: "Stripe, no time", signature: stripe, body: shopBody, header: header("Stripe-Signature", "v1="+stripe1), want: Missing},
		{name: "Stripe, as old as it may be", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v1="+stripe1), now: noon.Add(5 * time.Minute)},
		{name: "Stripe, stale", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v1="+stripe1), now: noon.Add(5*time.Minute + time.Second), want: Stale},
		{name: "Stripe, in the future", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=1492774577,v1="+stripe1), now: noon.Add(-5*time.Minute - time.Second), want: Stale},
		{name: "Stripe, a time that is none", signature: stripe, body: shopBody, header: header("Stripe-Signature", "t=noon,v1="+stripe1), want: Malformed},
		{name: "Stripe, no pairs", signature: stripe, body: shopBody, header: header("Stripe-Signature", "hello"), want: Malformed},

		{name: "time, id, body and more", signature: long, body: shopBody, header: header("X-Sign", long1, "X-Time", "1492774577", "X-Id", "msg_1")},
		{name: "its id missing", signature: long, body: shopBody, header: header("X-Sign", long1, "X-Time", "1492774577"), want: Missing},
		{name: "its time doubled", signature: long, body: shopBody, header: header("X-Sign", long1, "X-Time", "1492774577", "X-Time", "1492774577", "X-Id", "msg_1"), want: Doubled},
		{name: "another id", signature: long, body: shopBody, header: header("X-Sign", long1, "X-Time", "1492774577", "X-Id", "msg_2"), want: Wrong},
		{name: "outside of its window", signature: long, body: shopBody, header: header("X-Sign", long1, "X-Time", "1492774577", "X-Id", "msg_1"), now: noon.Add(11 * time.Second), want: Stale},

		{name: "nothing signed", signature: `{"scheme": "none"}`, body: shopBody, header: header()},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := test.now
			if now.IsZero() {
				now = noon
			}
			if got := source(t, test.signature, anyEvent).verify(test.header, test.body, now); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// The standard's own library signs, and so do we; each finds the other's right. Take.app's
// secrets, which are of the other alphabet, serve too.
func TestVerifier_StandardWebhooks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct{ scheme, reference, prefix, secret string }{
		{"standard-webhooks", "env:STANDARD", "webhook-", secrets["env:STANDARD"]},
		{"takeapp", "env:STANDARD", "svix-", secrets["env:STANDARD"]},
		{"takeapp", "env:URL", "svix-", "whsec_" + strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimPrefix(secrets["env:URL"], "whsec_"))},
	} {
		s := source(t, fmt.Sprintf(`{"scheme": %q, "secrets": ["env:URL", "env:STANDARD"]}`, test.scheme), anyEvent)
		peer, err := standardwebhooks.NewWebhook(test.secret)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := peer.Sign("msg_1", now, []byte(shopBody))
		if err != nil {
			t.Fatal(err)
		}
		stamp := fmt.Sprint(now.Unix())
		h := header(test.prefix+"id", "msg_1", test.prefix+"timestamp", stamp, test.prefix+"signature", "v1a,AAAA "+signature+" v1,AAAA")
		if got := s.verify(h, shopBody, now); got != trusted {
			t.Errorf("%s: the library's signature is %q", test.scheme, got)
		}
		h.Set(test.prefix+"id", "msg_2")
		if got := s.verify(h, shopBody, now); got != Wrong {
			t.Errorf("%s: with another id it is %q", test.scheme, got)
		}
		h.Set(test.prefix+"signature", "v1a,AAAA")
		if got := s.verify(h, shopBody, now); got != Missing {
			t.Errorf("%s: without one of ours it is %q", test.scheme, got)
		}
		if test.prefix == "webhook-" {
			h, single := http.Header{}, source(t, `{"scheme": "standard-webhooks", "secrets": ["env:STANDARD"]}`, anyEvent)
			single.Sign(h, []byte(shopBody), "msg_1", now)
			if err := peer.Verify([]byte(shopBody), h); err != nil {
				t.Errorf("the library refuses ours: %v", err)
			}
		}
	}
}

// What is signed here is verified here, whatever the scheme.
func TestSource_Sign(t *testing.T) {
	t.Parallel()
	for name := range schemes {
		signature := fmt.Sprintf(`{"scheme": %q, "secrets": ["env:STANDARD", "env:OLD"]}`, name)
		switch {
		case name == unsigned:
			signature = `{"scheme": "none"}`
		case strings.HasPrefix(name, "hmac"):
			signature = fmt.Sprintf(`{"scheme": %q, "header": "X-Sign", "prefix": "v=", "timestamp_header": "X-Time", "signed": "${timestamp}${body}", "encoding": "base64", "secrets": ["env:STANDARD", "env:OLD"]}`, name)
		case schemes[name].secret == secretBase64:
			signature = fmt.Sprintf(`{"scheme": %q, "secrets": ["env:STANDARD"]}`, name)
		}
		s := source(t, signature, anyEvent)
		h := http.Header{}
		s.Sign(h, []byte(shopBody), "msg_1", noon)
		if got := s.verify(h, shopBody, noon); got != trusted {
			t.Errorf("%s: %q", name, got)
		}
		if got := s.verify(h, shopBody+" ", noon); got != Wrong && name != unsigned {
			t.Errorf("%s, another body: %q", name, got)
		}
	}
}

func TestNew_Problems(t *testing.T) {
	t.Parallel()
	for webhook, want := range map[string]string{
		`{}`: `webhook: signature: is missing`, `{"signature": {}}`: `webhook: signature: scheme: found ""; expected one of hmac-sha1`,
		`{"signature": {"scheme": "hmac"}}`:                                                              `found "hmac"`,
		`{"signature": {"scheme": "hmac-sha256"}}`:                                                       "signature: header: is missing|signature: secrets: found 0",
		`{"signature": {"scheme": "shopify", "secrets": "x"}}`:                                           "webhook: signature: secrets: expected a list of texts",
		`{"signature": {"scheme": "shopify", "secrt": []}}`:                                              `webhook: signature: unknown field "secrt"; expected one of scheme, secrets`,
		`{"signature": {"scheme": "shopify", "secrets": ["env:NONE"]}}`:                                  `webhook: signature: secrets: "env:NONE": the environment variable is not set`,
		`{"signature": {"scheme": "shopify", "secrets": ["env:EMPTY"]}}`:                                 `"env:EMPTY": is not text`,
		`{"signature": {"scheme": "takeapp", "secrets": ["env:NOT_BASE64"]}}`:                            `"env:NOT_BASE64": is not base64`,
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH", "env:HUSH"]}}`:                      `"env:HUSH" stands there twice`,
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "window": "1m"}}`:                  "signature: window: expected a signed time",
		`{"signature": {"scheme": "stripe", "secrets": ["env:HUSH"], "window": "2h"}}`:                   `signature: window: found "2h"; expected a duration, 1s to 1h`,
		`{"signature": {"scheme": "stripe", "secrets": ["env:HUSH"], "signed": "${body}"}}`:              "a time that is not signed proves nothing",
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "signed": "x"}}`:                   "signature: signed: expected a text with ${body} once",
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "signed": "${url}${body}"}}`:       "signature: signed: expected a text with ${body} once",
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "signed": "${timestamp}${body}"}}`: "signature: timestamp_header: is missing",
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "encoding": "rot13"}}`:             "signature: encoding: found",
		`{"signature": {"scheme": "shopify", "secrets": ["env:HUSH"], "header": "a b"}}`:                 "signature: header: expected the name of a header",
		`{"signature": {"scheme": "none", "secrets": ["env:HUSH"]}}`:                                     "none signs nothing",
		`{"format": "xml", "signature": {"scheme": "none"}}`:                                             `webhook: format: found "xml"`,
	} {
		_, err := New(Config{Webhook: json.RawMessage(webhook), Event: json.RawMessage(anyEvent), Secret: secretOf})
		for _, part := range strings.Split(want, "|") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v\nwant %s", webhook, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows a secret", webhook)
		}
	}
	for event, want := range map[string]string{
		`{}`: "event: id: is missing|event: type: is missing|event: ordering_key: is missing",
		`{"id": "${body.id", "type": "x", "ordering_key": "k"}`:                      "event: id: line 1, column 1",
		`{"id": "${bdy.id}", "type": "x", "ordering_key": "k"}`:                      "event: id: line 1, column 3: undeclared reference",
		`{"id": "1", "type": "x", "ordering_key": "k", "references": {"a": "${b}"}}`: "event: references: a: line 1",
		`{"id": "1", "typ": "x"}`:                                                    `event: unknown field "typ"; expected one of id, type, ordering_key, outlet, occurred_at, references`,
		`{"id": 1}`:                                                                  "event: id: expected a text, found number",
	} {
		_, err := New(Config{Webhook: json.RawMessage(`{"signature": {"scheme": "none"}}`), Event: json.RawMessage(event), Secret: secretOf})
		for _, part := range strings.Split(want, "|") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v\nwant %s", event, err, part)
			}
		}
	}
}

// Whatever a header holds, reading it neither panics nor proves anything.
func FuzzVerifier(f *testing.F) {
	var sources []*Source
	for _, signature := range []string{
		`{"scheme": "stripe", "secrets": ["env:STRIPE"]}`, `{"scheme": "standard-webhooks", "secrets": ["env:STANDARD"]}`, `{"scheme": "shopify", "secrets": ["env:HUSH"]}`,
		`{"scheme": "hmac-sha1", "header": "X", "prefix": "sha1=", "timestamp_header": "T", "signed": "${timestamp}.${body}", "secrets": ["env:HUSH"]}`,
	} {
		sources = append(sources, source(f, signature, anyEvent))
	}
	for _, seed := range []string{"", "t=1492774577,v1=00", "v1,AAAA v1,", "sha1=,,", "t=,v1", "v1,g0hM9SsE+OTPJTt/tmKtSyEVAVC="} {
		f.Add(seed, "1492774577")
	}
	f.Fuzz(func(t *testing.T, value, stamp string) {
		for _, s := range sources {
			h := http.Header{}
			h.Set(s.verifier.header, value)
			for _, name := range []string{s.verifier.timestamp, s.verifier.id} {
				if name != "" {
					h.Set(name, stamp)
				}
			}
			if s.verify(h, shopBody, noon) == trusted {
				t.Fatalf("%q proves it", value)
			}
		}
	})
}

func FuzzParseTemplate(f *testing.F) {
	for _, seed := range []string{"${body}", "${timestamp}.${body}", "${id}${id}${body}", "$${body}", "${body}${", "${body}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, ok := parseTemplate(text)
		if !ok {
			return
		}
		before, after := parsed.around("${timestamp}", "${id}")
		if got := string(before) + bodyPlace + string(after); got != text {
			t.Fatalf("%q becomes %q", text, got)
		}
	})
}
