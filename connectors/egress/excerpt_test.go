package egress_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors/egress"
)

func TestExcerpt(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for _, test := range []struct {
		name, body string
		known      []string
		want       string
	}{
		{name: "Empty"},
		{name: "Plain", body: `{"error":"no such SKU LATTE-OAT","code":6240}`, want: `{"error":"no such SKU LATTE-OAT","code":6240}`},
		{name: "AccurateOnline", body: `{"s":false,"d":["Tanggal 23/11/2026 di luar periode"]}`, want: `{"s":false,"d":["Tanggal 23/11/2026 di luar periode"]}`},
		{name: "KeepsUUID", body: "request 550e8400-e29b-41d4-a716-446655440000 failed", want: "request 550e8400-e29b-41d4-a716-446655440000 failed"},
		{name: "KeepsLongWords", body: "see /documentation/errors/validation-failed-permanently", want: "see /documentation/errors/validation-failed-permanently"},
		{name: "KeepsErrorNames", body: `{"error":"invalid_token","hint":"the token expired"}`, want: `{"error":"invalid_token","hint":"the token expired"}`},
		{name: "Control", body: "a\x00b\r\n\tc\x1b[31md\u202ee\u200bf\u0085g", want: "a\uFFFDb   c\uFFFD[31md\uFFFDe\uFFFDf g"},
		{name: "InvalidUTF8", body: "ok\xff\xfe ok", want: "ok\uFFFD ok"},
		{name: "Unicode", body: "Rp 312.000 ☕ 注文", want: "Rp 312.000 ☕ 注文"},
		{name: "Bearer", body: "Authorization was Bearer abc.def-123", want: "Authorization was Bearer [redacted]"},
		{name: "Header", body: "authorization: Basic dXNlcjpwYXNz", want: "authorization: Basic [redacted]"},
		{name: "JSON", body: `{"access_token":"abc","expires":3600}`, want: `{"access_token":"[redacted]","expires":3600}`},
		{name: "JSONSpaced", body: `{ "Api-Key" : "a \"b\" c", "x": 1 }`, want: `{ "Api-Key" : "[redacted]", "x": 1 }`},
		{name: "JSONNumber", body: `{"password": 123456, "x": 1}`, want: `{"password": [redacted], "x": 1}`},
		{name: "JSONList", body: `{"tokens": ["abc", "def"], "x": 1}`, want: `{"tokens": [redacted], "x": 1}`},
		{name: "JSONInJSON", body: `{"sent":"{\"client_secret\":\"abc\",\"x\":1}"}`, want: `{"sent":"{\"client_secret\":\"[redacted]\",\"x\":1}"}`},
		{name: "JSONCutShort", body: `{"refresh_token":"abc`, want: `{"refresh_token":"[redacted]`},
		{name: "Form", body: "grant=x&client_secret=abc&y=1", want: "grant=x&client_secret=[redacted]&y=1"},
		{name: "XML", body: `<a><Password type="x">hunter2</Password></a>`, want: `<a><Password type="x">[redacted]</Password></a>`},
		{name: "XMLNamespace", body: `<s:SessionToken>abc</s:SessionToken><b>1 > 0</b>`, want: `<s:SessionToken>[redacted]</s:SessionToken><b>1 > 0</b>`},
		{name: "PHP", body: "'password' => 'x', 'a' => 1", want: "'password' => '[redacted]', 'a' => 1"},
		{name: "Indonesian", body: "kata_sandi=rahasia&a=1", want: "kata_sandi=[redacted]&a=1"},
		{name: "NothingAfterName", body: `{"token":""} token:`, want: `{"token":""} token:`},
		{name: "NestedObject", body: `{"session":{"id":5,"key":"x"}}`, want: `{"session":{"id":5,"key":"x"}}`},
		{name: "YAML", body: "api_key: 'abc def'", want: "api_key: '[redacted]'"},
		{name: "Cookie", body: "Set-Cookie: sid=abc; Path=/", want: "Set-Cookie: [redacted]; Path=/"},
		{name: "UserInfo", body: "could not reach https://user:pw@example.com/x", want: "could not reach https://[redacted]@example.com/x"},
		{name: "JWT", body: "jws " + jwt + " refused", want: "jws [redacted] refused"},
		{name: "Prefixed", body: "key sk_live_abc123 or shpat_0123abcd or whsec_MfKQ9r8=", want: "key [redacted] or [redacted] or [redacted]"},
		{name: "PrivateKey", body: "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x", want: "[redacted] x"},
		{name: "LongRun", body: "signature mismatch 9f86d081884c7d659a2feaa0c55ad015 end", want: "signature mismatch [redacted] end"},
		{name: "BrokenByControl", body: "\"pass\x00word\":\"x\"", want: "\"pass\uFFFDword\":\"x\""},
		{name: "Known", body: "unknown client kopi-7hq2", known: []string{"", "kopi-7hq2"}, want: "unknown client [redacted]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, egress.Excerpt([]byte(test.body), 0, test.known...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExcerpt_Length(t *testing.T) {
	body := []byte(strings.Repeat("é ☕ ", 10_000))
	for _, limit := range []int{-1, 0, 1, 2, 3, 4, 100, 1023, 1024, 4096} {
		got := egress.Excerpt(body, limit)
		most := limit
		if limit <= 0 || limit > 1024 {
			most = 1024
		}
		if len(got) > most || len(got) < most-3 || !utf8.ValidString(got) {
			t.Errorf("limit %d: %d bytes, valid %t", limit, len(got), utf8.ValidString(got))
		}
	}
}

// A secret that the window cuts in two must not show its first half.
func TestExcerpt_CutsNoSecretInTwo(t *testing.T) {
	known := "correct-horse-battery"
	redactable := strings.Repeat("9f86d081884c7d659a2feaa0c55ad015", 4<<10/32-1)
	for shift := range len(known) {
		body := redactable + " " + strings.Repeat("x", 10+shift) + " " + known
		if got := egress.Excerpt([]byte(body), 0, known); strings.Contains(got, known[:4]) {
			t.Fatalf("shift %d: %q", shift, got)
		}
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add([]byte(`{"access_token":"abc"}`), 100)
	f.Add([]byte("\xff\x00\u202e"), 1)
	f.Fuzz(func(t *testing.T, body []byte, limit int) {
		got := egress.Excerpt(body, limit)
		if len(got) > 1024 || limit > 0 && len(got) > limit {
			t.Errorf("%d bytes of %d", len(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Errorf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("not printable: %q in %q", r, got)
			}
		}
		// What a name marks as secret never shows.
		marked := append([]byte(`{"api_key":"hunter2zz","x":"`), body...)
		if got := egress.Excerpt(marked, 0); strings.Contains(got, "hunter2zz") && !strings.Contains(string(body), "hunter2zz") {
			t.Errorf("shows the secret: %q", got)
		}
	})
}
