package outbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// csvReader reads RFC 4180 with LF or CRLF at the end of lines. Unlike encoding/csv it
// keeps every byte of a field, a CRLF within quotes too, and it gives a field up that
// grows too long: a quote without its end would else be the rest of the file.
type csvReader struct {
	in    *bufio.Reader
	comma byte
	line  int // of the last byte that was read, from 1
	// at is the line that the record began at.
	at     int
	fields []string
}

// errCSV is what is wrong with the file itself: reading cannot go on.
type errCSV struct {
	line    int
	problem string
}

func (e *errCSV) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.problem) }

// newCSVReader skips a byte order mark, and takes for the separator what the first line
// has first of comma, semicolon (as spreadsheets write where the comma is decimal) and tab.
func newCSVReader(in io.Reader) (*csvReader, error) {
	r := &csvReader{in: bufio.NewReaderSize(in, 64<<10), comma: ',', line: 1}
	start, err := r.in.Peek(4 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("\xFF\xFE")) || bytes.HasPrefix(start, []byte("\xFE\xFF")) {
		return nil, &errCSV{1, "the file is UTF-16; save it as UTF-8"}
	}
	if mark := []byte("\uFEFF"); bytes.HasPrefix(start, mark) {
		start = start[len(mark):]
		_, _ = r.in.Discard(len(mark)) // it has been peeked at
	}
	if end := bytes.IndexAny(start, "\r\n"); end >= 0 {
		start = start[:end]
	}
	if first := bytes.IndexAny(start, ",;\t"); first >= 0 {
		r.comma = start[first]
	}
	return r, nil
}

// read returns the fields of the next line that is not empty, or [io.EOF]. They are good
// until the next read.
func (r *csvReader) read() ([]string, error) {
	for {
		r.at, r.fields = r.line, r.fields[:0]
		for {
			text, last, err := r.field()
			if errors.Is(err, io.EOF) && len(r.fields) == 0 {
				return nil, io.EOF
			}
			if err != nil {
				return nil, err
			}
			r.fields = append(r.fields, text)
			if last {
				break
			}
		}
		if len(r.fields) > 1 || r.fields[0] != "" {
			return r.fields, nil
		}
	}
}

// field reads one; last: it ends its line. At the end of the file it returns [io.EOF].
func (r *csvReader) field() (text string, last bool, err error) {
	var b strings.Builder
	began, quoted, closed := r.line, false, false
	for n := 0; ; n++ {
		c, err := r.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF) && quoted && !closed:
			return "", false, &errCSV{began, "a quote is opened here and never closed"}
		case errors.Is(err, io.EOF) && n == 0 && len(r.fields) == 0:
			return "", true, io.EOF
		case errors.Is(err, io.EOF):
			return b.String(), true, nil
		case err != nil:
			return "", false, err
		case c == '"' && n == 0:
			quoted = true
		case c == '"' && closed: // a doubled quote is one
			closed = false
			b.WriteByte(c)
		case c == '"' && quoted:
			closed = true
		case quoted && !closed:
			b.WriteByte(c)
		case c == r.comma:
			return b.String(), false, nil
		case c == '\n':
			r.line++
			return b.String(), true, nil
		case c == '\r':
			if next, err := r.in.Peek(1); err == nil && next[0] != '\n' {
				return "", false, &errCSV{r.line, "a line ends with CR only, or holds one; save the file with LF or CRLF at the end of each line"}
			}
			continue
		case closed:
			return "", false, &errCSV{r.line, "something follows a closing quote; within quotes, write a quote as two"}
		case c == '"':
			return "", false, &errCSV{r.line, "a quote stands in the middle of a field; put the field into quotes, and write the quote as two"}
		default:
			b.WriteByte(c)
		}
		if c == '\n' {
			r.line++
		}
		if b.Len() > 2*MaxMappingText {
			return "", false, &errCSV{began, fmt.Sprintf("a field is longer than %d bytes; is a quote missing its end?", MaxMappingText)}
		}
	}
}

// appendCSV writes a line that [csvReader] reads as the same fields.
func appendCSV(to []byte, fields []string) []byte {
	for i, field := range fields {
		if i > 0 {
			to = append(to, ',')
		}
		if field != "" && !strings.ContainsAny(field, ",;\t\"\r\n") && !strings.HasPrefix(field, "\uFEFF") {
			to = append(to, field...)
			continue
		}
		to = append(to, '"')
		to = append(to, strings.ReplaceAll(field, `"`, `""`)...)
		to = append(to, '"')
	}
	return append(to, '\n')
}
