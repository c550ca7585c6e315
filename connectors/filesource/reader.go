package filesource

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Reader makes events of one file.
type Reader struct {
	cfg     Config
	mapping *mapping
	used    atomic.Bool
	// zipped is true once gzip was recognised.
	zipped bool

	lines, events, total atomic.Int64
}

// Progress says how far reading is.
type Progress struct {
	// Lines that were read, without a CSV's header.
	Lines int64
	// Events that were made, refused ones included.
	Events int64
	// Total is how many events there will be: known once a CSV is read, -1 before
	// and for JSON Lines.
	Total int64
}

// New checks the configuration. Nothing is read before [Reader.Events].
func New(cfg Config) (*Reader, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := newMapping(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Comma == 0 {
		cfg.Comma = ','
	}
	if cfg.MaxEventBytes == 0 {
		cfg.MaxEventBytes = defaultMaxEventBytes
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	r := &Reader{cfg: cfg, mapping: m}
	r.total.Store(-1)
	return r, nil
}

// Progress may be called from any goroutine.
func (r *Reader) Progress() Progress {
	return Progress{Lines: r.lines.Load(), Events: r.events.Load(), Total: r.total.Load()}
}

// Events reads the file, once. Each turn has an event or an error: an [*EventError]
// is followed by more, an [*InputError] is the last.
func (r *Reader) Events() iter.Seq2[*raffsyncv1.Event, error] {
	return func(yield func(*raffsyncv1.Event, error) bool) {
		if r.used.Swap(true) {
			yield(nil, &InputError{Problem: "the input was read already: make another Reader"})
			return
		}
		text, err := r.open()
		if err != nil {
			yield(nil, err)
			return
		}
		format := r.cfg.Format
		if format == Detect {
			if format, err = detect(text); err != nil {
				yield(nil, r.readError(0, err))
				return
			}
		}
		switch {
		case format == JSONLines:
			r.jsonLines(text, yield)
		case r.cfg.ID == "":
			yield(nil, &InputError{Problem: "this is a CSV and no column makes the id: name it, so that sending the file again makes nothing twice"})
		default:
			r.csv(text, yield)
		}
	}
}

const bufferBytes = 64 << 10

// open undoes gzip and takes the byte-order mark away.
func (r *Reader) open() (*bufio.Reader, error) {
	text, start, err := peek(r.cfg.Input)
	if err == nil && bytes.HasPrefix(start, []byte{0x1f, 0x8b}) {
		r.zipped = true
		var unzipped io.Reader
		if unzipped, err = gzip.NewReader(text); err == nil {
			text, start, err = peek(unzipped)
		}
	}
	switch {
	case err != nil:
		return nil, r.readError(0, err)
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = text.Discard(3) // peeked, so it is there
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return nil, &InputError{Line: 1, Problem: "the file is UTF-16: save it as UTF-8"}
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, &InputError{Problem: "the file is a zip archive or a spreadsheet: unpack it, or save the sheet as CSV"}
	}
	return text, nil
}

// peek looks at the first bytes, as far as there are any.
func peek(input io.Reader) (text *bufio.Reader, start []byte, err error) {
	text = bufio.NewReaderSize(input, bufferBytes)
	start, err = text.Peek(4)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return text, start, err
}

// detect looks at the first character that is no space.
func detect(text *bufio.Reader) (Format, error) {
	for n := 1; ; n++ {
		start, err := text.Peek(n)
		switch {
		case errors.Is(err, io.EOF):
			return "", &InputError{Problem: "the file is empty"}
		case errors.Is(err, bufio.ErrBufferFull):
			return CSV, nil
		case err != nil:
			return "", err
		case start[n-1] == '{':
			return JSONLines, nil
		case start[n-1] == '[' && arrayBegins(text, n):
			return "", &InputError{Problem: "the file is a JSON array: write one object a line, for example with `jq -c '.[]'`"}
		case start[n-1] != ' ' && start[n-1] != '\t' && start[n-1] != '\r' && start[n-1] != '\n':
			return CSV, nil
		}
	}
}

// arrayBegins tells whether the bracket before position n opens an array of objects; a
// column of CSV may be named "[id]".
func arrayBegins(text *bufio.Reader, n int) bool {
	for ; ; n++ {
		start, err := text.Peek(n + 1)
		if err != nil {
			return errors.Is(err, io.EOF) // nothing follows
		}
		switch start[n] {
		case ' ', '\t', '\r', '\n':
		default:
			return start[n] == '{' || start[n] == ']'
		}
	}
}

// readError says what to do about an error that the input gave after a line.
func (r *Reader) readError(line int, err error) error {
	var known *InputError
	if errors.As(err, &known) {
		return known
	}
	after := ""
	if line > 0 {
		after = " after this line"
	}
	problem := fmt.Sprintf("reading failed%s: %v", after, err)
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, errTooMuch):
		problem = fmt.Sprintf("the file has more than %d bytes uncompressed, and all of a CSV is held in memory: split it by id, or allow more", r.cfg.MaxBytes)
	case r.zipped && errors.Is(err, io.ErrUnexpectedEOF):
		problem = fmt.Sprintf("the compressed file ends too early%s: it was not copied completely; copy it again", after)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		problem = fmt.Sprintf("the compressed file is damaged%s (%v): copy it again", after, err)
	}
	return &InputError{Line: line, Problem: problem, err: err}
}

// limited fails once more than left bytes were read: io.LimitedReader would end the
// file there in silence.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return 0, errTooMuch
	}
	return n, err
}
