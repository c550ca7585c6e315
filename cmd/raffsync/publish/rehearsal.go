package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"raffsync/broker"
	"raffsync/connectors/client"
	"raffsync/connectors/filesource"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// rehearsal is what a dry run shows of the events.
type rehearsal struct {
	first            *raffsyncv1.Event
	types            map[string]int64
	earliest, latest time.Time
}

// mostTypes bounds how many types are counted apart: they may come from a column.
const mostTypes = 20

// rehearse reads the file and checks each event as the client and the broker do.
func (c *Command) rehearse(ctx context.Context, reader *filesource.Reader, r *report) error {
	validator, err := broker.NewValidator(c.MaxEventBytes)
	if err != nil {
		return err
	}
	// As in publish: reading from standard input can't be interrupted.
	type outcome struct {
		shown *rehearsal
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		shown := &rehearsal{types: map[string]int64{}}
		done <- outcome{shown, shown.read(reader, r, func(e *raffsyncv1.Event) {
			if !r.unsendable(e, client.Check(e, c.MaxEventBytes)) {
				r.violated(e, validator.Event(e))
			}
		})}
	}()
	select {
	case <-ctx.Done():
		return errInterrupted
	case o := <-done:
		if ctx.Err() != nil {
			return errInterrupted
		}
		r.summary.rehearsal = o.shown
		return o.err
	}
}

func (s *rehearsal) read(reader *filesource.Reader, r *report, check func(*raffsyncv1.Event)) error {
	for event, err := range reader.Events() {
		switch {
		case err == nil:
			s.count(event)
			check(event)
		case !r.unsendable(nil, err):
			return fmt.Errorf("%s: %w", r.file, err)
		}
	}
	return nil
}

func (s *rehearsal) count(event *raffsyncv1.Event) {
	if s.first == nil {
		s.first = event
	}
	kind := event.Type
	if _, known := s.types[kind]; !known && len(s.types) >= mostTypes {
		kind = "(others)"
	}
	s.types[kind]++
	if event.OccurredAt == nil {
		return
	}
	at := event.OccurredAt.AsTime()
	if s.earliest.IsZero() || at.Before(s.earliest) {
		s.earliest = at
	}
	if at.After(s.latest) {
		s.latest = at
	}
}

// violated counts an event that breaks rules.
func (r *report) violated(event *raffsyncv1.Event, violations []*raffsyncv1.FieldViolation) {
	if len(violations) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(refusal{ID: event.Id, Status: invalid, Violations: told(violations)}, event)
}

func (s *rehearsal) print(b *strings.Builder) {
	if s == nil || s.first == nil {
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(s.types)) {
		fmt.Fprintf(b, "  %-30s %12s\n", kind, thousands(s.types[kind]))
	}
	if !s.earliest.IsZero() {
		fmt.Fprintf(b, "  from %s to %s\n", s.earliest.Format(time.RFC3339), s.latest.Format(time.RFC3339))
	}
	e := s.first
	b.WriteString("The first event:\n")
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-14s %s\n", name, value)
		}
	}
	row("id", e.Id)
	row("type", e.Type)
	row("ordering key", e.OrderingKey)
	if e.OccurredAt != nil {
		row("occurred at", e.OccurredAt.AsTime().Format(time.RFC3339Nano))
	}
	row("outlet", e.Outlet)
	var references []string
	for _, name := range slices.Sorted(maps.Keys(e.References)) {
		references = append(references, name+"="+e.References[name])
	}
	row("references", strings.Join(references, " "))
	row("content type", e.ContentType)
	data := e.GetTextData() + string(e.GetBinaryData())
	const most = 300
	if excerpt := strings.ToValidUTF8(data, "\uFFFD"); len(excerpt) > most {
		row("data", fmt.Sprintf("%s… (%s bytes)", strings.ToValidUTF8(excerpt[:most], ""), thousands(int64(len(data)))))
	} else {
		row("data", excerpt)
	}
}
