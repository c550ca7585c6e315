package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/connectors/rules"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestClassifyFailure(t *testing.T) {
	failure := func(kind error, phase egress.Phase, cause error) error {
		return &egress.Error{Kind: kind, Phase: phase, Reason: "reason", Cause: cause}
	}
	for _, test := range []struct {
		err  error
		kind raffsyncv1.OutcomeKind
		rule string
	}{
		{failure(egress.ErrForbiddenAddress, egress.PhaseConnect, nil), validation, "address not allowed"},
		{failure(egress.ErrInvalidRequest, egress.PhaseRequest, nil), poison, "request not valid"},
		{failure(egress.ErrNotSent, egress.PhaseResolve, nil), transient, "no address"},
		{failure(egress.ErrNotSent, egress.PhaseResolve, context.DeadlineExceeded), transient, "time-out before sending"},
		{failure(egress.ErrNotSent, egress.PhaseConnect, syscall.ECONNREFUSED), transient, "no connection"},
		{failure(egress.ErrNotSent, egress.PhaseConnect, context.Canceled), transient, "cancelled before sending"},
		{failure(egress.ErrNotSent, egress.PhaseTLS, nil), transient, "no TLS"},
		{failure(egress.ErrNotSent, egress.PhaseSend, syscall.EPIPE), transient, "no connection"},
		{failure(egress.ErrUnknown, egress.PhaseSend, nil), unknown, "no answer"},
		{failure(egress.ErrUnknown, egress.PhaseAnswer, syscall.ECONNRESET), unknown, "no answer"},
		{failure(egress.ErrUnknown, egress.PhaseAnswer, context.DeadlineExceeded), unknown, "time-out after sending"},
		{failure(egress.ErrUnknown, egress.PhaseAnswer, context.Canceled), unknown, "cancelled after sending"},
		{errors.New("something new"), unknown, "no answer"},
	} {
		if v := classifyFailure(test.err); v.kind != test.kind || v.rule != test.rule || v.reason == "" {
			t.Errorf("%#v makes %+v, want %s by rule %q", test.err, v, test.kind, test.rule)
		}
	}
}

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

func TestReceiptURL(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "books.example", Path: "/hooks/in"}
	for location, want := range map[string]string{
		"":                                  "",
		"/orders/17":                        "https://books.example/orders/17",
		"17":                                "https://books.example/hooks/17",
		"https://other.example/17":          "https://other.example/17",
		"javascript:alert(1)":               "",
		"https://user:secret@books.example": "",
		"ftp://books.example/17":            "",
		"https://books.example/\x7f":        "",
		"/" + strings.Repeat("7", 500):      "",
	} {
		if got := receiptURL(base, http.Header{"Location": {location}}); got != want {
			t.Errorf("%q makes %q, want %q", location, got, want)
		}
	}
}
