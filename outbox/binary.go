package outbox

import (
	"encoding/binary"
	"time"
)

// binaryRows is rows in the binary format of COPY (PostgreSQL's documentation of COPY,
// "Binary Format"), encoded by hand: a batch has too many values for anything that
// looks at types.
type binaryRows struct{ bytes []byte }

// binaryHeader is the signature, no flags, and no extension.
const binaryHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

func (r *binaryRows) header() { r.bytes = append(r.bytes, binaryHeader...) }

func (r *binaryRows) trailer() { r.bytes = binary.BigEndian.AppendUint16(r.bytes, 0xffff) }

// row begins a row of so many values.
func (r *binaryRows) row(values uint16) { r.bytes = binary.BigEndian.AppendUint16(r.bytes, values) }

func (r *binaryRows) length(n int) { r.bytes = binary.BigEndian.AppendUint32(r.bytes, uint32(n)) }

func (r *binaryRows) null() { r.bytes = binary.BigEndian.AppendUint32(r.bytes, 0xffffffff) }

func (r *binaryRows) text(s string) {
	r.length(len(s))
	r.bytes = append(r.bytes, s...)
}

func (r *binaryRows) binary(b []byte) {
	r.length(len(b))
	r.bytes = append(r.bytes, b...)
}

// jsonb writes a document in version 1 of its format; NULL where there is none.
func (r *binaryRows) jsonb(document *string) {
	if document == nil {
		r.null()
		return
	}
	r.length(1 + len(*document))
	r.bytes = append(r.bytes, 1)
	r.bytes = append(r.bytes, *document...)
}

func (r *binaryRows) int64(v int64) {
	r.length(8)
	r.bytes = binary.BigEndian.AppendUint64(r.bytes, uint64(v))
}

func (r *binaryRows) int32(v int32) {
	r.length(4)
	r.bytes = binary.BigEndian.AppendUint32(r.bytes, uint32(v))
}

func (r *binaryRows) int16(v int16) {
	r.length(2)
	r.bytes = binary.BigEndian.AppendUint16(r.bytes, uint16(v))
}

func (r *binaryRows) bool(v bool) {
	r.length(1)
	if v {
		r.bytes = append(r.bytes, 1)
	} else {
		r.bytes = append(r.bytes, 0)
	}
}

// postgresEpoch is 2000-01-01, from which Postgres counts microseconds.
const postgresEpoch = 946_684_800_000_000

func (r *binaryRows) time(t time.Time) { r.int64(t.UnixMicro() - postgresEpoch) }
