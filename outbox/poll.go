package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// WriterState is a writer that may have open deliveries.
type WriterState struct {
	Writer int64
	// Closed: its session was gone before this was read, so a later [Replica.Read]
	// sees everything that it ever appended.
	Closed bool
}

const writersSQL = `SELECT writer, closed_at IS NOT NULL FROM writers ORDER BY writer`

// Writers lists the writers that may have open deliveries, the oldest first.
func (r *Replica) Writers(ctx context.Context) ([]WriterState, error) {
	rows, err := r.pool.Query(ctx, writersSQL)
	if err != nil {
		return nil, fmt.Errorf("read writers: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[WriterState])
}

// Range is a stretch of one lane's deliveries to one destination: those of one
// writer after a position.
type Range struct {
	Lane        int16
	Destination int32
	Writer      int64
	After       Seq // 0: from the writer's first
	Limit       int
}

const readSQL = `
SELECT p.ord::integer - 1, nullif(EXISTS (SELECT FROM writers WHERE NOT writer = ANY ($6::bigint[])), false), ` + deliveryColumns + `
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[]) WITH ORDINALITY
       AS p(lane, destination, after, until, lim, ord)
 CROSS JOIN LATERAL (
   SELECT *, ctid FROM deliveries d
    WHERE d.lane = p.lane AND d.destination = p.destination AND d.seq > p.after AND d.seq < p.until
    ORDER BY d.seq LIMIT p.lim) AS d`

// Read returns the next deliveries of each range, in one snapshot: whatever was
// acknowledged before the call and is still open is there. Results stand in the
// order of the ranges.
//
// Complete is false where the snapshot holds a writer beside those known. What was
// found may then come after something of that writer, and is not to be used.
func (r *Replica) Read(ctx context.Context, known []WriterState, ranges []Range) (found [][]Delivery, complete bool, err error) {
	var lanes []int16
	var destinations, limits []int32
	var after, until []Seq
	for _, g := range ranges {
		lanes = append(lanes, g.Lane)
		destinations = append(destinations, g.Destination)
		after = append(after, max(g.After, newSeq(g.Writer, 0)))
		until = append(until, newSeq(g.Writer+1, 0))
		limits = append(limits, int32(g.Limit))
	}
	writers := make([]int64, len(known))
	for i, w := range known {
		writers[i] = w.Writer
	}
	rows, err := r.pool.Query(ctx, readSQL, lanes, destinations, after, until, limits, writers)
	if err != nil {
		return nil, false, fmt.Errorf("read deliveries: %w", err)
	}
	found, complete = make([][]Delivery, len(ranges)), true
	var d Delivery
	w := deliveryRows(rows, pgtype.Int4OID, pgtype.BoolOID)
	for w.next() {
		of, stranger := w.int32(), w.bool()
		w.delivery(&d)
		found[of], complete = append(found[of], d), complete && !stranger
	}
	if w.err != nil {
		return nil, false, fmt.Errorf("read deliveries: %w", w.err)
	}
	inOrder(found, func(a, b *Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return found, complete, nil
}

// inOrder brings those of each range into their order. They come in it, as they are searched
// for; but to have SQL promise that is to have it sort all of them.
func inOrder(found [][]Delivery, compare func(a, b *Delivery) int) {
	for _, rows := range found {
		slices.SortFunc(rows, func(a, b Delivery) int { return compare(&a, &b) })
	}
}

// Line is the row of deliveries of one ordering key to one destination.
type Line struct {
	Lane        int16
	Destination int32
	KeyHash     int64
	// AfterAt and After leave out what was accepted up to there; zero: from the first.
	AfterAt time.Time
	After   Seq
}

const lineSQL = `
SELECT p.ord::integer - 1, ` + deliveryColumns + `
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::bigint[]) WITH ORDINALITY
       AS p(lane, destination, key_hash, after_at, after_seq, ord)
 CROSS JOIN LATERAL (
   SELECT *, ctid FROM deliveries d
    WHERE d.lane = p.lane AND d.destination = p.destination AND d.key_hash = p.key_hash AND (d.accepted_at, d.seq) > (p.after_at, p.after_seq)
    ORDER BY d.accepted_at, d.seq LIMIT $6) AS d`

// ReadLines returns the next deliveries of each line, at most limit of each, in one
// snapshot.
func (r *Replica) ReadLines(ctx context.Context, lines []Line, limit int) ([][]Delivery, error) {
	var lanes []int16
	var destinations []int32
	var keys []int64
	var afterAt []time.Time
	var after []Seq
	for _, l := range lines {
		lanes = append(lanes, l.Lane)
		destinations = append(destinations, l.Destination)
		keys = append(keys, l.KeyHash)
		afterAt = append(afterAt, l.AfterAt)
		after = append(after, l.After)
	}
	rows, err := r.pool.Query(ctx, lineSQL, lanes, destinations, keys, afterAt, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}
	found := make([][]Delivery, len(lines))
	var d Delivery
	w := deliveryRows(rows, pgtype.Int4OID)
	for w.next() {
		of := w.int32()
		w.delivery(&d)
		found[of] = append(found[of], d)
	}
	if w.err != nil {
		return nil, fmt.Errorf("read lines: %w", w.err)
	}
	inOrder(found, func(a, b *Delivery) int { return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Seq, b.Seq)) })
	return found, nil
}
