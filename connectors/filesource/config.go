package filesource

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is how a file holds its records.
type Format string

// Formats.
const (
	// Detect is JSONLines where the first character is "{", CSV otherwise.
	Detect    Format = ""
	CSV       Format = "csv"
	JSONLines Format = "jsonl"
)

// Config says what is read and how events are made of it. Templates have columns in
// braces, "invoice/{InvoiceNo}"; alternatives are parted by "|", and the first one
// whose columns all have a value is taken.
type Config struct {
	// Input is read once, from where it stands. gzip is recognised by its first bytes.
	Input io.Reader
	// Format of the input; Detect when left out.
	Format Format
	// Comma parts the fields of CSV; ',' when left out.
	Comma rune

	// ID is the column of the event's id, or a template. Needed for CSV.
	ID string
	// Type is a template, mostly plain text: "invoice.issued". TypeIf comes first:
	// its first rule that fits the id decides.
	Type   string
	TypeIf []TypeRule
	// OrderingKey is a template: "customer/{CustomerID}|invoice/{InvoiceNo}".
	OrderingKey string
	// Time is the column of occurred_at. Left out, it is the time of acceptance.
	Time string
	// TimeFormat is the layout of Time as [time.Parse] takes it; RFC 3339 when left
	// out. Where it names no zone, the times are those of TimeZone, or UTC.
	TimeFormat string
	TimeZone   *time.Location
	// Outlet is a column or a template. An event with an empty one has none.
	Outlet string
	// References are templates by name. Empty ones are left out.
	References map[string]string
	// Payload names the columns that the payload's lines have; all when left out.
	Payload []string

	// MaxEventBytes is the most that an event's data may have; 512 KiB, a broker's
	// default, when left out.
	MaxEventBytes int
	// MaxBytes is the most that is read of a CSV, uncompressed, since it is held in
	// memory: 512 MiB when left out.
	MaxBytes int64
}

const (
	defaultMaxEventBytes = 512 << 10
	defaultMaxBytes      = 512 << 20
)

func (c Config) check() error {
	switch {
	case c.Input == nil:
		return errors.New("there is no input: give Config.Input")
	case c.Format != Detect && c.Format != CSV && c.Format != JSONLines:
		return fmt.Errorf("there is no format %q: take %q or %q", c.Format, CSV, JSONLines)
	case c.MaxBytes < 0 || c.MaxEventBytes < 0:
		return errors.New("MaxBytes or MaxEventBytes is negative: leave it out for its default")
	case c.Comma == '"' || c.Comma == '\r' || c.Comma == '\n' || c.Comma == 0xFFFD:
		return fmt.Errorf("%q can't part fields: take ',', ';' or a tab", c.Comma)
	case c.ID == "" && (c.Format == CSV || c.mapped()):
		return errors.New("no column makes the id: name it, so that sending the file again makes nothing twice")
	case c.ID != "" && c.Type == "":
		return errors.New("there is no type: give one, such as \"invoice.issued\"")
	case c.ID != "" && c.OrderingKey == "":
		return errors.New("there is no ordering key: give one, such as \"customer/{CustomerID}\"; events of one key are delivered in order")
	case c.Time == "" && (c.TimeFormat != "" || c.TimeZone != nil):
		return errors.New("a time format or zone is of no use without the column of the time: name it")
	}
	return nil
}

// mapped is true where anything says how to make events of columns.
func (c Config) mapped() bool {
	return c.ID != "" || c.Type != "" || len(c.TypeIf) > 0 || c.OrderingKey != "" || c.Time != "" || c.Outlet != "" ||
		len(c.References) > 0 || len(c.Payload) > 0
}
