package outbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
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

	// openConflictSQL returns nothing where each of the contents is kept already.
	openConflictSQL = `
INSERT INTO exceptions (tenant, class, source, sample)
SELECT $1, '` + ClassConflict + `', $2, $3
 WHERE EXISTS (SELECT FROM unnest($4::text[], $5::bytea[]) AS n(id, hash)
                WHERE NOT EXISTS (SELECT FROM conflicts c WHERE c.tenant = $1 AND c.source = $2 AND c.id = n.id AND c.hash = n.hash))
ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
DO UPDATE SET last_at = now()
RETURNING id, xmax = 0 AS opened`

	conflictOpenedSQL = `INSERT INTO timeline (tenant, exception, what, reason) VALUES ($1, $2, 'exception', $3)`

	keepConflictSQL = `
WITH kept AS (
  INSERT INTO conflicts (tenant, source, id, hash, first_seq, first_at, exception, occurred_at, type, ordering_key, outlet, content_type, refs, payload)
  VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now()), $9, $10, $11, $12, $13::text::jsonb, $14)
  ON CONFLICT DO NOTHING
  RETURNING tenant, first_seq, first_at, exception
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, exception, what, reason)
  SELECT tenant, first_seq, first_at, exception, 'conflict', 'the source sent other content under this id; it is kept, and was not delivered' FROM kept
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, conflicts) SELECT tenant, 0, $15::smallint, 1 FROM kept
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET conflicts = tallies.conflicts + excluded.conflicts
)
UPDATE exceptions e SET held = held + 1, version = version + 1 FROM kept WHERE e.id = kept.exception`
)

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
// sent, and raises one exception a source.
func (w *Writer) keepConflicts(ctx context.Context, conflicts []conflict) error {
	compare := func(a, b conflict) int {
		return cmp.Or(cmp.Compare(a.entry.Event.Tenant, b.entry.Event.Tenant), cmp.Compare(a.entry.Event.Source, b.entry.Event.Source))
	}
	slices.SortStableFunc(conflicts, compare)
	w.warned.Store(false)
	for len(conflicts) > 0 {
		n := 1
		for n < len(conflicts) && compare(conflicts[0], conflicts[n]) == 0 {
			n++
		}
		if err := w.keepOfSource(ctx, conflicts[:n]); err != nil {
			return err
		}
		conflicts = conflicts[n:]
	}
	if w.warned.Load() {
		return errUnclear
	}
	return nil
}

// keepOfSource takes a transaction a source, so that whoever holds one exception waits
// for no other. A content that Postgres refuses is found by halving.
func (w *Writer) keepOfSource(ctx context.Context, conflicts []conflict) error {
	err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error { return w.keep(ctx, tx, conflicts) })
	switch reason, refused := refusal(err); {
	case err == nil:
		for _, c := range conflicts {
			c.result = Result{Verdict: Conflicting}
		}
		return nil
	case !refused:
		return err
	case len(conflicts) == 1:
		conflicts[0].result = Result{Verdict: Refused, Reason: reason}
		return nil
	}
	half := len(conflicts) / 2
	if err := w.keepOfSource(ctx, conflicts[:half]); err != nil {
		return err
	}
	return w.keepOfSource(ctx, conflicts[half:])
}

func (w *Writer) keep(ctx context.Context, tx pgx.Tx, conflicts []conflict) error {
	tenant, source := conflicts[0].entry.Event.Tenant, conflicts[0].entry.Event.Source
	ids, hashes := make([]string, len(conflicts)), make([][]byte, len(conflicts))
	for i, c := range conflicts {
		ids[i], hashes[i] = c.entry.Event.ID, c.hash[:]
	}
	var exception int64
	var opened bool
	err := tx.QueryRow(ctx, openConflictSQL, tenant, source, conflictSample, ids, hashes).Scan(&exception, &opened)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if opened {
		if _, err := tx.Exec(ctx, conflictOpenedSQL, tenant, exception, conflictSample); err != nil {
			return err
		}
	}
	for _, c := range conflicts {
		e := &c.entry.Event
		refs, err := referencesJSON(e.References)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, keepConflictSQL, tenant, source, e.ID, c.hash[:], c.firstSeq, c.firstAt, exception,
			occurredAt(e), e.Type, e.OrderingKey, e.Outlet, e.ContentType, refs, payloadOf(e), w.shard); err != nil {
			return err
		}
	}
	return nil
}
