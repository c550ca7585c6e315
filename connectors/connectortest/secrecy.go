package connectortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// quotes checks that nothing confidential is recorded when the platform quotes what
// it was sent, in every place that connectors read.
func (s *suite) quotes(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	s.sendNew(t, t.Context(), d)
	first := p.all()[0]

	quoted := []string{first.URL.RequestURI(), string(first.body)}
	for _, name := range slices.Sorted(maps.Keys(first.Header)) {
		quoted = append(quoted, name+": "+first.Header.Get(name), first.Header.Get(name))
	}
	quoted = append(quoted, strings.Join(quoted, "\n"))
	quoted = append(quoted, s.Secrets...)
	for _, status := range []int{201, 302, 401, 409, 422, 500} {
		for _, text := range quoted {
			p.answers(func(w http.ResponseWriter, _ received) { quote(w, status, text) })
			// confidential is among what is checked of every outcome.
			s.sendNew(t, t.Context(), d)
			if t.Failed() {
				t.Fatalf("status %d, where the platform quotes %.60q", status, text)
			}
		}
	}
}

// quote says the text in every way that platforms have. What is the payload's stands
// only where a message does.
func quote(w http.ResponseWriter, status int, text string) {
	word := text
	if strings.Contains(text, canary) {
		word = "a-code"
	}
	document := map[string]any{
		"id":      word,
		"message": text,
		"error": map[string]any{
			"code": word, "field": word, "message": text, "detail": text,
			"source": map[string]any{"pointer": word},
		},
		"errors": []any{map[string]any{"code": word, "field": word, "message": text}},
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	// net/http's server replaces what would break a header.
	header.Set("Location", "/"+word)
	header.Set("Retry-After", word)
	header.Set("WWW-Authenticate", "Bearer error="+word)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

// formats checks what is seen when someone prints a destination or a request.
func (s *suite) formats(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	request, err := d.Prepare(s.newStep(d))
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	for _, printed := range []struct {
		what  string
		value any
	}{{"a printed destination", d}, {"a printed request", request}} {
		text := everyFormat(printed.value)
		s.confidential(t, printed.what, text)
		for _, form := range forms(canary) {
			if strings.Contains(text, form) {
				t.Errorf("the payload is in %s", printed.what)
				break
			}
		}
	}
}

// everyFormat prints the value by itself and as a field, exported and not: fmt calls
// no method of the latter, but prints by reflection what it reaches.
func everyFormat(value any) string {
	var text bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&text, nil))
	for _, v := range []any{value, struct{ Field any }{value}, struct{ field any }{value}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		logger.Info("value", "value", v)
		if encoded, err := json.Marshal(v); err == nil {
			text.Write(encoded)
		}
	}
	return text.String()
}
