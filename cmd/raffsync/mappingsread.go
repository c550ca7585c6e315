package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// readFlags are those of every list.
type readFlags struct {
	tenantFlag
	Limit int  `help:"Lines at most." default:"100" placeholder:"N"`
	JSON  bool `name:"json" help:"Print as JSON."`
}

// read runs f on what the tenant sees.
func (c *readFlags) read(ctx context.Context, line *commandLine, f func(*view.Tx) error) error {
	if c.Limit < 1 {
		return errors.New("--limit must be 1 or more")
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		return view.New(store.API()).As(ctx, tenant, f)
	})
}

// upTo reads pages until there are as many nodes as asked for; more: there are others.
func upTo[T any](limit int, page func(first int, after string) (view.Page[T], error)) (nodes []T, more bool, err error) {
	nodes = []T{}
	for after := ""; ; {
		p, err := page(min(limit-len(nodes), view.MaxFirst), after)
		nodes = append(nodes, p.Nodes...)
		if err != nil || !p.HasNext || len(nodes) == limit {
			return nodes, p.HasNext, err
		}
		after = p.EndCursor
	}
}

// printMore says that there is more than was listed.
func printMore(more bool) {
	if more {
		fmt.Println("There is more; --limit shows as much as you like.")
	}
}

type mappingsList struct {
	readFlags
	sharedFlag
	Search    string   `help:"Only entries with this text in value or target, the letters A to Z in either case." placeholder:"TEXT"`
	Arguments []string `arg:"" optional:"" name:"argument" help:"DESTINATION TABLE; with --shared: TABLE; nothing for the tables themselves."`
}

func (mappingsList) Help() string {
	return `Examples:
  raffsync mappings list
  raffsync mappings list stock sku --search oat
  raffsync mappings list --shared tax --json`
}

// toldTable is a table, as it is printed.
type toldTable struct {
	Table       string    `json:"table"`
	Destination string    `json:"destination,omitempty"`
	Entries     int32     `json:"entries"`
	Default     string    `json:"default,omitempty"`
	Version     int64     `json:"version"`
	ChangedAt   time.Time `json:"changedAt"`
	Actor       string    `json:"actor"`
	Reason      string    `json:"reason"`
}

func toldTableOf(t *view.MappingTable) toldTable {
	return toldTable{t.Name, deref(t.Destination), t.Entries, deref(t.Default), t.Version, t.At, t.Actor, t.Reason}
}

func (t toldTable) String() string {
	text := fmt.Sprintf("%-20s  %-20s  %7d entries", firstOf(t.Destination, "(shared)"), t.Table, t.Entries)
	if t.Default != "" {
		text += "  default " + shown(t.Default)
	}
	return text + fmt.Sprintf("  version %d, %s, %s: %s", t.Version, t.ChangedAt.UTC().Format(time.RFC3339), t.Actor, t.Reason)
}

// toldMapping is an entry, as it is printed.
type toldMapping struct {
	Value     string    `json:"value"`
	Target    string    `json:"target"`
	Version   int64     `json:"version"`
	ChangedAt time.Time `json:"changedAt"`
	Actor     string    `json:"actor"`
	Reason    string    `json:"reason"`
}

func (c *mappingsList) Run(ctx context.Context, line *commandLine) error {
	if len(c.Arguments) == 0 && !c.Shared {
		if c.Search != "" {
			return errors.New("--search looks into one table: name it")
		}
		return c.read(ctx, line, c.tables(ctx))
	}
	table, rest, err := c.split(c.Arguments)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is one argument too many; --search finds entries", rest[0])
	}
	return c.read(ctx, line, func(tx *view.Tx) error {
		about, err := tx.MappingTable(ctx, table.Name, table.Destination)
		if err != nil {
			return err
		}
		if about == nil {
			return fmt.Errorf("nothing is in %s; `raffsync mappings list` shows the tables", table)
		}
		filter := view.MappingFilter{Table: table.Name, Destination: table.Destination, Search: c.Search}
		found, more, err := upTo(c.Limit, func(first int, after string) (view.Page[*view.MappingEntry], error) {
			return tx.MappingEntries(ctx, filter, first, after)
		})
		if err != nil {
			return err
		}
		told := make([]toldMapping, len(found))
		for i, e := range found {
			told[i] = toldMapping{e.Value, e.Target, e.Version, e.At, e.Actor, e.Reason}
		}
		if c.JSON {
			return printJSON(map[string]any{"table": toldTableOf(about), "entries": told, "more": more})
		}
		for _, e := range told {
			fmt.Printf("%s = %s  (version %d, %s)\n", shown(e.Value), shown(e.Target), e.Version, e.Actor)
		}
		if about.Default != nil {
			fmt.Printf("any other = %s\n", shown(*about.Default))
		}
		printMore(more)
		return nil
	})
}

func (c *mappingsList) tables(ctx context.Context) func(*view.Tx) error {
	return func(tx *view.Tx) error {
		found, err := tx.MappingTables(ctx)
		if err != nil {
			return err
		}
		told := make([]toldTable, len(found))
		for i, t := range found {
			told[i] = toldTableOf(t)
		}
		if c.JSON {
			return printJSON(told)
		}
		if len(told) == 0 {
			fmt.Println("there are no mapping tables yet; `raffsync mappings set` makes one with its first entry")
		}
		for _, t := range told {
			fmt.Println(t)
		}
		return nil
	}
}

