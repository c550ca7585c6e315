package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

type mappingsUses struct {
	readFlags
	Destination string `arg:"" help:"Destination that it was sent to."`
	Table       string `arg:"" help:"Mapping table."`
	Value       string `arg:"" help:"Value that was looked up."`
	Since       string `help:"Only what was sent since then: 2026-11-01T00:00:00Z, 2026-11-01, or 7d ago as 7d." placeholder:"TIME"`
	Target      string `help:"Only where the value was called this." placeholder:"TARGET"`
	CSV         bool   `name:"csv" help:"Print all as CSV, whatever --limit says: what is to be corrected, with both targets."`
}

func (mappingsUses) Help() string {
	return `Lists every request that was made with what a mapping table said of a value, the newest
first, with what became of it and its document. Where the entry was wrong: put it right
with mappings set, and this is what is to be corrected at the platform, from which target
to which.

Examples:
  raffsync mappings uses stock sku LATTE-OAT
  raffsync mappings uses stock sku LATTE-OAT --target ITM-7 --csv > correct.csv`
}

// toldUse is a use of an entry, as it is printed.
type toldUse struct {
	At         time.Time `json:"at"`
	Event      string    `json:"event"`
	Source     string    `json:"source"`
	Route      string    `json:"route"`
	Step       string    `json:"step,omitempty"`
	Effect     string    `json:"effect,omitempty"`
	Attempt    int32     `json:"attempt"`
	Outcome    string    `json:"outcome"` // empty while it is not known
	Document   string    `json:"document,omitempty"`
	URL        string    `json:"url,omitempty"`
	Target     string    `json:"target"`
	Now        string    `json:"now,omitempty"`
	Correct    bool      `json:"correct"` // there is, or may be, a document with another target than today's
	Version    int64     `json:"version"`
	Shared     bool      `json:"shared,omitempty"`
	Default    bool      `json:"default,omitempty"`
	DeliveryID string    `json:"deliveryId"`
}

func toldUseOf(u *view.MappingUse, now string) toldUse {
	t := toldUse{
		At: u.At, Event: u.EventID, Source: u.Source, Route: u.Route, Step: u.StepName, Effect: u.Effect, Attempt: u.Attempt,
		Document: u.ExternalID, URL: u.URL, Target: u.Target, Now: now, Version: u.Version, Shared: u.Shared, Default: u.Default,
		DeliveryID: view.FormatDeliveryID(u.Ref),
	}
	if u.Kind != 0 {
		t.Outcome = outbox.Class(u.Kind)
	}
	t.Correct = u.Target != now && u.MayHaveDocument()
	return t
}

func (t toldUse) String() string {
	text := fmt.Sprintf("%s  %s of %s  %s %s", t.At.Format(time.RFC3339), t.Event, t.Source, t.Route, t.Step)
	if t.Document != "" {
		text += "  " + t.Document
	}
	text += fmt.Sprintf("  %s  as %s", firstOf(t.Outcome, "under way"), shown(t.Target))
	switch {
	case t.Correct && t.Now == "":
		text += ": correct it"
	case t.Correct:
		text += ": correct it to " + shown(t.Now)
	}
	if t.URL != "" {
		text += "  " + t.URL
	}
	return text
}

// everyUse is enough for any CSV.
const everyUse = 1 << 30

func (c *mappingsUses) Run(ctx context.Context, line *commandLine) error {
	if c.CSV && c.JSON {
		return errors.New("--csv and --json are two ways to print the same; take one")
	}
	since, err := parseMoment("--since", c.Since, time.Now())
	if err != nil {
		return err
	}
	limit := c.Limit
	if c.CSV {
		limit = everyUse
	}
	return c.read(ctx, line, func(tx *view.Tx) error {
		told := []toldUse{}
		filter := view.UseFilter{Table: c.Table, Value: c.Value, Destination: c.Destination, Since: since, Target: c.Target}
		var print func(toldUse) error
		out := csv.NewWriter(os.Stdout)
		if c.CSV {
			print = func(t toldUse) error { return out.Write(t.record()) }
			if err := out.Write(useColumns); err != nil {
				return err
			}
		}
		now := ""
		_, more, err := upTo(limit, func(first int, after string) (view.Page[*view.MappingUse], error) {
			uses, err := tx.MappingUses(ctx, filter, first, after)
			now = uses.Now
			for _, u := range uses.Nodes {
				t := toldUseOf(u, uses.Now)
				if print == nil {
					told = append(told, t)
				} else if err := print(t); err != nil {
					return uses.Page, err
				}
			}
			if print != nil {
				uses.Nodes = uses.Nodes[:0] // they are printed, and need no room
			}
			return uses.Page, err
		})
		switch {
		case err != nil:
			return err
		case c.CSV:
			out.Flush()
			return out.Error()
		case c.JSON:
			return printJSON(map[string]any{"uses": told, "now": now, "more": more})
		}
		for _, t := range told {
			fmt.Println(t)
		}
		if len(told) == 0 {
			fmt.Println("nothing was sent with it")
		}
		printMore(more)
		return nil
	})
}

var useColumns = []string{"at", "event", "source", "route", "step", "effect", "attempt", "outcome", "document", "url", "target", "now", "correct"}

func (t toldUse) record() []string {
	return []string{
		t.At.Format(time.RFC3339Nano), t.Event, t.Source, t.Route, t.Step, t.Effect, strconv.Itoa(int(t.Attempt)), t.Outcome,
		t.Document, t.URL, t.Target, t.Now, strconv.FormatBool(t.Correct),
	}
}
