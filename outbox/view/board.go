package view

import (
	"context"
	"time"
)

// Today counts what has come and gone since the tenant's day began, by the clock of its
// outlets, some seconds late; since the first sweep, where that was later.
type Today struct{ Accepted, Delivered int64 }

var today = register("today", `
SELECT coalesce(sum(t.accepted) FILTER (WHERE t.destination = 0), 0)::bigint - coalesce(m.accepted, 0) AS accepted,
       coalesce(sum(t.delivered), 0)::bigint - coalesce(m.delivered, 0) AS delivered
  FROM tallies t LEFT JOIN day_marks m ON m.tenant = t.tenant GROUP BY m.accepted, m.delivered`)

// Today sums up the tenant's tallies, which are a bounded number of rows.
func (t *Tx) Today(ctx context.Context) (Today, error) {
	rows, err := collect[Today](ctx, t, "today", today)
	if err != nil || len(rows) == 0 {
		return Today{}, err
	}
	return *rows[0], nil
}

var drains = register("drains", `
SELECT p.destination, now() + make_interval(secs => c.open * extract(epoch FROM now() - p.before_at) / (c.ended - p.before)) AS at
  FROM unnest($1::integer[]) AS k(destination)
  JOIN paces p ON p.destination = k.destination
  JOIN (SELECT destination, sum(delivered + skipped + superseded) AS ended, sum(accepted - delivered - skipped - superseded)::float8 AS open
          FROM tallies GROUP BY destination) AS c ON c.destination = k.destination
 WHERE c.open > 0 AND c.ended > p.before AND c.open * extract(epoch FROM now() - p.before_at) / (c.ended - p.before) < 31536000`)

// Drains tells when each destination will have nothing open any more, if it gets on as in
// the last minutes and nothing more comes. None for those that have nothing open, do not
// get on, or would take a year.
func (t *Tx) Drains(ctx context.Context, destinations []int32) (map[int32]*time.Time, error) {
	type drain struct {
		Destination int32
		At          time.Time
	}
	rows, err := collect[drain](ctx, t, "how fast destinations get on", drains, destinations)
	at := make(map[int32]*time.Time, len(rows))
	for _, r := range rows {
		at[r.Destination] = &r.At
	}
	return at, err
}
