package outbox

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/mutant"
)

// unheldSQL takes so many deliveries off each exception. One that was open and holds
// nothing any more is resolved, by whoever took the last. Exceptions are locked in the
// order in which everybody locks them.
const unheldSQL = `
WITH locked AS MATERIALIZED (
  SELECT id, closed_at IS NULL AS was_open FROM exceptions WHERE id = ANY ($1) ORDER BY ` + lockOrder + ` FOR UPDATE
), changed AS (
  UPDATE exceptions x
     SET held = x.held - f.n, version = x.version + 1,
         status = CASE WHEN was_open AND x.held = f.n THEN 'RESOLVED' ELSE x.status END,
         closed_at = CASE WHEN was_open AND x.held = f.n THEN now() ELSE x.closed_at END
    FROM locked, unnest($1::bigint[], $2::bigint[]) AS f(id, n)
   WHERE f.id = locked.id AND x.id = locked.id
  RETURNING x.tenant, x.id, x.destination, x.held, was_open
), told AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason, actor)
  SELECT tenant, id, destination, 'resolved', $3::text, $4::text FROM changed WHERE was_open AND held = 0
)
DELETE FROM releases USING changed WHERE releases.exception = changed.id AND changed.held = 0`

// offHoldSQL takes one delivery off all that holds it. Its lane is held.
const offHoldSQL = `
DELETE FROM holds WHERE lane = $1 AND destination = $2 AND seq = $3 RETURNING exception, 1::bigint, currency, amount::text, units::text`

// unheld are holds that are gone of one exception, with what these were worth in one
// currency, where their route says.
type unheld struct {
	Exception               int64
	N                       int64
	Currency, Amount, Units *string
}

// offHold takes a delivery off all that holds it, whose lane is held.
func offHold(ctx context.Context, tx pgx.Tx, at Position, reason, actor string) error {
	rows, err := tx.Query(ctx, offHoldSQL, at.Lane, at.Destination, at.Seq)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowToStructByPos[unheld])
	if err != nil {
		return err
	}
	return unhold(ctx, tx, gone, reason, &actor)
}

// unhold takes what is gone off the counts and the exposure of its exceptions, whose lanes
// are held: all that is left to lock is tallies.
func unhold(ctx context.Context, tx pgx.Tx, gone []unheld, reason string, actor *string) error {
	if len(gone) == 0 {
		return nil
	}
	of := make(map[int64]int64)
	var worth exposureColumns
	for _, g := range gone {
		of[g.Exception] += g.N
		if g.Currency != nil {
			worth.add(g.Exception, "", g.N, Exposure{*g.Currency, value(g.Amount), value(g.Units)})
		}
	}
	exceptions := slices.Sorted(maps.Keys(of))
	counts := make([]int64, len(exceptions))
	for i, id := range exceptions {
		if counts[i] = of[id]; mutant.On(mutant.HeldByPages) {
			counts[i] = 1
		}
	}
	if _, err := tx.Exec(ctx, unheldSQL, exceptions, counts, reason, actor); err != nil {
		return err
	}
	return worth.takeOff(ctx, tx)
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
