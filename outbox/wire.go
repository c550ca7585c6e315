package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// wire reads rows as Postgres sends them, in its binary format, by hand: deliveries have
// too many columns for anything that looks at the type of each. It reads a row's columns
// from left to right. NULL reads as zero.
//
//	for w.next() {
//		…
//	}
//	return w.err
type wire struct {
	rows  pgx.Rows
	types []uint32 // what the columns are, by OID
	seen  bool     // that they are
	left  [][]byte // of the row
	err   error
}

// next goes on to the next row, and tells whether there is one. It closes the rows after
// the last, and where one cannot be read.
func (w *wire) next() bool {
	if w.err == nil && w.rows.Next() {
		if w.left = w.rows.RawValues(); !w.seen {
			w.seen, w.err = true, w.check()
		}
		if w.err == nil {
			return true
		}
	}
	w.rows.Close()
	if w.err == nil {
		w.err = w.rows.Err()
	}
	return false
}

func (w *wire) check() error {
	columns := w.rows.FieldDescriptions()
	if len(columns) != len(w.types) {
		return fmt.Errorf("%d columns, want %d", len(columns), len(w.types))
	}
	for i, c := range columns {
		// A text is the same in both formats.
		if c.DataTypeOID != w.types[i] || c.Format != pgtype.BinaryFormatCode && c.DataTypeOID != pgtype.TextOID {
			return fmt.Errorf("column %s has type %d in format %d, want type %d", c.Name, c.DataTypeOID, c.Format, w.types[i])
		}
	}
	return nil
}

func (w *wire) bytes() []byte {
	b := w.left[0]
	w.left = w.left[1:]
	return b
}

func (w *wire) bool() bool {
	b := w.bytes()
	return b != nil && b[0] != 0
}

func (w *wire) int16() int16 {
	if b := w.bytes(); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (w *wire) int32() int32 {
	if b := w.bytes(); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (w *wire) int64() int64 {
	if b := w.bytes(); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// text makes nothing new where it is as it was.
func (w *wire) text(was string) string {
	if b := w.bytes(); string(b) != was {
		return string(b)
	}
	return was
}

func (w *wire) time() (at time.Time, known bool) {
	if w.left[0] == nil {
		w.left = w.left[1:]
		return time.Time{}, false
	}
	us := w.int64()
	if us == math.MinInt64 || us == math.MaxInt64 {
		w.err = errors.New("a time is infinite")
	}
	return time.UnixMicro(us + postgresEpoch), true
}

func (w *wire) timeOrNil() *time.Time {
	if at, known := w.time(); known {
		return &at
	}
	return nil
}

func (w *wire) tid() pgtype.TID {
	b := w.bytes()
	return pgtype.TID{BlockNumber: binary.BigEndian.Uint32(b), OffsetNumber: binary.BigEndian.Uint16(b[4:]), Valid: true}
}

// deliveryColumns are what [wire.delivery] reads. What is as it is of nearly all, where
// nothing was tried yet and nothing is replayed, is NULL: each value costs more than to
// find that out.
//
// A retry whose time has come, by the database's clock, reads as pending; so does one that
// has no row in due, which is all that would wake it.
const deliveryColumns = `d.ctid, d.lane, d.destination, d.seq, nullif(d.event, d.seq), d.accepted_at, nullif(d.event_at, d.accepted_at), d.key_hash, d.tenant, d.route,
  nullif(d.replay, 0), nullif(d.step, 0::smallint), nullif(d.revision, 0::smallint),
  CASE WHEN d.state = 1 AND (d.due_at <= now()
         OR NOT EXISTS (SELECT FROM due WHERE due.lane = d.lane AND due.destination = d.destination AND due.at = d.due_at AND due.seq = d.seq))
       THEN NULL ELSE nullif(d.state, 0::smallint) END,
  nullif(d.requests, 0), nullif(d.attempts, 0), d.version, d.unknown_at, d.tried_at, nullif(d.kind, 0::smallint), nullif(d.claimed, false), nullif(d.edited, false)`

var deliveryTypes = []uint32{
	pgtype.TIDOID, pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Int8OID, pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.Int8OID, pgtype.TextOID, pgtype.TextOID,
	pgtype.Int4OID, pgtype.Int2OID, pgtype.Int2OID,
	pgtype.Int2OID,
	pgtype.Int4OID, pgtype.Int4OID, pgtype.Int4OID, pgtype.TimestamptzOID, pgtype.TimestamptzOID, pgtype.Int2OID, pgtype.BoolOID, pgtype.BoolOID,
}

// deliveryRows have columns of these types, and then [deliveryColumns].
func deliveryRows(rows pgx.Rows, before ...uint32) *wire {
	return &wire{rows: rows, types: slices.Concat(before, deliveryTypes)}
}

// delivery reads a delivery over another, with which it may share texts.
func (w *wire) delivery(d *Delivery) {
	d.Row, d.Lane, d.Destination, d.Seq = w.tid(), w.int16(), w.int32(), Seq(w.int64())
	if d.Event = Seq(w.int64()); d.Event == 0 {
		d.Event = d.Seq
	}
	d.AcceptedAt, _ = w.time()
	var another bool
	if d.EventAt, another = w.time(); !another {
		d.EventAt = d.AcceptedAt
	}
	d.KeyHash, d.Tenant, d.Route = w.int64(), w.text(d.Tenant), w.text(d.Route)
	d.Replay, d.Step, d.Revision, d.State = w.int32(), w.int16(), w.int16(), State(w.int16())
	d.Requests, d.Attempts, d.Version = w.int32(), w.int32(), w.int32()
	d.UnknownAt, d.TriedAt = w.timeOrNil(), w.timeOrNil()
	d.Last, d.Claimed, d.Edited = raffsyncv1.OutcomeKind(w.int16()), w.bool(), w.bool()
}
