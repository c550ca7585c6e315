package outcome_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"raffsync/connectors/egress"
	"raffsync/connectors/outcome"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	transient  = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown    = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	validation = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	poison     = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
)

func TestFailure(t *testing.T) {
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
		if v := outcome.Failure(test.err); v.Kind != test.kind || v.Rule != test.rule || v.Reason == "" {
			t.Errorf("%#v makes %+v, want %s by rule %q", test.err, v, test.kind, test.rule)
		}
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
		if got := outcome.ReceiptURL(base, http.Header{"Location": {location}}); got != want {
			t.Errorf("%q makes %q, want %q", location, got, want)
		}
	}
}
