package connectortest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// patience is when the suite gives a Send up that ought to have returned. It is no
// measurement: whatever works at all is far below it.
const patience = 30 * time.Second

// send prepares and sends the step, and checks what holds for any outcome.
func (s *suite) send(t *testing.T, ctx context.Context, d connectors.Destination, step connectors.Step) connectors.Outcome {
	t.Helper()
	request, err := d.Prepare(step)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return s.sendPrepared(t, ctx, d, request)
}

// sendNew sends a step of its own.
func (s *suite) sendNew(t *testing.T, ctx context.Context, d connectors.Destination) connectors.Outcome {
	t.Helper()
	return s.send(t, ctx, d, s.newStep(d))
}

func (s *suite) sendPrepared(t *testing.T, ctx context.Context, d connectors.Destination, request connectors.Request) connectors.Outcome {
	t.Helper()
	done := make(chan connectors.Outcome, 1)
	go func() { done <- d.Send(ctx, request) }()
	select {
	case o := <-done:
		s.wellFormed(t, o)
		return o
	case <-time.After(patience):
		t.Fatal("Send does not return")
		panic("unreachable")
	}
}

// wellFormed checks what holds for any outcome.
func (s *suite) wellFormed(t *testing.T, o connectors.Outcome) {
	t.Helper()
	if _, known := raffsyncv1.OutcomeKind_name[int32(o.Kind)]; !known || o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		t.Errorf("the outcome has no kind: %+v", o)
	}
	for _, line := range []struct {
		name, text string
		needed     bool
		most       int
	}{
		{"Rule", o.Rule, true, 100},
		{"Code", o.Code, false, 400},
		{"Field", o.Field, false, 400},
		{"Reason", o.Reason, true, 1000},
		{"ExternalID", o.ExternalID, false, 500},
		{"URL", o.URL, false, 500},
	} {
		switch {
		case line.needed && line.text == "":
			t.Errorf("the outcome has no %s: %+v", line.name, o)
		case len(line.text) > line.most:
			t.Errorf("%s is %d bytes long; at most %d are of use: %.200q…", line.name, len(line.text), line.most, line.text)
		case !utf8.ValidString(line.text) || strings.ContainsFunc(line.text, unicode.IsControl):
			t.Errorf("%s is not one line of text: %q", line.name, line.text)
		}
		if strings.Contains(line.text, canary) {
			t.Errorf("the payload is in %s: %q", line.name, line.text)
		}
	}
	if len(o.Excerpt) > 1<<10 || !utf8.ValidString(o.Excerpt) {
		t.Errorf("Excerpt is %d bytes long; it must be valid UTF-8 of at most 1 KiB: %.200q…", len(o.Excerpt), o.Excerpt)
	}
	if o.RetryAfter < 0 {
		t.Errorf("RetryAfter is %s", o.RetryAfter)
	}
	if o.URL != "" && !strings.HasPrefix(o.URL, "https://") && !strings.HasPrefix(o.URL, "http://") {
		t.Errorf("URL is %q, which must not be a link in an operator's browser", o.URL)
	}
	s.confidential(t, "an outcome", fmt.Sprintf("%+v", o))
}

// confidential checks that no secret is in the text, plain or encoded.
func (s *suite) confidential(t *testing.T, what, text string) {
	t.Helper()
	for i, secret := range s.Secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text, form) {
				t.Errorf("secret %d of the harness is in %s", i, what)
				break
			}
		}
	}
}

// forms are what a text looks like when it, or its bytes, are printed.
func forms(text string) []string {
	decimal := strings.Trim(fmt.Sprint([]byte(text)), "[]")
	return []string{text, base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)), decimal}
}
