package publish

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"raffsync/connectors/client"
)

// Command is `raffsync publish`, parsed by kong.
type Command struct {
	File string `arg:"" optional:"" default:"-" help:"File of events, CSV or JSON Lines, plain or gzip. '-' is standard input."`

	To             string        `default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The broker's gRPC address. Default: ${default}."`
	KeyFile        string        `type:"path" placeholder:"FILE" help:"File with the source's key; the variable RAFFSYNC_KEY serves as well."`
	CA             string        `name:"ca" type:"path" placeholder:"FILE" help:"Certificates (PEM) that verify the broker, instead of the system's."`
	AllowPlaintext bool          `help:"Send the key and the events unencrypted to another machine."`
	GiveUpAfter    time.Duration `default:"1m" help:"Give up when the broker can't be reached for so long."`
	Grace          time.Duration `default:"5s" help:"How long to wait for due acknowledgements after Ctrl-C."`

	Format    string `default:"auto" enum:"auto,csv,jsonl" help:"auto, csv or jsonl (JSON Lines)." group:"The file"`
	Delimiter string `default:"," help:"What parts the fields of CSV; 'tab' for a tab." group:"The file"`
	MaxBytes  int64  `default:"536870912" help:"Most bytes of a CSV, uncompressed: it is held in memory." group:"The file"`

	ID            string   `name:"id" placeholder:"COLUMN" help:"Column of the event's id. CSV lines with one id become one event." group:"Columns"`
	Type          string   `placeholder:"TYPE" help:"Type of the events: invoice.issued, or {Column}." group:"Columns"`
	TypeIf        []string `sep:"none" placeholder:"ID=TYPE" help:"Another type where the id fits a pattern: 'C*=invoice.cancelled'. Repeatable; the first that fits decides." group:"Columns"`
	OrderingKey   string   `placeholder:"TEMPLATE" help:"Events of one key are delivered in order: 'customer/{CustomerID}|invoice/{InvoiceNo}' takes the first part whose columns are not empty." group:"Columns"`
	Time          string   `placeholder:"COLUMN" help:"Column of the time at which it happened." group:"Columns"`
	TimeFormat    string   `placeholder:"LAYOUT" help:"Its form, as Go writes it: '2006-01-02 15:04:05'. RFC 3339 when left out." group:"Columns"`
	TimeZone      string   `placeholder:"ZONE" help:"Zone of times that name none: Asia/Jakarta. UTC when left out." group:"Columns"`
	Outlet        string   `placeholder:"COLUMN" help:"Column of the place of business." group:"Columns"`
	Reference     []string `sep:"none" placeholder:"NAME=TEMPLATE" help:"What people search by: invoice={InvoiceNo}. Repeatable; empty ones are left out." group:"Columns"`
	Payload       []string `placeholder:"COLUMN" help:"Columns of the payload's lines. All when left out." group:"Columns"`
	MaxEventBytes int      `default:"524288" help:"Most bytes of one event's data." group:"Columns"`

	DryRun   bool   `help:"Read and check everything, send nothing, show the first event." group:"What comes of it"`
	JSON     bool   `name:"json" help:"Print the summary as one JSON object on standard output." group:"What comes of it"`
	Rejected string `type:"path" placeholder:"FILE" help:"Write each invalid or conflicting event to this file, as JSON Lines." group:"What comes of it"`

	// The process's own when left out.
	Stdin  io.Reader `kong:"-"`
	Stdout io.Writer `kong:"-"`
	Stderr io.Writer `kong:"-"`
}

// Help is shown by `raffsync publish --help`.
func (*Command) Help() string {
	return `Streams the events of a file to a broker and waits until each is durable there.
Ids come from the file, so it is safe to run again, as often as needed: what was
accepted before is recognised and makes nothing twice.

Examples:

  A shop's invoices, one line an article, from a compressed CSV. Lines with one
  InvoiceNo become one event, ordered by customer, or by invoice where there is none:

    raffsync publish invoices.csv.gz --key-file .raffsync/demo.key \
      --id InvoiceNo --type invoice.issued --type-if 'C*=invoice.cancelled' \
      --ordering-key 'customer/{CustomerID}|invoice/{InvoiceNo}' \
      --time InvoiceDate --outlet Country \
      --reference invoice={InvoiceNo} --reference customer={CustomerID}

  See what would be sent, without a broker:

    raffsync publish invoices.csv --dry-run --id InvoiceNo ...

  Events in the JSON form of the contract, one a line, from a pipe:

    echo '{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{}"}' |
      raffsync publish --key-file .raffsync/demo.key

  Any JSON objects, one a line, each of them a payload:

    raffsync publish orders.jsonl --id number --type order.created --ordering-key 'order/{number}'

  Keep what was refused, correct it, send it again:

    raffsync publish orders.jsonl --rejected refused.jsonl ...
    jq -c 'select(.event) | .event | .outlet = "mall"' refused.jsonl | raffsync publish

Exit status: 0 when all events were accepted, duplicates or unrouted; 3 when some were
invalid or in conflict; 1 for anything else, such as a broker that can't be reached,
or Ctrl-C.`
}

// Run publishes until the file is done or ctx is. Its error has the exit status, where
// that is not 1, as a method ExitCode.
func (c *Command) Run(ctx context.Context) error {
	c.Stdin, c.Stdout, c.Stderr = or[io.Reader](c.Stdin, os.Stdin), or[io.Writer](c.Stdout, os.Stdout), or[io.Writer](c.Stderr, os.Stderr)
	if c.File == "-" && isTerminal(c.Stdin) {
		return fmt.Errorf("there is nothing to read: name a file, or pipe events in; see raffsync publish --help")
	}
	// What needs no file is checked first.
	var stream client.Config
	if !c.DryRun {
		var err error
		if stream, err = c.stream(); err != nil {
			return err
		}
	}
	input, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer input.close()
	reader, err := c.reader(input)
	if err != nil {
		return err
	}
	report, err := c.report(input)
	if err != nil {
		return err
	}
	if c.DryRun {
		err = c.rehearse(ctx, reader, report)
	} else {
		err = c.publish(ctx, reader, input, report, stream)
	}
	return c.conclude(report, reader, err)
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
