package webhook

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/rules"
)

// Every status makes an outcome of a kind, and none of them is called without effect
// where that is not known.
func TestRules_AnyStatus(t *testing.T) {
	for _, idempotent := range []bool{true, false} {
		set, err := Rules(connectors.Options{Settings: fmt.Appendf(nil, `{"idempotent": %t}`, idempotent)})
		if err != nil {
			t.Fatal(err)
		}
		for status := range 1000 {
			v := set.Classify(rules.Answer{Status: status})
			if v.Kind == 0 || v.Rule == "" || v.Reason == "" {
				t.Errorf("status %d makes %+v", status, v)
			}
			if (v.Kind == delivered) != (status >= 200 && status <= 299) {
				t.Errorf("status %d makes %s", status, v.Kind)
			}
			if !idempotent && status >= 500 && v.Kind != unknown {
				t.Errorf("status %d of a receiver that does not recognise repeats makes %s", status, v.Kind)
			}
		}
	}
}

func FuzzEncodeAttribute(f *testing.F) {
	for _, seed := range []string{"order/1042", "Euro € 😀", "a\r\nb", `100% "sure"`, "\xff\x00", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		encoded := encodeAttribute(value)
		if strings.ContainsFunc(encoded, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' }) {
			t.Errorf("%q is encoded as %q, which is not fit for a header", value, encoded)
		}
		if decoded, err := url.PathUnescape(encoded); err != nil || decoded != value {
			t.Errorf("%q comes back as %q, %v", value, decoded, err)
		}
	})
}

// The example of the CloudEvents HTTP protocol binding, section 3.1.3.2.
func TestEncodeAttribute(t *testing.T) {
	if got, want := encodeAttribute("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