type mappingsHistory struct {
	readFlags
	sharedFlag
	Arguments []string `arg:"" optional:"" name:"argument" help:"DESTINATION TABLE [VALUE]; with --shared: TABLE [VALUE]; nothing for all tables."`
}

func (mappingsHistory) Help() string {
	return `The newest first; what an import changed has one version.

Examples:
  raffsync mappings history
  raffsync mappings history stock sku LATTE-OAT`
}

// toldRevision is a line of the history, as it is printed.
type toldRevision struct {
	Version     int64     `json:"version"`
	At          time.Time `json:"at"`
	Actor       string    `json:"actor"`
	Reason      string    `json:"reason"`
	Table       string    `json:"table"`
	Destination string    `json:"destination,omitempty"`
	Value       string    `json:"value,omitempty"`
	Default     bool      `json:"default,omitempty"`
	From        string    `json:"from,omitempty"`
	To          string    `json:"to,omitempty"`
}

func (r toldRevision) String() string {
	of, change := shown(r.Value), ""
	if r.Default {
		of = "default"
	}
	switch {
	case r.From == "":
		change = "= " + shown(r.To)
	case r.To == "":
		change = "removed, was " + shown(r.From)
	default:
		change = fmt.Sprintf("= %s, was %s", shown(r.To), shown(r.From))
	}
	return fmt.Sprintf("%d  %s  %s %s  %s %s  (%s: %s)", r.Version, r.At.UTC().Format(time.RFC3339), firstOf(r.Destination, "(shared)"), r.Table, of, change, r.Actor, r.Reason)
}

func (c *mappingsHistory) Run(ctx context.Context, line *commandLine) error {
	var filter view.HistoryFilter
	if len(c.Arguments) > 0 || c.Shared {
		table, rest, err := c.split(c.Arguments)
		if err != nil {
			return err
		}
		if len(rest) > 1 {
			return fmt.Errorf("%q is one argument too many", rest[1])
		}
		filter = view.HistoryFilter{Table: table.Name, Destination: table.Destination, Value: strings.Join(rest, "")}
	}
	return c.read(ctx, line, func(tx *view.Tx) error {
		found, more, err := upTo(c.Limit, func(first int, after string) (view.Page[*view.MappingRevision], error) {
			return tx.MappingHistory(ctx, filter, first, after)
		})
		if err != nil {
			return err
		}
		told := make([]toldRevision, len(found))
		for i, r := range found {
			told[i] = toldRevision{r.Version, r.At, r.Actor, r.Reason, r.Table, deref(r.Destination), r.Value, r.Value == "", deref(r.From), deref(r.To)}
		}
		if c.JSON {
			return printJSON(map[string]any{"history": told, "more": more})
		}
		for _, r := range told {
			fmt.Println(r)
		}
		printMore(more)
		return nil
	})
}

type mappingsGaps struct {
	readFlags
	Destination string `help:"Only those of this destination." placeholder:"NAME"`
	Table       string `help:"Only those of this table." placeholder:"NAME"`
}

func (mappingsGaps) Help() string {
	return `Values that look-ups missed, what holds most deliveries first, and which existing targets
may be meant.

Examples:
  raffsync mappings gaps
  raffsync mappings gaps --destination stock --table sku --json`
}

// toldGap is a gap, as it is printed.
type toldGap struct {
	Destination string           `json:"destination,omitempty"`
	Table       string           `json:"table"`
	Value       string           `json:"value"`
	Held        int64            `json:"held"`
	OpenedAt    time.Time        `json:"openedAt"`
	Suggestions []toldSuggestion `json:"suggestions"`
}

type toldSuggestion struct {
	Target string `json:"target"`
	Like   string `json:"like"`
}

func (g toldGap) String() string {
	text := fmt.Sprintf("%s %s  %s  holds %d since %s", firstOf(g.Destination, "(shared)"), g.Table, shown(g.Value), g.Held, g.OpenedAt.UTC().Format(time.RFC3339))
	for i, s := range g.Suggestions {
		joint := ", or"
		if i == 0 {
			joint = "; perhaps"
		}
		text += fmt.Sprintf("%s %s as %s", joint, shown(s.Target), shown(s.Like))
	}
	return text
}

func (c *mappingsGaps) Run(ctx context.Context, line *commandLine) error {
	return c.read(ctx, line, func(tx *view.Tx) error {
		filter := view.GapFilter{Table: c.Table, Destination: c.Destination}
		found, more, err := upTo(c.Limit, func(first int, after string) (view.Page[*view.MappingGap], error) {
			return tx.MappingGaps(ctx, filter, first, after)
		})
		if err != nil {
			return err
		}
		told := make([]toldGap, len(found))
		for i, g := range found {
			told[i] = toldGap{deref(g.Destination), g.Table, g.Value, g.HeldCount, g.OpenedAt, []toldSuggestion{}}
			for _, s := range g.Suggestions {
				told[i].Suggestions = append(told[i].Suggestions, toldSuggestion{s.Target, s.Value})
			}
		}
		if c.JSON {
			return printJSON(map[string]any{"gaps": told, "more": more})
		}
		if len(told) == 0 {
			fmt.Println("nothing is missing")
		}
		for _, g := range told {
			fmt.Println(g)
		}
		printMore(more)
		return nil
	})
}
