package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

type storyCommand struct {
	tenantFlag
	Reference string `arg:"" help:"Order number or another reference, event id, or ordering key; exactly as it was sent."`
	First     int    `help:"Most events to tell of: the newest ones." default:"20"`
	JSON      bool   `name:"json" help:"Print as JSON."`
}

func (storyCommand) Help() string {
	return `Tells, for every event that carries the reference, when it was accepted, where it
went, every attempt with its reason, and what it waits for now.

Examples:
  raffsync story 1042
  raffsync story order/1042 --json`
}

// chapter is what is told of one event.
type chapter struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	OrderingKey string            `json:"orderingKey"`
	References  map[string]string `json:"references,omitempty"`
	OccurredAt  time.Time         `json:"occurredAt"`
	AcceptedAt  time.Time         `json:"acceptedAt"`
	Deliveries  []toldDelivery    `json:"deliveries"`
	Timeline    []toldEntry       `json:"timeline"`
	More        bool              `json:"more"` // the timeline goes on
}

type toldDelivery struct {
	ID          string     `json:"id"`
	Destination string     `json:"destination"`
	State       string     `json:"state"`
	Waiting     string     `json:"waiting,omitempty"`
	BlockedBy   string     `json:"blockedBy,omitempty"` // id of the event that goes first
	Until       *time.Time `json:"until,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	HeldBy      string     `json:"heldBy,omitempty"` // the operator who paused it
	Version     int32      `json:"version,omitempty"`
	// Steps, where its route names any.
	Steps []toldStep `json:"steps,omitempty"`
}

type toldEntry struct {
	At          time.Time `json:"at"`
	What        string    `json:"what"`
	Destination string    `json:"destination,omitempty"`
	Step        string    `json:"step,omitempty"` // by its name
	Attempt     int32     `json:"attempt,omitempty"`
	Kind        string    `json:"kind,omitempty"`
	State       string    `json:"state,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Actor       string    `json:"actor,omitempty"`
}

func (c *storyCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		var chapters []chapter
		var more bool
		err = view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
			chapters, more, err = tell(ctx, tx, c.Reference, c.First)
			return err
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]any{"events": append([]chapter{}, chapters...), "more": more})
		}
		if len(chapters) == 0 {
			return fmt.Errorf("nothing is known of %q: it must be a reference, an event id or an ordering key, exactly as it was sent", c.Reference)
		}
		for _, ch := range chapters {
			ch.print(os.Stdout)
		}
		if more {
			fmt.Printf("There are older events; --first shows up to %d.\n", view.MaxFirst)
		}
		return nil
	})
}

// tell gathers the story of everything that the text names.
func tell(ctx context.Context, tx *view.Tx, text string, first int) ([]chapter, bool, error) {
	page, err := tx.Search(ctx, text, first, "")
	if err != nil {
		return nil, false, err
	}
	var events []*view.Event
	var ids []outbox.EventID
	var stories []view.EventStory
	for _, hit := range page.Nodes {
		if hit.Event != nil {
			events = append(events, hit.Event)
			ids = append(ids, hit.Event.Ref())
			stories = append(stories, view.EventStory{Event: hit.Event.Ref(), First: view.MaxFirst})
		}
	}
	if len(events) == 0 {
		return nil, false, nil
	}
	deliveries, err := tx.DeliveriesOf(ctx, ids)
	if err != nil {
		return nil, false, err
	}
	told, err := tx.EventStories(ctx, stories)
	if err != nil {
		return nil, false, err
	}
	steps, err := stepsOfAll(ctx, tx, deliveries)
	if err != nil {
		return nil, false, err
	}
	chapters := make([]chapter, len(events))
	for i, e := range events {
		ch := chapter{
			ID: e.EventID, Type: e.Type, Source: e.Source, OrderingKey: e.OrderingKey, References: e.References,
			OccurredAt: e.OccurredAt, AcceptedAt: e.AcceptedAt, More: told[i].HasNext,
		}
		for _, d := range deliveries[ids[i]] {
			t := toldDelivery{ID: d.ID(), Destination: d.Destination, State: string(d.State), Reason: d.Reason, Version: d.Version, Steps: steps[d.Ref]}
			if d.Waiting != nil {
				t.Waiting, t.Until = string(d.Waiting.Reason), d.Waiting.Until
				if c := d.Waiting.Control; c != nil {
					t.HeldBy, t.Reason = c.Actor, c.Reason
				}
				if d.Waiting.Fault != nil {
					t.Reason = d.Waiting.Fault.Problem
				}
				if by := d.Waiting.BlockedBy; by != nil {
					first, err := tx.EventsByID(ctx, []outbox.EventID{by.Event})
					if err != nil {
						return nil, false, err
					}
					if e := first[by.Event]; e != nil {
						t.BlockedBy = e.EventID
					}
				}
			}
			for _, entry := range told[i].Nodes {
				if t.Reason == "" && d.State == view.NeedsAction && deref(entry.Destination) == d.Ref.Destination && deref(entry.State) == outbox.StateNeedsAction {
					t.Reason = deref(entry.Reason)
				}
			}
			ch.Deliveries = append(ch.Deliveries, t)
		}
		for _, entry := range told[i].Nodes {
			ch.Timeline = append(ch.Timeline, tellEntry(entry))
		}
		chapters[len(events)-1-i] = ch // a story is told from its beginning
	}
	return chapters, page.HasNext, nil
}

