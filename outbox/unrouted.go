package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassUnrouted is the class of the exception of events that no route wants: one for each
// source and type. It resolves by itself when a route takes all of them; one that was
// dismissed stays so, until a person reopens it: they are not wanted.
const ClassUnrouted = "UNROUTED"

const (
	// Sweeps go on where the last one ended, whoever made it. What is being committed is
	// left to a later one: an event's time is that of its transaction's beginning.
	unroutedFromSQL = `SELECT until FROM unrouted_sweep FOR UPDATE SKIP LOCKED`
	unroutedNextSQL = `UPDATE unrouted_sweep SET until = $1`

	unroutedSQL = `
SELECT s.tenant, e.source, e.type, count(*)
  FROM (SELECT DISTINCT tenant FROM sources) AS s
 CROSS JOIN LATERAL (
   SELECT source, type FROM events WHERE events.tenant = s.tenant AND unrouted AND accepted_at >= $1 AND accepted_at < $2 OFFSET 0) AS e
 GROUP BY s.tenant, e.source, e.type ORDER BY s.tenant, e.source, e.type`

	raiseUnroutedSQL = `
WITH raised AS (
  INSERT INTO exceptions (tenant, class, source, code, sample, held)
  SELECT $1, '` + ClassUnrouted + `', $2, $3, $5, $4
   WHERE NOT EXISTS (SELECT FROM exceptions x WHERE x.tenant = $1 AND x.class = '` + ClassUnrouted + `' AND x.destination = 0 AND x.source = $2 AND x.code = $3 AND x.status = 'DISMISSED')
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET held = exceptions.held + excluded.held, version = exceptions.version + 1, last_at = now()
  RETURNING id, xmax = 0 AS opened
)
INSERT INTO timeline (tenant, exception, what, reason) SELECT $1, id, 'exception', $5 FROM raised WHERE opened`

	openUnroutedSQL = `
SELECT id, tenant, source, code FROM exceptions WHERE class = '` + ClassUnrouted + `' AND closed_at IS NULL AND last_at < now() - $1::interval ORDER BY id`

	resolveUnroutedSQL = `
WITH resolved AS (
  UPDATE exceptions SET status = 'RESOLVED', closed_at = now(), version = version + 1
   WHERE id = $1 AND closed_at IS NULL AND last_at < now() - $2::interval
  RETURNING tenant, id
)
INSERT INTO timeline (tenant, exception, what, reason)
SELECT tenant, id, 'resolved', 'a route takes them now; those before can be replayed' FROM resolved`
)

// Taker tells whether a tenant's routes take every event of a source and type.
type Taker func(tenant string, source int32, eventType string) bool

// Unrouted counts the events that no route wants into exceptions, and resolves those of
// which all are taken by now and none came for a while. Ingest does nothing for it; of
// several processes one does the counting.
func (w *Sweeper) Unrouted(ctx context.Context, takes Taker, quiet time.Duration) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		var from, until time.Time
		err := tx.QueryRow(ctx, unroutedFromSQL).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // another process is at it
		}
		if err != nil {
			return err
		}
		if err := w.store.admin.QueryRow(ctx, settledSQL).Scan(&until); err != nil || !until.After(from) {
			return err
		}
		if err := countUnrouted(ctx, tx, from, until); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, unroutedNextSQL, until)
		return err
	})
	if err == nil {
		err = w.resolveUnrouted(ctx, takes, quiet)
	}
	if err != nil {
		return fmt.Errorf("look for events that no route wants: %w", err)
	}
	return nil
}

func countUnrouted(ctx context.Context, tx pgx.Tx, from, until time.Time) error {
	type group struct {
		Tenant string
		Source int32
		Type   string
		N      int64
	}
	rows, err := tx.Query(ctx, unroutedSQL, from, until)
	if err != nil {
		return err
	}
	groups, err := pgx.CollectRows(rows, pgx.RowToStructByPos[group])
	for _, g := range groups {
		reason := fmt.Sprintf("no route wants events of type %s", g.Type)
		if _, err := tx.Exec(ctx, raiseUnroutedSQL, g.Tenant, g.Source, truncated(g.Type, longestCause), g.N, reason); err != nil {
			return err
		}
	}
	return err
}

func (w *Sweeper) resolveUnrouted(ctx context.Context, takes Taker, quiet time.Duration) error {
	rows, err := w.pool.Query(ctx, openUnroutedSQL, quiet)
	if err != nil {
		return err
	}
	var taken []int64
	var id int64
	var tenant, eventType string
	var source int32
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &source, &eventType}, func() error {
		if takes(tenant, source, eventType) {
			taken = append(taken, id)
		}
		return nil
	})
	for _, id := range taken {
		if _, err := w.pool.Exec(ctx, resolveUnroutedSQL, id, quiet); err != nil {
			return err
		}
	}
	return err
}
