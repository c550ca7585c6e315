package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"raffsync/outbox"
)

type mappingsCommand struct {
	List    mappingsList    `cmd:"" help:"List the tables, or the entries of one."`
	Set     mappingsSet     `cmd:"" help:"Say what values are called at a destination."`
	Remove  mappingsRemove  `cmd:"" help:"Remove entries."`
	Default mappingsDefault `cmd:"" help:"Say what values without an entry are called."`
	Import  mappingsImport  `cmd:"" help:"Make entries of a CSV file."`
	Export  mappingsExport  `cmd:"" help:"Write entries as CSV that import takes back."`
	History mappingsHistory `cmd:"" help:"Tell who changed what, when and why."`
	Uses    mappingsUses    `cmd:"" help:"List what was sent with an entry: what to correct where it was wrong."`
	Gaps    mappingsGaps    `cmd:"" help:"List what is missing and holds deliveries."`
}

func (mappingsCommand) Help() string {
	return `What a value of the source is called at a destination: lookup('sku', line.product_id) of
a route to stock finds it in the table sku of stock, else in the table sku that all
destinations share (--shared), else it takes the default of the one or the other. Values
are compared byte by byte: spaces and letter case count.

Examples:
  raffsync mappings gaps
  raffsync mappings set stock sku LATTE-OAT=ITM-42 --reason "new item"
  raffsync mappings import stock sku items.csv --dry-run
  raffsync mappings history stock sku LATTE-OAT`
}

// sharedFlag stands for the destination's name before a table's.
type sharedFlag struct {
	Shared bool `help:"The table that all destinations share; then no DESTINATION is named."`
}

// split takes the table off the arguments.
func (f sharedFlag) split(arguments []string) (table outbox.MappingTable, rest []string, err error) {
	names, what := 2, "DESTINATION and TABLE"
	if f.Shared {
		names, what = 1, "TABLE"
	}
	if len(arguments) < names {
		return table, nil, fmt.Errorf("name %s first; --shared means the table that all destinations share, and needs no DESTINATION", what)
	}
	table.Name = arguments[names-1]
	if !f.Shared {
		table.Destination = arguments[0]
	}
	return table, arguments[names:], nil
}

// changeFlags are those of every change.
type changeFlags struct {
	tenantFlag
	sharedFlag
	reasonFlag
	IfVersion int64 `help:"Refuse where one of these entries has changed since this version of the mappings, which list and history show." default:"-1" placeholder:"N"`
	JSON      bool  `name:"json" help:"Print as JSON."`
}

func (f *changeFlags) request() outbox.MappingRequest {
	q := outbox.MappingRequest{RequestID: "command line " + rand.Text(), Reason: f.Reason}
	if f.IfVersion >= 0 {
		q.ExpectedVersion = &f.IfVersion
	}
	return q
}

// change has it done in the name of whoever runs this program, and says so.
func (f *changeFlags) change(ctx context.Context, line *commandLine, do func(*outbox.Store, outbox.Actor) (outbox.MappingChange, error)) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := f.resolve(ctx, store)
		if err != nil {
			return err
		}
		done, err := do(store, actor(tenant))
		if errors.Is(err, outbox.ErrConflict) {
			return fmt.Errorf("an entry has changed since version %d: see `raffsync mappings history`, and decide again", f.IfVersion)
		}
		if err != nil {
			return err
		}
		if f.JSON {
			return printJSON(done)
		}
		fmt.Println(toldChange(done))
		return nil
	})
}

// toldChange is what a change came to, in words.
func toldChange(c outbox.MappingChange) string {
	if c.Added+c.Changed+c.Removed == 0 {
		return fmt.Sprintf("nothing differs from version %d", c.Version)
	}
	return fmt.Sprintf("version %d: %s", c.Version, counts(c))
}

// deliveries is a number of them: "1 delivery", "6 deliveries".
func deliveries(n int64) string {
	if n == 1 {
		return "1 delivery"
	}
	return fmt.Sprintf("%d deliveries", n)
}

func counts(c outbox.MappingChange) string {
	text := fmt.Sprintf("%d added, %d changed, %d removed, %d unchanged", c.Added, c.Changed, c.Removed, c.Unchanged)
	if c.Released > 0 {
		text += fmt.Sprintf("; %s waited for it", deliveries(c.Released))
	}
	if c.Repeated > 0 {
		text += fmt.Sprintf("; %d rows say what another one says", c.Repeated)
	}
	return text
}

