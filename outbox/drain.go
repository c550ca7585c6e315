package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// DrainGrace is how long a draining destination stays at least, so that no process
// still routes to it by the configuration before.
const DrainGrace = 15 * time.Second

// skipPage is how many deliveries are skipped in one transaction, while their lane waits.
const skipPage = 500

const (
	lockLaneSQL = `SELECT FROM lanes WHERE lane = $1 FOR UPDATE`

	// skipPageSQL ends a lane's first deliveries to a destination, but for those whose
	// request is on the wire: their outcome ends them, or the next call.
	skipPageSQL = `
WITH sending AS MATERIALIZED (
  SELECT p.seq, p.step, p.attempt
    FROM intents i CROSS JOIN LATERAL unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS p(lane, destination, seq, step, attempt)
   WHERE $1::smallint = ANY (i.lanes) AND p.lane = $1 AND p.destination = $2
), gone AS (
  DELETE FROM deliveries WHERE ctid = ANY (ARRAY(
    SELECT d.ctid FROM deliveries d
     WHERE d.lane = $1 AND d.destination = $2 AND NOT EXISTS (SELECT FROM sending s WHERE s.seq = d.seq AND s.step = d.step AND s.attempt > d.requests)
     ORDER BY d.seq LIMIT $3))
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step, exception, claimed, unknown_at
), unclaimed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, gone.unknown_at), content = CASE WHEN gone.unknown_at IS NULL THEN e.content END
    FROM gone WHERE gone.claimed AND e.destination = gone.destination AND e.lane = gone.lane AND e.seq = gone.seq
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM gone
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, exception, 'skip', 'SKIPPED', $4, $5 FROM gone
), freed AS (
  DELETE FROM holds WHERE ctid = ANY (ARRAY(
    SELECT h.ctid FROM gone CROSS JOIN LATERAL (
      SELECT holds.ctid FROM holds
       WHERE holds.lane = gone.lane AND holds.destination = gone.destination AND holds.seq = gone.seq OFFSET 0) AS h))
  RETURNING exception, currency, amount, units, blocks, event_at, outlet
), counted AS (
  SELECT exception, currency, count(*) AS n, sum(amount)::text AS amount, sum(units)::text AS units, blocks, min(event_at) AS "eventAt", outlet
    FROM freed GROUP BY exception, currency, blocks, outlet
)
SELECT (SELECT coalesce(min(tenant), '') FROM gone), (SELECT count(*) FROM gone), (SELECT count(exception) FROM gone),
       (SELECT coalesce(jsonb_agg(to_jsonb(counted)), '[]') FROM counted)`

	anyOpenSQL = `
SELECT EXISTS (SELECT FROM lanes l CROSS JOIN LATERAL (SELECT FROM deliveries o WHERE o.lane = l.lane AND o.destination = $1 LIMIT 1) AS any_open)`

	// forgetDueSQL is for a destination that has nothing open any more.
	forgetDueSQL = `
DELETE FROM due WHERE ctid = ANY (ARRAY(
  SELECT f.ctid FROM lanes l
   CROSS JOIN LATERAL (SELECT due.ctid FROM due WHERE due.lane = l.lane AND due.destination = $1 OFFSET 0) AS f))`

	// forgetWaitsSQL: nobody waits for an effect of such a destination either.
	forgetWaitsSQL = `
DELETE FROM effect_waits w USING lanes l WHERE w.lane = l.lane AND w.destination = $1`
)

// SkipOpen ends a page of each lane's open deliveries to a destination that was removed
// with the word to skip them, and returns how many. What it returns 0 for is over, or on
// the wire. It may be called by several at once.
func (s *Store) SkipOpen(ctx context.Context, destination int32, order SkipOrder) (skipped int, err error) {
	for lane := range int16(s.lanes) {
		var n int
		err := pgx.BeginFunc(ctx, s.engine, func(tx pgx.Tx) (err error) {
			n, err = skipOfLane(ctx, tx, lane, destination, order)
			return err
		})
		if err != nil {
			return skipped, fmt.Errorf("skip what is open: %w", err)
		}
		skipped += n
	}
	return skipped, nil
}

// skipOfLane skips a page of one lane.
func skipOfLane(ctx context.Context, tx pgx.Tx, lane int16, destination int32, order SkipOrder) (skipped int, err error) {
	var tenant string
	var held int
	var gone []unheld
	batch := &pgx.Batch{}
	batch.Queue(lockLaneSQL, lane)
	batch.Queue(skipPageSQL, lane, destination, skipPage, order.Reason, order.Actor).QueryRow(func(row pgx.Row) error {
		return row.Scan(&tenant, &skipped, &held, &gone)
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil || skipped == 0 {
		return skipped, err
	}
	if err := unhold(ctx, tx, gone, order.Reason, &order.Actor); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, countOperatedSQL, tenant, destination, skipped, -held)
	return skipped, err
}

// skipRounds bounds what one sweep skips.
const skipRounds = 20

// Drain goes on with what destinations that were removed still have to do: it skips
// where that was the word, and removes those that have nothing open any more.
func (w *Sweeper) Drain(ctx context.Context, inForce []Applied, grace time.Duration) error {
	for _, a := range inForce {
		for _, d := range a.Draining {
			name := d.Destination.Name
			if d.Skip != nil {
				for range skipRounds {
					n, err := w.store.SkipOpen(ctx, a.Names.Destinations[name], *d.Skip)
					if err != nil {
						return err
					}
					if n == 0 {
						break
					}
				}
			}
			if err := w.store.endDraining(ctx, a.Tenant, name, a.Names.Destinations[name], grace); err != nil {
				return fmt.Errorf("remove %s, which has drained: %w", name, err)
			}
		}
	}
	return nil
}

// errNotYet: it still has something open, or is gone already.
var errNotYet = errors.New("not drained")

// endDraining removes a destination that has nothing open any more. Several may try.
func (s *Store) endDraining(ctx context.Context, tenant, name string, id int32, grace time.Duration) error {
	actor := Actor{Tenant: tenant, Name: "raffsync"}
	_, err := s.change(ctx, actor, "nothing is open for "+name+" any more: it has drained", false, func(ctx context.Context, tx pgx.Tx, c Configuration) (Configuration, error) {
		var now time.Time
		if err := tx.QueryRow(ctx, nowSQL).Scan(&now); err != nil {
			return c, err
		}
		i := slices.IndexFunc(c.Draining, func(d DrainingConfig) bool { return d.Destination.Name == name })
		if i < 0 || now.Sub(c.Draining[i].Since) < grace {
			return c, errNotYet
		}
		var open bool
		if err := tx.QueryRow(ctx, anyOpenSQL, id).Scan(&open); err != nil {
			return c, err
		}
		if open {
			return c, errNotYet
		}
		c.Draining = slices.Delete(c.Draining, i, i+1)
		if _, err := tx.Exec(ctx, forgetWaitsSQL, id); err != nil {
			return c, err
		}
		_, err := tx.Exec(ctx, forgetDueSQL, id)
		return c, err
	})
	if errors.Is(err, errNotYet) {
		return nil
	}
	return err
}
