package filesource

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// linesField is the payload's list of lines.
const linesField = "lines"

// table is a CSV's header, prepared.
type table struct {
	columns []string
	index   map[string]int
	// keys are the columns' names as JSON strings.
	keys [][]byte
	// head are the columns that the mapping uses, in the order of the file; body
	// those of each line.
	head, body []int
}

// csv groups the whole file, then makes its events.
func (r *Reader) csv(text *bufio.Reader, yield func(*raffsyncv1.Event, error) bool) {
	start, err := firstLine(text)
	if err != nil {
		yield(nil, r.readError(0, err))
		return
	}
	if bytes.ContainsRune(start, '\r') && !bytes.ContainsRune(start, '\n') {
		yield(nil, &InputError{Line: 1, Problem: "lines end with CR only, as on old Macs: save the file with LF or CRLF"})
		return
	}
	comma, named := namedComma(start)
	if named {
		r.cfg.Comma = comma
	}
	reader := csv.NewReader(&limited{text, r.cfg.MaxBytes})
	reader.Comma, reader.ReuseRecord = r.cfg.Comma, true
	if named {
		_, _ = reader.Read()       // the line that was looked at
		reader.FieldsPerRecord = 0 // as the header has, which comes now
	}
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		err = &InputError{Problem: "the file is empty: the first row names the columns"}
	} else if err != nil {
		err = r.csvError(1, 0, header, err)
	}
	if err != nil {
		yield(nil, err)
		return
	}
	line, _ := reader.FieldPos(0)
	t, err := r.table(slices.Clone(header), line)
	if err != nil {
		yield(nil, err)
		return
	}
	s, err := r.group(reader, t)
	if err != nil {
		yield(nil, err)
		return
	}
	r.total.Store(int64(len(s.groups)))
	fields := make([][]byte, len(t.columns))
	for _, g := range s.groups {
		event, err := r.grouped(t, s, g, fields)
		r.events.Add(1)
		if !yield(event, err) {
			return
		}
	}
}

// firstLine looks at the start of the text, as far as the first LF, or as the buffer goes.
func firstLine(text *bufio.Reader) ([]byte, error) {
	for n := 1; ; n++ {
		start, err := text.Peek(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return start, nil
		case err != nil:
			return nil, err
		case start[n-1] == '\n':
			return start, nil
		}
	}
}

// namedComma recognises Excel's first line that names the separator: "sep=;".
func namedComma(line []byte) (comma rune, named bool) {
	name, found := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("sep="))
	if !found || len(name) != 1 || !bytes.Contains([]byte(",;\t|"), name) {
		return 0, false
	}
	return rune(name[0]), true
}

// table prepares the header, which stands in a line.
func (r *Reader) table(columns []string, line int) (*table, error) {
	t := &table{columns: columns, index: make(map[string]int, len(columns))}
	for i, name := range columns {
		if !utf8.ValidString(name) {
			return nil, &InputError{Line: line, Problem: fmt.Sprintf("the name of column %d is not UTF-8: save the file as UTF-8", i+1)}
		}
		if strings.ContainsAny(name, "\r\n") {
			return nil, &InputError{Line: line, Problem: fmt.Sprintf("the name of column %d, %q, holds a line break: rename it, or save the file with LF or CRLF at the end of each line", i+1, cut(name))}
		}
		if name == "" {
			return nil, &InputError{Line: line, Problem: fmt.Sprintf("column %d has no name: give it one, or take the column out", i+1)}
		}
		if before, twice := t.index[name]; twice {
			return nil, &InputError{Line: line, Problem: fmt.Sprintf("columns %d and %d are both named %q: rename one", before+1, i+1, name)}
		}
		t.index[name] = i
		t.keys = append(t.keys, appendString(nil, []byte(name)))
	}
	used, purpose := r.mapping.columns()
	for _, name := range r.cfg.Payload {
		used = append(used, name)
		if purpose[name] == "" {
			purpose[name] = "the payload"
		}
	}
	for _, name := range used {
		if _, there := t.index[name]; !there {
			return nil, &InputError{Line: line, Problem: fmt.Sprintf("there is no column %q, which makes %s; the header has %s%s",
				name, purpose[name], quoted(columns), commaHint(columns))}
		}
	}
	mapped, _ := r.mapping.columns()
	for i, name := range columns {
		if slices.Contains(mapped, name) {
			t.head = append(t.head, i)
			if name == linesField {
				return nil, &InputError{Line: line, Problem: "the mapping uses a column named \"lines\", which is what the payload calls its lines: rename the column"}
			}
		}
		if len(r.cfg.Payload) == 0 || slices.Contains(r.cfg.Payload, name) {
			t.body = append(t.body, i)
		}
	}
	return t, nil
}

