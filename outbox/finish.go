package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A delivery is looked for where it was when it was read. That the columns are not compared
// by = keeps the planner from its indexes.
const deliveredSQL = `
WITH gone AS (
  DELETE FROM deliveries d
   USING ` + deliveredRows + `unnest($12::tid[]) AS tid) AS f
   WHERE d.ctid = f.tid AND (d.lane, d.destination, d.seq, d.version) IS NOT DISTINCT FROM (f.lane, f.destination, f.seq, f.version)
` + deliveredRest

// A delivery is named by every column of either of its indexes: of a table that is
// empty when a plan is made, the planner cannot tell them apart, and the plan stays.
const deliveredElsewhereSQL = `
WITH gone AS (
  DELETE FROM deliveries d
   USING ` + deliveredRows + `unnest($12::bigint[]) AS key_hash, unnest($13::timestamptz[]) AS accepted_at) AS f
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
` + deliveredRest

const (
	// Arrays are unrolled in a list, side by side: in FROM, each goes into a store of its own
	// first.
	deliveredRows = `(SELECT unnest($1::smallint[]) AS lane, unnest($2::integer[]) AS destination, unnest($3::bigint[]) AS seq, unnest($4::integer[]) AS version,
                unnest($5::integer[]) AS attempt, unnest($6::timestamptz[]) AS started_at, unnest($7::integer[]) AS duration_us,
                unnest($8::smallint[]) AS kind, unnest($9::text[]) AS reason, unnest($10::text[]) AS detail, `
	deliveredRest = `  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, f.attempt, f.started_at, f.duration_us, f.kind, f.reason, f.detail
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, delivered)
  SELECT tenant, destination, $11::smallint, count(*) FROM gone GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET delivered = tallies.delivered + excluded.delivered
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, 'attempt', 'DELIVERED', reason, detail::jsonb FROM gone
)
SELECT n, lane, destination, seq FROM (SELECT count(*) AS n FROM gone) AS c LEFT JOIN gone ON n < cardinality($3)`
)

// waitingSQL lets the age of tries begin anew where the destination has lost its
// authorisation (AUTH_REVOKED, ACCOUNT_STATE): however long that lasts is not their doing.
const waitingSQL = `
WITH changed AS (
  UPDATE deliveries d
     SET state = 1, due_at = clock_timestamp() + f.delay, requests = f.attempt, attempts = f.spent, kind = f.kind, version = d.version + 1,
         unknown_at = f.unknown_at, tried_at = CASE WHEN f.kind IN (7, 9) THEN NULL ELSE coalesce(d.tried_at, f.started_at) END
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::integer[], $6::timestamptz[], $7::integer[], $8::smallint[], $9::text[], $10::text[],
                $11::integer[], $12::timestamptz[], $13::interval[], $14::bigint[], $15::timestamptz[])
         AS f(lane, destination, seq, version, attempt, started_at, duration_us, kind, reason, detail, spent, unknown_at, delay, key_hash, accepted_at)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.key_hash, d.replay, d.step, d.due_at, f.attempt, f.started_at, f.duration_us, f.kind, f.reason, f.detail
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, due_at, seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, next_at, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, due_at, 'attempt', 'WAITING', reason, detail::jsonb FROM changed
)
SELECT lane, destination, seq FROM changed`

// Finish stores transitions, all or none, compare-and-set on each delivery's version
// while every lane is held; only deliveries whose rows have moved come in a transaction
// of their own after the others. It returns which of the deliveries it changed: the others
// had changed before, and the table knows how; or look-ups would hold them, and the
// tenant's mappings have changed since they were asked, or are just being changed: such
// a delivery is as it was, and is to be prepared again. Calling it again after an unclear
// error is harmless, since what was stored no longer matches. [ErrLeaseLost]: nothing
// was stored, and nothing of these lanes may be.
//
// What one transaction locks, it locks in this order, as everybody does: lanes, effects,
// deliveries, the version of the mappings, exceptions by their causes, tallies,
// what shadows found.
func (r *Replica) Finish(ctx context.Context, leases []Lease, transitions []Transition) (map[Position]bool, error) {
	stored := make(map[Position]bool, len(transitions))
	if err := r.finish(ctx, leases, transitions, stored, false); err != nil {
		return nil, err
	}
	var elsewhere []Transition
	for _, t := range transitions {
		if t.To == StateDelivered && t.alone() && !stored[t.Position()] {
			elsewhere = append(elsewhere, t)
		}
	}
	if len(elsewhere) == 0 {
		return stored, nil
	}
	// They have changed, or their rows have moved, as where the table was rewritten. What is
	// stored by now stays so whatever comes of these.
	return stored, r.finish(ctx, leases, elsewhere, stored, true)
}

