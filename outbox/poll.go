package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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

// deliveryColumns in the order of [Delivery.targets]. A retry whose time has come, by
// the database's clock, reads as pending; so does one that has no row in due, which
// is all that would wake it.
const deliveryColumns = `d.ctid, d.lane, d.destination, d.seq, d.event, d.event_at, d.accepted_at, d.key_hash, d.tenant, d.route,
  d.replay, d.step, d.revision,
  CASE WHEN d.state = 1 AND (d.due_at <= now()
         OR NOT EXISTS (SELECT FROM due WHERE due.lane = d.lane AND due.destination = d.destination AND due.at = d.due_at AND due.seq = d.seq))
       THEN 0::smallint ELSE d.state END,
  d.requests, d.attempts, d.version, d.unknown_at, d.tried_at, d.kind, d.claimed, d.edited`

func (d *Delivery) targets() []any {
	return []any{
		&d.Row, &d.Lane, &d.Destination, &d.Seq, &d.Event, &d.EventAt, &d.AcceptedAt, &d.KeyHash, &d.Tenant, &d.Route,
		&d.Replay, &d.Step, &d.Revision, &d.State, &d.Requests, &d.Attempts, &d.Version, &d.UnknownAt, &d.TriedAt,
		&d.Last, &d.Claimed, &d.Edited,
	}
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
SELECT p.ord::integer - 1, EXISTS (SELECT FROM writers WHERE NOT writer = ANY ($6::bigint[])), ` + deliveryColumns + `
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[]) WITH ORDINALITY
       AS p(lane, destination, after, until, lim, ord)
 CROSS JOIN LATERAL (
   SELECT *, ctid FROM deliveries d
    WHERE d.lane = p.lane AND d.destination = p.destination AND d.seq > p.after AND d.seq < p.until
    ORDER BY d.seq LIMIT p.lim) AS d
 ORDER BY p.ord, d.seq`

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
	var strangers bool
	if found, err = collectByOrdinal(rows, len(ranges), &strangers); err != nil {
		return nil, false, fmt.Errorf("read deliveries: %w", err)
	}
	return found, !strangers, nil
}

// collectByOrdinal reads rows of an ordinal, whatever goes to others, and a delivery.
func collectByOrdinal(rows pgx.Rows, n int, others ...any) ([][]Delivery, error) {
	found := make([][]Delivery, n)
	var ord int32
	var d Delivery
	targets := append(append([]any{&ord}, others...), d.targets()...)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		found[ord] = append(found[ord], d)
		d.UnknownAt, d.TriedAt = nil, nil // not to be shared with the next row
		return nil
	})
	return found, err
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
    ORDER BY d.accepted_at, d.seq LIMIT $6) AS d
 ORDER BY p.ord, d.accepted_at, d.seq`

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
	found, err := collectByOrdinal(rows, len(lines))
	if err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}
	return found, nil
}