func tellEntry(e *view.Entry) toldEntry {
	t := toldEntry{At: e.At, What: e.What, Destination: deref(e.Name), Attempt: deref(e.Attempt), State: deref(e.State), Reason: deref(e.Reason), Actor: deref(e.Actor)}
	var detail struct{ Step string }
	if json.Unmarshal(e.Detail, &detail) == nil { // none, otherwise
		t.Step = detail.Step
	}
	if e.Kind != nil {
		t.Kind = outbox.Class(raffsyncv1.OutcomeKind(*e.Kind))
	}
	return t
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

const clockFormat = "2006-01-02 15:04:05.000"

func (c *chapter) print(out io.Writer) {
	fmt.Fprintf(out, "%s  %s\n", c.Type, c.ID)
	fmt.Fprintf(out, "  from %s, key %s", c.Source, c.OrderingKey)
	for _, name := range slices.Sorted(maps.Keys(c.References)) {
		fmt.Fprintf(out, ", %s %s", name, c.References[name])
	}
	fmt.Fprintln(out)
	for _, d := range c.Deliveries {
		fmt.Fprintf(out, "  → %-14s %s%s\n", d.Destination, d.State, d.because())
		for _, s := range d.Steps {
			fmt.Fprintf(out, "    %s\n", s.words())
		}
	}
	for _, e := range c.Timeline {
		fmt.Fprintf(out, "  %s  %s\n", e.At.Local().Format(clockFormat), e.words())
	}
	if c.More {
		fmt.Fprintln(out, "  … and more")
	}
	fmt.Fprintln(out)
}

func (d *toldDelivery) because() string {
	var parts []string
	if d.Waiting != "" {
		parts = append(parts, strings.ToLower(d.Waiting))
	}
	if d.HeldBy != "" {
		parts = append(parts, "by "+d.HeldBy)
	}
	if d.BlockedBy != "" {
		parts = append(parts, "behind "+d.BlockedBy)
	}
	if d.Until != nil {
		parts = append(parts, "until "+d.Until.Local().Format("15:04:05"))
	}
	if d.Reason != "" {
		parts = append(parts, d.Reason)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (e *toldEntry) words() string {
	var b strings.Builder
	b.WriteString(e.What)
	if e.Destination != "" {
		fmt.Fprintf(&b, " %s", e.Destination)
	}
	if e.Step != "" {
		fmt.Fprintf(&b, " %s", e.Step)
	}
	if e.Attempt > 0 {
		fmt.Fprintf(&b, " #%d", e.Attempt)
	}
	if e.Kind != "" {
		fmt.Fprintf(&b, " %s", e.Kind)
	}
	switch {
	case e.State == outbox.StatePending && e.Kind == outbox.StateDelivered:
		b.WriteString(" → next step")
	case e.State != "" && e.State != e.Kind:
		fmt.Fprintf(&b, " → %s", e.State)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if e.Actor != "" {
		fmt.Fprintf(&b, " (%s)", e.Actor)
	}
	return b.String()
}
