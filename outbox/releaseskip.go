package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	// skipMembersSQL ends deliveries whose exception was dismissed, as an operator's skip
	// does (see skipSQL): what waits behind them goes on. What else holds them lets go too.
	skipMembersSQL = `
WITH members AS MATERIALIZED (
  SELECT d.place, f.exception, f.reason, f.actor
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS f(lane, destination, seq, exception, reason, actor)
   CROSS JOIN LATERAL (
     SELECT ctid AS place, lane, destination, seq FROM deliveries WHERE (lane, destination, seq) >= (f.lane, f.destination, f.seq)
      ORDER BY lane, destination, seq LIMIT 1) AS d
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq
), gone AS (
  DELETE FROM deliveries d USING members m WHERE d.ctid = m.place AND d.state = 2
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.key_hash, d.replay, d.step, d.claimed, d.unknown_at, m.exception, m.reason, m.actor
), unclaimed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, gone.unknown_at), content = CASE WHEN gone.unknown_at IS NULL THEN e.content END
    FROM gone WHERE gone.claimed AND e.destination = gone.destination AND e.lane = gone.lane AND e.seq = gone.seq
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING unclaimed u WHERE w.tenant = u.tenant AND w.destination = u.destination AND w.effect = u.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash)
  SELECT lane, destination, clock_timestamp(), seq, key_hash FROM gone UNION ALL SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken
  ON CONFLICT DO NOTHING
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, exception, 'skip', 'SKIPPED', reason, actor FROM gone
)
SELECT tenant, destination, count(*) FROM gone GROUP BY tenant, destination ORDER BY tenant, destination`

	// alsoHeldSQL takes them off whatever else held them.
	alsoHeldSQL = `
DELETE FROM holds WHERE ctid = ANY (ARRAY(
  SELECT h.ctid
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) AS f(lane, destination, seq)
   CROSS JOIN LATERAL (
     SELECT holds.ctid FROM holds WHERE holds.lane = f.lane AND holds.destination = f.destination AND holds.seq = f.seq OFFSET 0) AS h))
RETURNING exception, 1::bigint, ` + heldColumns

	countSkippedSQL = `
INSERT INTO tallies (tenant, destination, shard, skipped, needs_action)
SELECT tenant, destination, $4, n, -n FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS f(tenant, destination, n)
ON CONFLICT (tenant, destination, shard) DO UPDATE
  SET skipped = tallies.skipped + excluded.skipped, needs_action = tallies.needs_action + excluded.needs_action`
)

// skip ends deliveries, and returns what else held them.
func (c *memberColumns) skip(ctx context.Context, tx pgx.Tx) (also []unheld, over setFree, err error) {
	if len(c.seqs) == 0 {
		return nil, over, nil
	}
	// Claims go first, so that they are locked in the order in which they are made.
	if _, err := tx.Exec(ctx, lockClaimsSQL, c.lanes, c.destinations, c.seqs); err != nil {
		return nil, over, err
	}
	rows, err := tx.Query(ctx, skipMembersSQL, c.lanes, c.destinations, c.seqs, c.exceptions, c.reasons, c.actors)
	if err != nil {
		return nil, over, err
	}
	if err := over.collect(rows); err != nil {
		return nil, over, err
	}
	if rows, err = tx.Query(ctx, alsoHeldSQL, c.lanes, c.destinations, c.seqs); err != nil {
		return nil, over, err
	}
	also, err = pgx.CollectRows(rows, pgx.RowToStructByPos[unheld])
	return also, over, err
}
