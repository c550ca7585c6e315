package outbox

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// holdSQL puts deliveries that are as they were under the exception of their cause,
// which it opens where there is none. Where all of them have changed, nothing is
// opened.
const holdSQL = `
WITH matching AS (
  SELECT f.*
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::integer[], $6::timestamptz[], $7::integer[], $8::smallint[], $9::text[], $10::text[],
                $11::integer[], $12::timestamptz[], $21::bigint[], $22::timestamptz[])
         AS f(lane, destination, seq, version, attempt, started_at, duration_us, kind, reason, detail, spent, unknown_at, key_hash, accepted_at)
    JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
), raised AS (
  INSERT INTO exceptions (tenant, destination, class, rule, code, field, sample, held)
  SELECT $13, $14, $15, $16, $17, $18, $19, count(*) FROM matching HAVING count(*) > 0
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET held = exceptions.held + excluded.held, version = exceptions.version + 1, last_at = now()
  RETURNING id, xmax = 0 AS opened
), announced AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT $13, id, $14, 'exception', $19 FROM raised WHERE opened
), changed AS (
  UPDATE deliveries d
     SET state = 2, due_at = NULL, exception = raised.id, requests = f.attempt, attempts = f.spent, kind = f.kind, version = d.version + 1,
         unknown_at = f.unknown_at
    FROM matching f, raised
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, d.exception, f.attempt, f.started_at, f.duration_us, f.kind, f.reason, f.detail
), held AS (
  INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM changed
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, needs_action) SELECT $13, $14, $20::smallint, count(*) FROM changed HAVING count(*) > 0
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET needs_action = tallies.needs_action + excluded.needs_action
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, exception, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, exception, 'attempt', 'NEEDS_ACTION', reason, detail::jsonb FROM changed
)
SELECT lane, destination, seq FROM changed`

// longestCause is the most bytes of each part of a cause: together they fit the index
// over causes, whatever a platform wrote into them.
const longestCause = 200

// cause is what groups deliveries into one exception.
type cause struct {
	tenant      string
	destination int32
	Cause
}

func causeOf(t *Transition) cause {
	c := t.Cause
	return cause{t.Tenant, t.Destination, Cause{
		Class: truncated(c.Class, longestCause), Rule: truncated(c.Rule, longestCause),
		Code: truncated(c.Code, longestCause), Field: truncated(c.Field, longestCause),
	}}
}

func (c cause) compare(o cause) int {
	return cmp.Or(cmp.Compare(c.tenant, o.tenant), cmp.Compare(c.destination, o.destination), cmp.Compare(c.Class, o.Class),
		cmp.Compare(c.Rule, o.Rule), cmp.Compare(c.Code, o.Code), cmp.Compare(c.Field, o.Field))
}

// hold puts the deliveries under an exception for each cause. Causes are taken in one
// order for all, so that no two replicas wait in a circle.
func (r *Replica) hold(ctx context.Context, tx pgx.Tx, held []Transition, stored map[Position]bool) error {
	slices.SortStableFunc(held, func(a, b Transition) int { return causeOf(&a).compare(causeOf(&b)) })
	for len(held) > 0 {
		g := causeOf(&held[0])
		sample := storable(held[0].Reason)
		var c finishColumns
		for len(held) > 0 && causeOf(&held[0]) == g {
			c.add(&held[0])
			held = held[1:]
		}
		rows, err := tx.Query(ctx, holdSQL, c.lane, c.destination, c.seq, c.version, c.attempt, c.startedAt, c.duration, c.kind, c.reason, c.detail, c.spent, c.unknownAt,
			g.tenant, g.destination, g.Class, g.Rule, g.Code, g.Field, sample, r.shard, c.keyHash, c.acceptedAt)
		if err != nil {
			return err
		}
		if err := notePositions(rows, stored); err != nil {
			return err
		}
	}
	return nil
}
