package outbox

import (
	"context"
	"maps"
	"slices"
	"time"

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
         blocked = CASE WHEN x.held = f.n THEN 0 ELSE GREATEST(x.blocked - f.blocked, 0) END,
         oldest_at = CASE WHEN x.held = f.n THEN NULL ELSE x.oldest_at END,
         status = CASE WHEN was_open AND x.held = f.n THEN 'RESOLVED' ELSE x.status END,
         closed_at = CASE WHEN was_open AND x.held = f.n THEN now() ELSE x.closed_at END
    FROM locked, unnest($1::bigint[], $2::bigint[], $5::bigint[]) AS f(id, n, blocked)
   WHERE f.id = locked.id AND x.id = locked.id
  RETURNING x.tenant, x.id, x.destination, x.held, was_open
), told AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason, actor)
  SELECT tenant, id, destination, 'resolved', $3::text, $4::text FROM changed WHERE was_open AND held = 0
)
DELETE FROM releases USING changed WHERE releases.exception = changed.id AND changed.held = 0`

// oldestLeftSQL looks for the oldest that is left, where the oldest has gone. It is another
// statement, so that it sees what whoever held the lock before has taken away.
const oldestLeftSQL = `
UPDATE exceptions x SET oldest_at = (SELECT min(h.event_at) FROM holds h WHERE h.exception = x.id)
  FROM unnest($1::bigint[], $2::timestamptz[]) AS f(id, gone)
 WHERE x.id = f.id AND x.closed_at IS NULL AND x.oldest_at >= f.gone`

// heldColumns are what a hold is to its exception, in the order of [unheld].
const heldColumns = `currency, amount::text, units::text, blocks, event_at, outlet`

// offHoldSQL takes one delivery off all that holds it. Its lane is held.
const offHoldSQL = `
DELETE FROM holds WHERE lane = $1 AND destination = $2 AND seq = $3 RETURNING exception, 1::bigint, ` + heldColumns

// unheld are holds that are gone of one exception, with what these were worth in one
// currency, where their route says; whether they blocked what came behind them, the
// acceptance of the oldest, and their outlet.
type unheld struct {
	Exception               int64
	N                       int64
	Currency, Amount, Units *string
	Blocks                  bool
	EventAt                 *time.Time
	Outlet                  string
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
	of := make(map[int64]*loss)
	var worth exposureColumns
	var places outletColumns
	for _, g := range gone {
		if of[g.Exception] == nil {
			of[g.Exception] = new(loss)
		}
		of[g.Exception].add(&g)
		places.add(g.Exception, "", g.N, g.Outlet)
		if g.Currency != nil {
			worth.add(g.Exception, "", g.N, Exposure{*g.Currency, value(g.Amount), value(g.Units)})
		}
	}
	exceptions := slices.Sorted(maps.Keys(of))
	counts, blocked, oldest := make([]int64, len(exceptions)), make([]int64, len(exceptions)), make([]*time.Time, len(exceptions))
	for i, id := range exceptions {
		counts[i], blocked[i], oldest[i] = of[id].n, of[id].blocked, of[id].oldest
		if mutant.On(mutant.HeldByPages) {
			counts[i] = 1
		}
	}
	if _, err := tx.Exec(ctx, unheldSQL, exceptions, counts, reason, actor, blocked); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, oldestLeftSQL, exceptions, oldest); err != nil {
		return err
	}
	if err := places.takeOff(ctx, tx); err != nil {
		return err
	}
	return worth.takeOff(ctx, tx)
}

// loss is what one exception holds no more.
type loss struct {
	n, blocked int64
	oldest     *time.Time
}

func (l *loss) add(g *unheld) {
	l.n += g.N
	if g.Blocks {
		l.blocked += g.N
	}
	if g.EventAt != nil && (l.oldest == nil || g.EventAt.Before(*l.oldest)) {
		l.oldest = g.EventAt
	}
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
