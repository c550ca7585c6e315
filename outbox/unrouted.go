package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassUnrouted is the class of the exception of events that no route wants: one for each
// source and type. An event that a route would take but for its condition is unrouted as
// well, and listed and counted so; but somebody has said that it is not wanted, so that it
// needs nobody. It resolves by itself when a route names all of them; one that was
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
SELECT tenant, id, 'resolved', 'a route is there for them now; those before can be replayed' FROM resolved`

	// unroutedEventsSQL reads the newest of one source and type.
	unroutedEventsSQL = `
SELECT tenant, source, id, type, ordering_key, occurred_at, outlet, coalesce(refs, '{}'::jsonb), content_type, payload
  FROM events WHERE tenant = $1 AND unrouted AND accepted_at >= $2 AND accepted_at < $3 AND source = $4 AND type = $5
 ORDER BY accepted_at DESC, seq DESC LIMIT $6`
)

// mostJudged bounds the events that one sweep looks into; what is beyond is taken for left
// out, as its neighbours may be.
const mostJudged = 1000

// Judge tells what a tenant's routes make of events that no route has taken.
type Judge interface {
	// Names tells whether a route is there for events of a source and type, whatever its
	// condition says of them.
	Names(tenant string, source int32, eventType string) bool
	// LeftOut tells whether each such route's condition says no to the event. Where one
	// fails, the error says which and why; it is nil where a route takes the event now, which
	// came before the route did.
	LeftOut(*Event) (bool, error)
}

// Unrouted counts the events that no route wants into exceptions, but for those that are
// left out on purpose, and resolves exceptions of which a route takes care by now, and
// none came for a while. Ingest does nothing for it; of
// several processes one does the counting.
func (w *Sweeper) Unrouted(ctx context.Context, judge Judge, quiet time.Duration) error {
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
		if err := countUnrouted(ctx, tx, judge, from, until); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, unroutedNextSQL, until)
		return err
	})
	if err == nil {
		err = w.resolveUnrouted(ctx, judge, quiet)
	}
	if err != nil {
		return fmt.Errorf("look for events that no route wants: %w", err)
	}
	return nil
}

// unroutedGroup are unrouted events of one source and type.
type unroutedGroup struct {
	Tenant string
	Source int32
	Type   string
	N      int64
}

func countUnrouted(ctx context.Context, tx pgx.Tx, judge Judge, from, until time.Time) error {
	rows, err := tx.Query(ctx, unroutedSQL, from, until)
	if err != nil {
		return err
	}
	groups, err := pgx.CollectRows(rows, pgx.RowToStructByPos[unroutedGroup])
	judged := mostJudged
	for _, g := range groups {
		reason := fmt.Sprintf("no route wants events of type %s", g.Type)
		if judge.Names(g.Tenant, g.Source, g.Type) {
			found, err := g.unwanted(ctx, tx, judge, from, until, judged)
			if err != nil {
				return err
			}
			judged -= found.looked
			if g.N = found.n; g.N == 0 {
				continue
			}
			reason = found.reason
		}
		if _, err := tx.Exec(ctx, raiseUnroutedSQL, g.Tenant, g.Source, truncated(g.Type, longestCause), g.N, reason); err != nil {
			return err
		}
	}
	return err
}

// unwanted is what of a group is not left out on purpose.
type unwanted struct {
	looked int // into so many
	n      int64
	reason string // for the newest
}

func (g *unroutedGroup) unwanted(ctx context.Context, tx pgx.Tx, judge Judge, from, until time.Time, most int) (found unwanted, err error) {
	rows, err := tx.Query(ctx, unroutedEventsSQL, g.Tenant, from, until, g.Source, g.Type, most)
	if err != nil {
		return found, err
	}
	var e Event
	_, err = pgx.ForEachRow(rows, []any{&e.Tenant, &e.Source, &e.ID, &e.Type, &e.OrderingKey, &e.OccurredAt, &e.Outlet, &e.References, &e.ContentType, &e.Payload}, func() error {
		found.looked++
		out, failed := judge.LeftOut(&e)
		e = Event{} // not to be added to
		if out {
			return nil
		}
		if found.n++; found.reason == "" {
			found.reason = fmt.Sprintf("no route wanted events of type %s when they came; one does now", g.Type)
			if failed != nil {
				found.reason = storable(truncated(failed.Error(), longestCause))
			}
		}
		return nil
	})
	return found, err
}

func (w *Sweeper) resolveUnrouted(ctx context.Context, judge Judge, quiet time.Duration) error {
	rows, err := w.pool.Query(ctx, openUnroutedSQL, quiet)
	if err != nil {
		return err
	}
	var taken []int64
	var id int64
	var tenant, eventType string
	var source int32
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &source, &eventType}, func() error {
		if judge.Names(tenant, source, eventType) {
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