// group reads all lines.
func (r *Reader) group(reader *csv.Reader, t *table) (*store, error) {
	s := newStore()
	number, _ := reader.FieldPos(0)
	var record []string
	valueOf := func(column string) (string, error) { return record[t.index[column]], nil }
	for {
		var err error
		record, err = reader.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, r.csvError(number, len(t.columns), record, err)
		}
		number, _ = reader.FieldPos(0)
		id, err := r.mapping.id.expand(valueOf)
		if err != nil {
			return nil, &InputError{Line: number, Problem: err.Error(), err: err}
		}
		if id == "" {
			return nil, &InputError{Line: number, Problem: fmt.Sprintf("the id is empty (%s), so nobody knows which event the line belongs to: fill it in, or take the line out; nothing of the file was used",
				strings.Join(r.mapping.id.columns(), ", "))}
		}
		if err := s.add(id, number, record); err != nil {
			return nil, r.readError(number, err)
		}
		r.lines.Add(1)
	}
}

// grouped makes the event of one group.
func (r *Reader) grouped(t *table, s *store, g group, fields [][]byte) (*raffsyncv1.Event, error) {
	refused := func(format string, args ...any) (*raffsyncv1.Event, error) {
		return nil, &EventError{ID: strings.ToValidUTF8(g.id, "\uFFFD"), Lines: s.numbers(g), Problem: fmt.Sprintf(format, args...)}
	}
	const notUTF8 = "column %q of line %d is not UTF-8: save the file as UTF-8, or mend the value"
	s.fields(g.first, fields)
	data, column, valid := appendObject(nil, t.keys, t.head, fields)
	if !valid {
		return refused(notUTF8, t.columns[column], s.lines[g.first].number)
	}
	event, err := r.mapping.event(g.id, func(column string) (string, error) { return string(fields[t.index[column]]), nil })
	if err != nil {
		return refused("%v", err)
	}
	// The head is never empty: it has the id's column. Its brace is taken back.
	data = append(data[:len(data)-1], `,"`+linesField+`":[`...)
	for at := g.first; at >= 0; at = s.lines[at].next {
		if at != g.first {
			data = append(data, ',')
		}
		s.fields(at, fields)
		if data, column, valid = appendObject(data, t.keys, t.body, fields); !valid {
			return refused(notUTF8, t.columns[column], s.lines[at].number)
		}
		if len(data)+2 > r.cfg.MaxEventBytes {
			return refused("its lines, %d of them, make more than %d bytes of data: split them under several ids, leave columns out of the payload, or allow more here and at the broker",
				g.count, r.cfg.MaxEventBytes)
		}
	}
	event.Data = &raffsyncv1.Event_BinaryData{BinaryData: append(data, ']', '}')}
	return event, nil
}

// csvError says what is wrong with a line, and what to do.
func (r *Reader) csvError(before, columns int, record []string, err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return r.readError(before, err)
	}
	problem := fmt.Sprintf("%v: mend it", parse.Err)
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		problem = fmt.Sprintf("it has %d fields and the header %d: put a field with a %q into quotes, or complete the line; nothing of the file was used", len(record), columns, r.cfg.Comma)
	case errors.Is(err, csv.ErrQuote):
		problem = fmt.Sprintf("a quoted field is not closed as it must be (noticed in line %d, column %d): close it, and write a quote inside it twice; nothing of the file was used", parse.Line, parse.Column)
	case errors.Is(err, csv.ErrBareQuote):
		problem = fmt.Sprintf("a quote stands inside a field without quotes (column %d): put the field into quotes and write the quote twice; nothing of the file was used", parse.Column)
	}
	return &InputError{Line: parse.StartLine, Problem: problem, err: err}
}

func quoted(columns []string) string {
	names := make([]string, 0, len(columns))
	for i, name := range columns {
		if i == 40 {
			names = append(names, fmt.Sprintf("and %d more", len(columns)-i))
			break
		}
		names = append(names, fmt.Sprintf("%q", cut(name)))
	}
	return strings.Join(names, ", ")
}

// commaHint helps with the commonest reason of a missing column.
func commaHint(columns []string) string {
	if len(columns) == 1 {
		for _, other := range []string{";", "\t", ",", "|"} {
			if strings.Contains(columns[0], other) {
				return fmt.Sprintf(": fields seem to be parted by %q", other)
			}
		}
	}
	return ""
}
