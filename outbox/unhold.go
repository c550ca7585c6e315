package outbox

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
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
const offHoldSQL = `DELETE FROM holds WHERE lane = $1 AND destination = $2 AND seq = $3 RETURNING exception`

// offHold takes a delivery off all that holds it, whose lane is held.
func offHold(ctx context.Context, tx pgx.Tx, at Position, reason, actor string) error {
	rows, err := tx.Query(ctx, offHoldSQL, at.Lane, at.Destination, at.Seq)
	if err != nil {
		return err
	}
	exceptions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, unheldSQL, exceptions, slices.Repeat([]int64{1}, len(exceptions)), reason, actor)
	return err
}
