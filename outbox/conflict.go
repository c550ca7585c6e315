package outbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassConflict is the class of the exception that a second content of one event id
// raises: one a source, however many ids it reuses.
const ClassConflict = "CONFLICT"

const conflictSample = "an event id came a second time with other content"

// conflict is an item whose id is taken by another content.
type conflict struct {
	*item
	firstSeq Seq
	firstAt  time.Time
}

const (
	countDuplicatesSQL = `
INSERT INTO tallies (tenant, destination, shard, duplicates) VALUES ($1, 0, $2, $3)
ON CONFLICT (tenant, destination, shard) DO UPDATE SET duplicates = tallies.duplicates + excluded.duplicates`

	// conflictCauseSQL is the open exception of a source, or the number that a new one
	// will have. It bounds the transaction's waits.
	conflictCauseSQL = `
SELECT coalesce((SELECT id FROM exceptions
                  WHERE tenant = $1 AND class = '` + ClassConflict + `' AND destination = 0 AND source = $2 AND rule = '' AND code = '' AND field = '' AND closed_at IS NULL),
                nextval('exceptions_id_seq')),
       set_config('lock_timeout', $3, true)`

	// keepConflictsSQL locks the exception last, so that two writers that keep
	// conflicts of one source wait for little more than each other's commit. It
	// returns nothing where each of the contents is kept already.
	keepConflictsSQL = `
WITH kept AS (
  INSERT INTO conflicts (tenant, source, id, hash, first_seq, first_at, exception, occurred_at, type, ordering_key, outlet, content_type, refs, payload)
  SELECT $1, $2, c.id, c.hash, c.first_seq, c.first_at, $3, coalesce(c.occurred_at, now()), c.type, c.ordering_key, c.outlet, c.content_type, c.refs::jsonb, c.payload
    FROM unnest($4::text[], $5::bytea[], $6::bigint[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[])
      AS c(id, hash, first_seq, first_at, occurred_at, type, ordering_key, outlet, content_type, refs, payload)
  ON CONFLICT DO NOTHING
  RETURNING first_seq, first_at
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, exception, what, reason)
  SELECT $1, first_seq, first_at, $3, 'conflict', 'the source sent other content under this id; it is kept, and was not delivered' FROM kept
  RETURNING 1
), raised AS (
  INSERT INTO exceptions (id, tenant, class, source, sample, held) OVERRIDING SYSTEM VALUE
  SELECT $3, $1, '` + ClassConflict + `', $2, $15, count(*) FROM audited HAVING count(*) > 0
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET held = exceptions.held + excluded.held, version = exceptions.version + 1, last_at = now()
  RETURNING id, xmax = 0 AS opened
), announced AS (
  INSERT INTO timeline (tenant, exception, what, reason) SELECT $1, id, 'exception', $15 FROM raised WHERE opened
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, conflicts) SELECT $1, 0, $16::smallint, count(*) FROM audited HAVING count(*) > 0
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET conflicts = tallies.conflicts + excluded.conflicts
)
SELECT id FROM raised`
)

// conflictPatience is how long the conflicts of one batch may wait for locks, all
// together: strangers of the same commit wait with them.
const conflictPatience = 100 * time.Millisecond

// countDuplicates counts what was durable already. It is more than a count: where
// Postgres waits for a standby, another's commit may be seen here that never got
// there, and this commit, behind it in the log, waits for both.
func (w *Writer) countDuplicates(ctx context.Context, byTenant map[string]int64) error {
	w.warned.Store(false)
	for tenant, n := range byTenant {
		if _, err := w.conn.Exec(ctx, countDuplicatesSQL, tenant, w.shard, n); err != nil {
			return err
		}
	}
	if w.warned.Load() {
		return errUnclear
	}
	return nil
}

// keepConflicts stores the contents that came second, each once however often it is
// sent, and raises one exception a source. Those of a source whose exception somebody
// else holds for long are [Deferred].
func (w *Writer) keepConflicts(ctx context.Context, conflicts []conflict) error {
	compare := func(a, b conflict) int {
		x, y := &a.entry.Event, &b.entry.Event
		return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.Source, y.Source))
	}
	// Within a source by id, as they come: writers that keep the same ones lock them
	// in one order.
	slices.SortStableFunc(conflicts, compare)
	w.warned.Store(false)
	patience := conflictPatience
	for len(conflicts) > 0 {
		n := 1
		for n < len(conflicts) && compare(conflicts[0], conflicts[n]) == 0 {
			n++
		}
		before := time.Now()
		if err := keepOfCause(ctx, conflicts[:n], patience, w.keep); err != nil {
			return err
		}
		if conflicts[0].result.Verdict == Deferred {
			patience = max(patience-time.Since(before), time.Millisecond)
		}
		conflicts = conflicts[n:]
	}
	if w.warned.Load() {
		return errUnclear
	}
	return nil
}

// errCauseClosed: the exception was closed, or another opened, since it was looked up.
var errCauseClosed = errors.New("the exception of the conflicts has changed meanwhile")

// keep stores conflicts of one source.
func (w *Writer) keep(ctx context.Context, conflicts []conflict, patience time.Duration) error {
	tenant, source := conflicts[0].entry.Event.Tenant, conflicts[0].entry.Event.Source
	var c conflictColumns
	for _, each := range conflicts {
		if err := c.add(each); err != nil {
			return err
		}
	}
	err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		var cause, raised int64
		err := tx.QueryRow(ctx, conflictCauseSQL, tenant, source, strconv.FormatInt(patience.Milliseconds(), 10)).Scan(&cause, nil)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, keepConflictsSQL, tenant, source, cause, c.id, c.hash, c.firstSeq, c.firstAt, c.occurredAt,
			c.typ, c.orderingKey, c.outlet, c.contentType, c.refs, c.payload, conflictSample, w.shard).Scan(&raised)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case sqlState(err) == stateUnique, err == nil && raised != cause:
			return errCauseClosed // its number is that of a closed one, or not that of the open one
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, each := range conflicts {
		each.settle(Result{Verdict: Conflicting})
	}
	return nil
}
