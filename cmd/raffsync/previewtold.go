package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// previewTold is a preview, as it is printed.
type previewTold struct {
	Event       string         `json:"event"`
	Type        string         `json:"type"`
	Destination string         `json:"destination"`
	Route       string         `json:"route"`
	Open        bool           `json:"open"`
	Mappings    int64          `json:"mappings"`
	Steps       []toldPrepared `json:"steps"`
}

type toldPrepared struct {
	Name        string          `json:"name,omitempty"`
	Effect      string          `json:"effect,omitempty"`
	Prospect    outbox.Prospect `json:"prospect"`
	Class       string          `json:"class,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Request     *toldRequest    `json:"request,omitempty"`
	Provisional bool            `json:"provisional,omitempty"`
	LookUps     []toldLookUp    `json:"lookUps,omitempty"`
	Missing     []toldMissing   `json:"missing,omitempty"`
	Existing    *toldEffect     `json:"existing,omitempty"`
	Content     string          `json:"content,omitempty"`
	Same        *bool           `json:"same,omitempty"` // as what was sent before
	Diff        string          `json:"diff,omitempty"`
	NoDiff      string          `json:"noDiff,omitempty"` // why there is none
}

type toldRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Base64  bool              `json:"base64,omitempty"` // the body is not text
}

type toldLookUp struct {
	Table   string `json:"table"`
	Value   string `json:"value"`
	Target  string `json:"target"`
	Shared  bool   `json:"shared"`
	Default bool   `json:"default"`
	Version int64  `json:"version"`
}

type toldMissing struct {
	Table string `json:"table"`
	Value string `json:"value"`
	Path  string `json:"path"`
}

type toldEffect struct {
	Revision   int32  `json:"revision"`
	Source     string `json:"source"`
	Event      string `json:"event"`
	ExternalID string `json:"externalId,omitempty"`
	URL        string `json:"url,omitempty"`
	Content    string `json:"content,omitempty"`
}

func previewToldOf(e *view.Event, p *outbox.Preview) previewTold {
	t := previewTold{Event: e.EventID, Type: e.Type, Destination: p.Destination, Route: p.Route, Open: p.Open, Mappings: p.Mappings}
	for _, s := range p.Steps {
		t.Steps = append(t.Steps, toldPreparedOf(&s))
	}
	return t
}

func toldPreparedOf(s *outbox.PreviewStep) toldPrepared {
	t := toldPrepared{
		Name: s.Name, Effect: s.Effect, Prospect: s.Prospect, Class: s.Cause.Class, Reason: s.Reason,
		Provisional: s.Provisional, Content: hex.EncodeToString(s.Content),
	}
	if r := s.Request; r != nil {
		t.Request = &toldRequest{Method: r.Method, URL: r.URL, Headers: make(map[string]string), Body: string(r.Body), Base64: !utf8.Valid(r.Body)}
		if t.Request.Base64 {
			t.Request.Body = base64.StdEncoding.EncodeToString(r.Body)
		}
		for name, values := range r.Header {
			t.Request.Headers[name] = strings.Join(values, ", ")
		}
	}
	for _, l := range s.LookUps {
		t.LookUps = append(t.LookUps, toldLookUp{l.Table, l.Value, l.Target, l.Shared, l.Default, l.Version})
	}
	for _, m := range s.Missing {
		t.Missing = append(t.Missing, toldMissing{m.Table, m.Value, m.Path})
	}
	if e := s.Existing; e != nil {
		t.Existing = &toldEffect{e.Revision, e.Source, e.Event, e.Receipt.ExternalID, e.Receipt.URL, hex.EncodeToString(e.Content)}
	}
	if c := s.Change; c != nil {
		t.Same, t.Diff, t.NoDiff = &c.Same, c.Diff, c.Note
	}
	return t
}

func (t *previewTold) print(out io.Writer) {
	fmt.Fprintf(out, "%s  %s\n  → %s by route %s", t.Type, t.Event, t.Destination, t.Route)
	if t.Open {
		fmt.Fprint(out, ", under way")
	}
	fmt.Fprintln(out)
	for i := range t.Steps {
		t.Steps[i].print(out)
	}
	fmt.Fprintln(out)
}

func (s *toldPrepared) print(out io.Writer) {
	fmt.Fprintf(out, "  %s\n", s.words())
	for _, m := range s.Missing {
		fmt.Fprintf(out, "    missing  %s %s  (%s)\n", m.Table, shown(m.Value), m.Path)
	}
	for _, l := range s.LookUps {
		fmt.Fprintf(out, "    %s %s → %s%s, version %d\n", l.Table, shown(l.Value), shown(l.Target), l.whence(), l.Version)
	}
	if r := s.Request; r != nil && r.Method != "" {
		fmt.Fprintf(out, "    %s %s\n", r.Method, r.URL)
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			fmt.Fprintf(out, "    %s: %s\n", name, r.Headers[name])
		}
		if r.Body != "" {
			fmt.Fprintf(out, "\n    %s\n", r.Body)
		}
	}
	switch {
	case s.Same != nil && *s.Same:
		fmt.Fprintln(out, "    the same as what was sent before")
	case s.Diff != "":
		fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(strings.TrimSpace(s.Diff), "\n", "\n    "))
	case s.NoDiff != "":
		fmt.Fprintf(out, "    compared with what was sent before: %s\n", s.NoDiff)
	}
}

func (l *toldLookUp) whence() string {
	var parts []string
	if l.Shared {
		parts = append(parts, "shared")
	}
	if l.Default {
		parts = append(parts, "default")
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, " ") + ")"
}

var prospects = map[outbox.Prospect]string{
	outbox.WouldSend: "would be sent", outbox.WouldUpdate: "would update what is there", outbox.WouldSkip: "would send nothing",
	outbox.WouldSupersede: "would be superseded", outbox.WouldAsk: "the platform would be asked first", outbox.WouldWait: "would wait",
	outbox.WouldHold: "would need a person", outbox.WasDone: "is done", outbox.NotKnown: "cannot be told yet",
}

// words are a line: "invoice  would be sent, makes invoice/1042".
func (s *toldPrepared) words() string {
	var b strings.Builder
	if s.Name != "" {
		fmt.Fprintf(&b, "%-12s ", s.Name)
	}
	b.WriteString(prospects[s.Prospect])
	if s.Class != "" {
		fmt.Fprintf(&b, " (%s)", s.Class)
	}
	if s.Effect != "" {
		fmt.Fprintf(&b, ", makes %s", s.Effect)
	}
	if e := s.Existing; e != nil && e.ExternalID != "" {
		fmt.Fprintf(&b, ", which is %s", e.ExternalID)
	}
	if s.Reason != "" {
		fmt.Fprintf(&b, ": %s", s.Reason)
	}
	if s.Provisional {
		b.WriteString("; {…} stands for what earlier steps will have given")
	}
	return b.String()
}