// shown is a value or target for people: in quotes where its bytes would not show.
func shown(text string) string {
	if text == "" || text != strings.TrimSpace(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == '"' }) {
		return strconv.Quote(text)
	}
	return text
}

type mappingsSet struct {
	changeFlags
	Arguments []string `arg:"" name:"argument" help:"DESTINATION TABLE VALUE=TARGET …; with --shared: TABLE VALUE=TARGET …"`
}

func (mappingsSet) Help() string {
	return `Makes new entries, and gives others another target: all of them or none. The first = ends
the value, so that targets may hold one; a value that holds one comes by import. Running
processes look up what is new within about a second.

Examples:
  raffsync mappings set stock sku LATTE-OAT=ITM-42 --reason "new item"
  raffsync mappings set stock sku A=ITM-1 B=ITM-2 "C with spaces=ITM-3" --reason "autumn"
  raffsync mappings set --shared tax VAT11=PPN-11 --reason "same everywhere"`
}

func (c *mappingsSet) Run(ctx context.Context, line *commandLine) error {
	table, rest, err := c.split(c.Arguments)
	if err != nil {
		return err
	}
	q := outbox.SetMappings{MappingRequest: c.request(), Table: table}
	for _, pair := range rest {
		value, target, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("found %q; expected VALUE=TARGET, as LATTE-OAT=ITM-42", pair)
		}
		q.Entries = append(q.Entries, outbox.MappingPair{Value: value, Target: target})
	}
	return c.change(ctx, line, func(store *outbox.Store, actor outbox.Actor) (outbox.MappingChange, error) {
		return store.SetMappings(ctx, actor, q)
	})
}

type mappingsRemove struct {
	changeFlags
	All       bool     `help:"Every entry of the table; its default stays."`
	Arguments []string `arg:"" name:"argument" help:"DESTINATION TABLE VALUE …; with --shared: TABLE VALUE …"`
}

func (mappingsRemove) Help() string {
	return `Removes entries: all of those named, or none where one of them is not there. What was
removed stays in the history.

Examples:
  raffsync mappings remove stock sku LATTE-OAT --reason "not sold any more"
  raffsync mappings remove --shared tax --all --reason "each destination has its own now"`
}

func (c *mappingsRemove) Run(ctx context.Context, line *commandLine) error {
	table, values, err := c.split(c.Arguments)
	if err != nil {
		return err
	}
	q := outbox.RemoveMappings{MappingRequest: c.request(), Table: table, Values: values, All: c.All}
	return c.change(ctx, line, func(store *outbox.Store, actor outbox.Actor) (outbox.MappingChange, error) {
		return store.RemoveMappings(ctx, actor, q)
	})
}

type mappingsDefault struct {
	changeFlags
	Remove    bool     `help:"Have no default any more: a value without an entry is missing again."`
	Arguments []string `arg:"" name:"argument" help:"DESTINATION TABLE TARGET; with --shared: TABLE TARGET. Without TARGET where it is removed."`
}

func (mappingsDefault) Help() string {
	return `A destination's own default comes after the shared entries, and before the shared
default.

Examples:
  raffsync mappings default stock customer WALK-IN --reason "sales at the counter"
  raffsync mappings default stock customer --remove --reason "every customer is known now"`
}

func (c *mappingsDefault) Run(ctx context.Context, line *commandLine) error {
	table, rest, err := c.split(c.Arguments)
	if err != nil {
		return err
	}
	q := outbox.SetMappingDefault{MappingRequest: c.request(), Table: table}
	switch {
	case c.Remove && len(rest) > 0:
		return errors.New("--remove takes the default away: name no TARGET")
	case !c.Remove && (len(rest) != 1 || rest[0] == ""):
		return errors.New("name the one TARGET behind the table, or --remove")
	case !c.Remove:
		q.Target = rest[0]
	}
	return c.change(ctx, line, func(store *outbox.Store, actor outbox.Actor) (outbox.MappingChange, error) {
		return store.SetMappingDefault(ctx, actor, q)
	})
}
