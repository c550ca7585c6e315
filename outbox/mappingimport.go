package outbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// ImportMappings asks for the entries of a CSV file.
type ImportMappings struct {
	MappingRequest
	// Table that the rows are of. What the file says in a column of its own is left out:
	// no Name with a column `table`, no Destination with a column `destination`.
	Table MappingTable
	// Replace removes the entries of those tables that the file does not have; defaults stay.
	Replace bool
	// Source is the file: UTF-8, with or without a byte order mark; LF or CRLF; separated
	// by comma, semicolon or tab, whichever the first line has. The first line names the
	// columns: value, target and, where rows say so themselves, table and destination (empty:
	// shared). Blank lines are passed over, fields are not trimmed.
	Source io.Reader
}

// problemsAtOnce are the most lines that one refusal tells of.
const problemsAtOnce = 10

// ImportMappings makes entries of a file of any length in one transaction, as
// [Store.SetMappings] makes them: all of it or, where a line is wrong, nothing. The
// [*Refusal] names the line and what to do. Memory does not grow with the file.
func (s *Store) ImportMappings(ctx context.Context, actor Actor, q ImportMappings) (MappingChange, error) {
	return s.changeMappings(ctx, actor, q.change(nil))
}

// RehearseImport does all that [Store.ImportMappings] does, tells of each difference in
// the order of tables and values, and stores nothing. It needs neither request id nor
// reason.
func (s *Store) RehearseImport(ctx context.Context, actor Actor, q ImportMappings, tell func(MappingDifference) error) (MappingChange, error) {
	return s.changeMappings(ctx, actor, q.change(tell))
}

func (q *ImportMappings) change(tell func(MappingDifference) error) *mappingChange {
	rows := &fileRows{table: q.Table, read: sha256.New()}
	rows.in = io.TeeReader(q.Source, rows.read)
	return &mappingChange{
		MappingRequest: q.MappingRequest, table: q.Table, source: rows, field: "text", each: "lines", replaces: q.Replace, rehearsed: tell,
	}
}

// fileRows are the rows of a file.
type fileRows struct {
	table        MappingTable
	in           io.Reader
	read         hash.Hash // of all bytes
	destinations map[string]int32

	csv *csvReader
	// columns by the place of each; -1: the file has none.
	value, target, name, destination int
	width                            int
	rows                             int
	row                              []any
	err                              error // that reading cannot go on after
	problems                         []string
}

func (f *fileRows) open(destinations map[string]int32) error {
	f.destinations = destinations
	var err error
	if f.csv, err = newCSVReader(f.in); err != nil {
		return fileRefused(err)
	}
	header, err := f.csv.read()
	if errors.Is(err, io.EOF) {
		return &Refusal{Field: "text", Message: "the file is empty: its first line names the columns, value,target"}
	}
	if err != nil {
		return fileRefused(err)
	}
	return f.heads(header)
}

// heads looks at the line that names the columns.
func (f *fileRows) heads(header []string) error {
	refuse := func(format string, args ...any) error {
		return &Refusal{Field: "text", Message: fmt.Sprintf("line %d: ", f.csv.at) + fmt.Sprintf(format, args...)}
	}
	places := map[string]*int{"value": &f.value, "target": &f.target, "table": &f.name, "destination": &f.destination}
	for _, place := range places {
		*place = -1
	}
	f.width = len(header)
	for i, title := range header {
		place := places[strings.ToLower(strings.TrimSpace(title))]
		switch {
		case place == nil:
			return refuse("there is no use for a column %q; the first line names the columns value and target and, where rows say so themselves, table and destination", abridged(title))
		case *place >= 0:
			return refuse("two columns are named %q", abridged(title))
		}
		*place = i
	}
	switch {
	case f.value < 0 || f.target < 0:
		return refuse("the columns value and target are needed; found %s", strings.Join(header, ", "))
	case f.name < 0 && f.table.Name == "":
		return &Refusal{Field: "table", Message: "name the table, or give the file a column table"}
	case f.name >= 0 && f.table.Name != "":
		return &Refusal{Field: "table", Message: "the file has a column table: leave the table out, or the column"}
	case f.destination >= 0 && f.table.Destination != "":
		return &Refusal{Field: "destination", Message: "the file has a column destination: leave the destination out, or the column"}
	}
	if _, ok := f.destinations[f.table.Destination]; !ok {
		return &Refusal{Field: "destination", Message: noDestination(f.table.Destination)}
	}
	return nil
}

// Next makes the next row. Rows that are wrong are told of together, up to a number.
func (f *fileRows) Next() bool {
	for len(f.problems) < problemsAtOnce {
		fields, err := f.csv.read()
		if errors.Is(err, io.EOF) {
			if f.rows == 0 {
				f.err = &Refusal{Field: "text", Message: "the file has no rows, only the names of the columns"}
			}
			return false
		}
		if err != nil {
			f.err = fileRefused(err)
			return false
		}
		f.rows++
		problem := f.take(fields)
		if problem == "" {
			return true
		}
		f.problems = append(f.problems, fmt.Sprintf("line %d: %s", f.csv.at, problem))
	}
	return false
}

// take makes the row, or says what is wrong with it.
func (f *fileRows) take(fields []string) (problem string) {
	if len(fields) != f.width {
		return fmt.Sprintf("has %d fields, and the first line %d; put a field that holds the separator into quotes", len(fields), f.width)
	}
	table := f.table
	if f.name >= 0 {
		table.Name = fields[f.name]
		if problem := checkMappingName(table.Name); problem != "" {
			return problem
		}
	}
	if f.destination >= 0 {
		table.Destination = fields[f.destination]
	}
	destination, ok := f.destinations[table.Destination]
	if !ok {
		return noDestination(table.Destination)
	}
	value, target := fields[f.value], fields[f.target]
	if problem := checkMappingPair(value, target); problem != "" {
		return problem + "; correct the line, or take it out"
	}
	f.row = []any{int32(f.csv.at), table.Name, destination, value, target}
	return ""
}

func (f *fileRows) Values() ([]any, error) { return f.row, nil }

// Err is what keeps the file from being taken, for pgx and for the caller.
func (f *fileRows) Err() error {
	if f.problems == nil {
		return f.err
	}
	problems := slices.Clone(f.problems)
	var refusal *Refusal
	switch {
	case errors.As(f.err, &refusal):
		problems = append(problems, refusal.Message)
	case f.err != nil:
		return f.err
	case len(problems) == problemsAtOnce:
		problems = append(problems, "perhaps more behind these")
	}
	return &Refusal{Field: "text", Message: strings.Join(problems, "\n")}
}

func (f *fileRows) digest() []byte { return f.read.Sum(nil) }

// fileRefused makes a refusal of what is wrong with the file; what kept it from being
// read stays what it is.
func fileRefused(err error) error {
	var wrong *errCSV
	if errors.As(err, &wrong) {
		return &Refusal{Field: "text", Message: wrong.Error()}
	}
	return fmt.Errorf("read the file: %w", err)
}