// finish stores transitions, and notes which of the deliveries it changed. Rows of what is
// delivered may have moved since they were read; those with more to store than that are
// looked for by their keys at once, so that all of it is stored or nothing.
func (r *Replica) finish(ctx context.Context, leases []Lease, transitions []Transition, stored map[Position]bool, haveMoved bool) error {
	var delivered, moved, waiting, superseded finishColumns
	var applied snapshotColumns
	var steps stepColumns
	var shadowed shadowColumns
	var held []Transition
	delivered.grow(len(transitions)) // nearly all are
	for i := range transitions {
		t := &transitions[i]
		steps.add(t)
		switch t.To {
		case StatePending:
		case StateDelivered:
			switch {
			case t.Done != nil && t.Done.Existing:
				steps.existing.add(t)
			case haveMoved || !t.alone():
				moved.add(t)
			default:
				delivered.add(t)
			}
			if t.Snapshot != nil {
				applied.add(t)
			}
		case StateSuperseded:
			superseded.add(t)
		case StateWaiting:
			waiting.add(t)
		case StateSkipped:
			shadowed.add(t)
		case StateNeedsAction:
			held = append(held, *t)
		default:
			return fmt.Errorf("finish: no transition to %q", t.To)
		}
	}
	lanes, epochs := fenceArguments(heeded(leases))
	batch := &pgx.Batch{}
	batch.Queue(fenceSQL, r.id, lanes, epochs)
	applied.queue(batch)
	steps.queue(batch) // while the deliveries are as they were
	send := func(db batcher) error { return db.SendBatch(ctx, batch).Close() }
	rest := func() {
		r.queueFinish(batch, &delivered, &moved, &waiting, &superseded, stored)
		shadowed.queue(batch, r.shard, func(rows pgx.Rows) error { return notePositions(rows, stored) })
		steps.queueDeliveries(batch, r.shard, func(rows pgx.Rows) error { return notePositions(rows, stored) })
	}
	var err error
	if len(held) == 0 {
		// The common case is pipelined: one round trip, one transaction.
		rest()
		err = send(r.pool)
	} else {
		err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
			if err := send(tx); err != nil {
				return err
			}
			if err := r.hold(ctx, tx, held, stored); err != nil {
				return err
			}
			batch = &pgx.Batch{}
			rest()
			return send(tx)
		})
	}
	if err != nil {
		return fmt.Errorf("finish: %w", leaseError(err))
	}
	if lanes := steps.wokenLanes(); len(lanes) > 0 {
		r.store.Hint(Hint{Lanes: lanes})
	}
	return nil
}

func (r *Replica) queueFinish(batch *pgx.Batch, delivered, moved, waiting, superseded *finishColumns, stored map[Position]bool) {
	note := func(rows pgx.Rows) error { return notePositions(rows, stored) }
	store := func(sql string, c *finishColumns, found ...any) {
		if len(c.seq) > 0 {
			arguments := []any{c.lane, c.destination, c.seq, c.version, c.attempt, c.startedAt, c.duration, c.kind, c.reason, c.detail, r.shard}
			batch.Queue(sql, append(arguments, found...)...).Query(func(rows pgx.Rows) error { return c.noteDelivered(rows, stored) })
		}
	}
	store(deliveredSQL, delivered, delivered.row)
	store(deliveredElsewhereSQL, moved, moved.keyHash, moved.acceptedAt)
	if c := waiting; len(c.seq) > 0 {
		batch.Queue(waitingSQL, c.lane, c.destination, c.seq, c.version, c.attempt, c.startedAt, c.duration, c.kind, c.reason, c.detail, c.spent, c.unknownAt, c.delay, c.keyHash, c.acceptedAt).Query(note)
	}
	if c := superseded; len(c.seq) > 0 {
		batch.Queue(supersededSQL, c.lane, c.destination, c.seq, c.version, c.reason, c.detail, r.shard, c.keyHash, c.acceptedAt).Query(note)
	}
}

