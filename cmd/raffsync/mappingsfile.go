package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"raffsync/outbox"
)

type mappingsImport struct {
	tenantFlag
	sharedFlag
	Reason    string   `help:"Why, for the history; the file's name where it is not given." placeholder:"TEXT"`
	IfVersion int64    `help:"Refuse where an entry that this would change has changed since this version of the mappings." default:"-1" placeholder:"N"`
	Replace   bool     `help:"Remove the entries of the file's tables that it does not have; defaults stay."`
	DryRun    bool     `help:"Say what would change, and store nothing."`
	All       bool     `help:"With --dry-run: list every difference, not the first ones."`
	JSON      bool     `name:"json" help:"Print as JSON, with every difference of a dry run."`
	Arguments []string `arg:"" name:"argument" help:"DESTINATION TABLE FILE; with --shared: TABLE FILE; FILE alone where it has the columns table and destination. - is the standard input."`
}

func (mappingsImport) Help() string {
	return `The first line of the file names the columns: value and target and, where rows say so
themselves, table and destination (empty: shared). UTF-8; separated by comma, semicolon or
tab; quoted as spreadsheets do. Fields are not trimmed. All of it is stored in one change,
or, where a line is wrong, nothing: the line is named. Of any length, at most 500,000
entries a tenant.

Examples:
  raffsync mappings import stock sku items.csv --dry-run
  raffsync mappings import stock sku items.csv --replace --reason "stocktaking"
  raffsync mappings import --shared tax taxes.csv
  raffsync mappings export | raffsync mappings import - --dry-run`
}

// differencesShown are listed of a dry run, unless all of them are asked for.
const differencesShown = 20

// file splits the arguments: a table where one is named, and the file.
func (c *mappingsImport) file() (table outbox.MappingTable, path string, err error) {
	last := len(c.Arguments) - 1
	if last > 0 || c.Shared {
		var rest []string
		if table, rest, err = c.split(c.Arguments[:last]); err == nil && len(rest) > 0 {
			err = fmt.Errorf("%q is one argument too many", rest[0])
		}
	}
	return table, c.Arguments[last], err
}

func (c *mappingsImport) Run(ctx context.Context, line *commandLine) error {
	table, path, err := c.file()
	if err != nil {
		return err
	}
	in, name := os.Stdin, "the standard input"
	if path != "-" {
		if in, err = os.Open(path); err != nil {
			return err
		}
		defer in.Close()
		name = filepath.Base(path)
	} else if term.IsTerminal(int(in.Fd())) {
		return errors.New("- is the standard input, and that is a terminal: name a file, or pipe one in")
	}
	change := changeFlags{reasonFlag: reasonFlag{Reason: c.Reason}, IfVersion: c.IfVersion}
	if change.Reason == "" {
		change.Reason = "imported from " + printable(name)
	}
	watched := watch(in, os.Stderr)
	defer watched.stop()
	q := outbox.ImportMappings{MappingRequest: change.request(), Table: table, Replace: c.Replace, Source: watched}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		var done outbox.MappingChange
		var differences differences
		if c.DryRun {
			differences.most = differencesShown
			if c.All || c.JSON {
				differences.most = outbox.MaxMappingEntries * 2
			}
			done, err = store.RehearseImport(ctx, actor(tenant), q, differences.add)
		} else {
			done, err = store.ImportMappings(ctx, actor(tenant), q)
		}
		watched.stop()
		var refusal *outbox.Refusal
		switch {
		case errors.Is(err, outbox.ErrConflict):
			return fmt.Errorf("an entry has changed since version %d: see `raffsync mappings history`, and decide again", c.IfVersion)
		case errors.As(err, &refusal) && refusal.Field == "text":
			return fmt.Errorf("%s is not imported:\n  %s", name, strings.ReplaceAll(refusal.Message, "\n", "\n  "))
		case err != nil:
			return err
		case c.JSON && c.DryRun:
			return printJSON(map[string]any{"change": done, "differences": append([]toldDifference{}, differences.told...)})
		case c.JSON:
			return printJSON(done)
		case c.DryRun:
			differences.print(os.Stdout)
			fmt.Printf("it would be: %s; nothing is stored\n", counts(done))
		default:
			fmt.Println(toldChange(done))
		}
		return nil
	})
}

// printable is a file's name as a reason may hold it.
func printable(name string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name[:min(len(name), 300)]), "")
}

