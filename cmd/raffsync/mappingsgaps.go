package main

import (
	"context"
	"fmt"
	"time"

	"raffsync/outbox/view"
)

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