func notePositions(rows pgx.Rows, stored map[Position]bool) error {
	var p Position
	_, err := pgx.ForEachRow(rows, []any{&p.Lane, &p.Destination, &p.Seq}, func() error {
		stored[p] = true
		return nil
	})
	return err
}

// noteDelivered notes which were: all, or those that the rows name.
func (c *finishColumns) noteDelivered(rows pgx.Rows, stored map[Position]bool) error {
	var n int
	var lane *int16
	var destination *int32
	var seq *Seq
	_, err := pgx.ForEachRow(rows, []any{&n, &lane, &destination, &seq}, func() error {
		if lane != nil {
			stored[Position{*lane, *destination, *seq}] = true
		}
		return nil
	})
	if n == len(c.seq) {
		for i := range c.seq {
			stored[Position{c.lane[i], c.destination[i], Seq(c.seq[i])}] = true
		}
	}
	return err
}

// finishColumns is a number of transitions turned on their side, for unnest.
type finishColumns struct {
	lane        []int16
	destination []int32
	seq         []int64 // plain, since pgx sends others by reflection
	keyHash     []int64
	acceptedAt  []time.Time
	row         []pgtype.TID
	version     []int32
	attempt     []int32
	startedAt   []*time.Time
	duration    []*int32
	kind        []int16
	reason      []*string
	detail      []*string
	spent       []int32
	unknownAt   []*time.Time
	delay       []time.Duration
}

// grow makes room for that many.
func (c *finishColumns) grow(n int) {
	c.lane, c.destination, c.seq = slices.Grow(c.lane, n), slices.Grow(c.destination, n), slices.Grow(c.seq, n)
	c.keyHash, c.acceptedAt, c.row, c.version = slices.Grow(c.keyHash, n), slices.Grow(c.acceptedAt, n), slices.Grow(c.row, n), slices.Grow(c.version, n)
	c.attempt, c.startedAt, c.duration, c.kind = slices.Grow(c.attempt, n), slices.Grow(c.startedAt, n), slices.Grow(c.duration, n), slices.Grow(c.kind, n)
	c.reason, c.detail, c.spent = slices.Grow(c.reason, n), slices.Grow(c.detail, n), slices.Grow(c.spent, n)
	c.unknownAt, c.delay = slices.Grow(c.unknownAt, n), slices.Grow(c.delay, n)
}

func (c *finishColumns) add(t *Transition) {
	c.lane = append(c.lane, t.Lane)
	c.destination = append(c.destination, t.Destination)
	c.seq = append(c.seq, int64(t.Seq))
	c.keyHash = append(c.keyHash, t.KeyHash)
	c.acceptedAt = append(c.acceptedAt, t.AcceptedAt)
	c.row = append(c.row, t.Row)
	c.version = append(c.version, t.Version)
	attempt := t.Requests
	if t.Sent {
		attempt++
	}
	c.attempt = append(c.attempt, attempt)
	var startedAt *time.Time
	var duration *int32
	if !t.StartedAt.IsZero() {
		startedAt = &t.StartedAt
		us := int32(min(t.Duration.Microseconds(), 1<<31-1))
		duration = &us
	}
	c.startedAt = append(c.startedAt, startedAt)
	c.duration = append(c.duration, duration)
	c.kind = append(c.kind, int16(t.Kind))
	c.reason = append(c.reason, nullText(t.Reason))
	c.detail = append(c.detail, t.Detail.json())
	c.spent = append(c.spent, t.Spent)
	c.unknownAt = append(c.unknownAt, t.UnknownAt)
	c.delay = append(c.delay, t.Delay)
}

func nullText(s string) *string {
	if s = storable(s); s == "" {
		return nil
	}
	return &s
}