// toldDifference is a difference of a dry run, as it is printed.
type toldDifference struct {
	Table       string `json:"table"`
	Destination string `json:"destination,omitempty"`
	Value       string `json:"value"`
	From        string `json:"from,omitempty"`
	To          string `json:"to,omitempty"`
}

// differences keeps the first ones, and counts the rest.
type differences struct {
	most, more int
	told       []toldDifference
}

func (d *differences) add(one outbox.MappingDifference) error {
	if len(d.told) >= d.most {
		d.more++
		return nil
	}
	d.told = append(d.told, toldDifference{one.Table.Name, one.Table.Destination, one.Value, one.From, one.To})
	return nil
}

func (d *differences) print(out io.Writer) {
	for _, t := range d.told {
		what := fmt.Sprintf("%s %s  %s", firstOf(t.Destination, "(shared)"), t.Table, shown(t.Value))
		switch {
		case t.From == "":
			fmt.Fprintf(out, "+ %s = %s\n", what, shown(t.To))
		case t.To == "":
			fmt.Fprintf(out, "- %s = %s\n", what, shown(t.From))
		default:
			fmt.Fprintf(out, "~ %s = %s, was %s\n", what, shown(t.To), shown(t.From))
		}
	}
	if d.more > 0 {
		fmt.Fprintf(out, "… and %d more; --all lists them\n", d.more)
	}
}

// watched is a file that tells how far it was read: a bar on a terminal, where it takes
// long enough to wonder.
type watched struct {
	in   *os.File
	size int64
	read atomic.Int64
	done chan struct{}
	gone chan struct{}
}

func watch(in, terminal *os.File) *watched {
	w := &watched{in: in, done: make(chan struct{}), gone: make(chan struct{})}
	if info, err := in.Stat(); err == nil && info.Mode().IsRegular() {
		w.size = info.Size()
	}
	if !term.IsTerminal(int(terminal.Fd())) {
		close(w.gone)
		return w
	}
	go func() {
		defer close(w.gone)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.done:
				fmt.Fprint(terminal, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(terminal, "\r\x1b[K"+w.bar())
			}
		}
	}()
	return w
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	w.read.Add(int64(n))
	return n, err
}

func (w *watched) bar() string {
	const width = 24
	read := w.read.Load()
	switch {
	case w.size > 0 && read >= w.size:
		return "[" + strings.Repeat("█", width) + "] 100%  read; comparing and storing"
	case w.size > 0:
		full := int(read * width / w.size)
		return "[" + strings.Repeat("█", full) + strings.Repeat("░", width-full) + fmt.Sprintf("] %3d%%  reading", read*100/w.size)
	default:
		return fmt.Sprintf("%d KiB read", read>>10)
	}
}

// stop takes the bar away. It may be called twice.
func (w *watched) stop() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
	<-w.gone
}

type mappingsExport struct {
	tenantFlag
	sharedFlag
	Out       string   `help:"Write to this file instead of printing." type:"path" placeholder:"FILE"`
	Arguments []string `arg:"" optional:"" name:"argument" help:"DESTINATION TABLE; with --shared: TABLE; nothing for all tables."`
}

func (mappingsExport) Help() string {
	return `One table has the columns value and target; all of them have table and destination before
them. Defaults are not among them: list shows those.

Examples:
  raffsync mappings export stock sku --out items.csv
  raffsync mappings export > all.csv`
}

func (c *mappingsExport) Run(ctx context.Context, line *commandLine) error {
	var table outbox.MappingTable
	if len(c.Arguments) > 0 || c.Shared {
		var rest []string
		var err error
		if table, rest, err = c.split(c.Arguments); err != nil {
			return err
		}
		if len(rest) > 0 {
			return fmt.Errorf("%q is one argument too many", rest[0])
		}
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		write := func(to io.Writer) error {
			_, err := store.ExportMappings(ctx, tenant, table, to)
			if errors.Is(err, outbox.ErrNotFound) {
				return fmt.Errorf("there is no %s; `raffsync mappings list` shows what there is", table)
			}
			return err
		}
		if c.Out == "" {
			return write(os.Stdout)
		}
		file, err := os.Create(c.Out)
		if err != nil {
			return err
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return errors.Join(err, os.Remove(c.Out)) // half a file would be taken for the whole
		}
		return nil
	})
}
