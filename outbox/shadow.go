package outbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Shadow is what would have become of a delivery whose route prepares and sends nothing.
type Shadow struct {
	// Prospect is WouldSend, WouldSkip, WouldSupersede or WouldHold.
	Prospect Prospect
	// Causes why it would need a person, where Prospect is WouldHold: at most [MostCauses].
	Causes []ShadowCause
}

// ShadowCause is one of them.
type ShadowCause struct {
	Cause
	Reason string
}

// shadowedSQL ends deliveries that were prepared and not sent, and adds up what they would
// have come to. Of rows that go by one name the first event stands for all.
const shadowedSQL = `
WITH gone AS (
  DELETE FROM deliveries d
   USING unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $8::bigint[], $9::timestamptz[])
         AS f(lane, destination, seq, version, reason, detail, key_hash, accepted_at)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.route, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, f.reason, f.detail
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, skipped)
  SELECT tenant, destination, $7::smallint, count(*) FROM gone GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET skipped = tallies.skipped + excluded.skipped
), found AS (
  INSERT INTO shadow_findings AS s (tenant, route, destination, prospect, class, field, code, seen, event, event_at, reason)
  SELECT g.tenant, g.route, g.destination, p.prospect, p.class, p.field, p.code, count(*), (array_agg(g.event))[1], (array_agg(g.event_at))[1], (array_agg(p.reason))[1]
    FROM gone g
    JOIN unnest($10::smallint[], $11::integer[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
         AS p(lane, destination, seq, prospect, class, field, code, reason) ON p.lane = g.lane AND p.destination = g.destination AND p.seq = g.seq
   GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
  ON CONFLICT (tenant, route, destination, prospect, class, field, code)
  DO UPDATE SET seen = s.seen + excluded.seen, last_at = now(), event = excluded.event, event_at = excluded.event_at, reason = excluded.reason
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, 'shadow', 'SKIPPED', reason, detail::jsonb FROM gone
)
SELECT lane, destination, seq FROM gone`

// shadowColumns is a number of deliveries in shadow turned on their side, for unnest: first
// the deliveries, then what was found of them.
type shadowColumns struct {
	finishColumns
	at          finishColumns // the delivery of each finding
	prospect    []string
	class       []string
	field, code []string
	why         []*string
}

func (c *shadowColumns) add(t *Transition) {
	c.finishColumns.add(t)
	find := func(cause Cause, reason string) {
		c.at.add(t)
		c.prospect = append(c.prospect, string(t.Shadow.Prospect))
		c.class = append(c.class, truncated(cause.Class, longestCause))
		c.field = append(c.field, truncated(cause.Field, longestCause))
		c.code = append(c.code, truncated(cause.Code, longestCause))
		c.why = append(c.why, nullText(reason))
	}
	find(Cause{}, t.Reason)
	var told []Cause
	for _, cause := range t.Shadow.Causes[:min(len(t.Shadow.Causes), MostCauses)] {
		if name := (Cause{Class: cause.Class, Code: cause.Code, Field: cause.Field}); !slices.Contains(told, name) {
			told = append(told, name)
			find(cause.Cause, cause.Reason)
		}
	}
}

func (c *shadowColumns) queue(batch *pgx.Batch, shard int16, note func(pgx.Rows) error) {
	if len(c.seq) == 0 {
		return
	}
	batch.Queue(shadowedSQL, c.lane, c.destination, c.seq, c.version, c.reason, c.detail, shard, c.keyHash, c.acceptedAt,
		c.at.lane, c.at.destination, c.at.seq, c.prospect, c.class, c.field, c.code, c.why).Query(note)
}

// ShadowFinding is how often deliveries of a route in shadow would have come to something.
type ShadowFinding struct {
	Route, Destination string
	Prospect           Prospect
	// Class, Field and Code name a cause; empty: it counts deliveries.
	Class, Field, Code string
	Seen               int64
	FirstAt, LastAt    time.Time
	Event              string // id of one of those that it was seen of last
	Reason             *string
}

const shadowFindingsSQL = `
SELECT s.route, d.name AS destination, s.prospect, s.class, s.field, s.code, s.seen, s.first_at, s.last_at, coalesce(e.id, '') AS event, s.reason
  FROM shadow_findings s
  JOIN destinations d ON d.id = s.destination
  LEFT JOIN events e ON e.tenant = s.tenant AND e.accepted_at = s.event_at AND e.seq = s.event
 WHERE s.tenant = $1 AND ($2 = '' OR s.route = $2)
 ORDER BY s.route, d.name, s.class <> '', s.seen DESC, s.prospect, s.class, s.field, s.code
 LIMIT $3`

// MaxShadowFindings is the most of one page.
const MaxShadowFindings = 1000

// ShadowFindings returns what the tenant's routes in shadow, or the one of this name, have
// found since they were first in it, or since [Store.ResetShadow], what was seen most first.
func (s *Store) ShadowFindings(ctx context.Context, tenant, route string, most int) ([]ShadowFinding, error) {
	rows, err := s.engine.Query(ctx, shadowFindingsSQL, tenant, route, min(cmp.Or(most, MaxShadowFindings), MaxShadowFindings))
	if err != nil {
		return nil, fmt.Errorf("read what shadows found: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[ShadowFinding])
}

// forgetShadowSQL locks in the order of [shadowedSQL].
const forgetShadowSQL = `
WITH locked AS MATERIALIZED (
  SELECT route, destination, prospect, class, field, code FROM shadow_findings WHERE tenant = $1 AND ($2 = '' OR route = $2)
   ORDER BY tenant, route, destination, prospect, class, field, code FOR UPDATE
), gone AS (
  DELETE FROM shadow_findings s USING locked l
   WHERE s.tenant = $1 AND (s.route, s.destination, s.prospect, s.class, s.field, s.code) = (l.route, l.destination, l.prospect, l.class, l.field, l.code)
  RETURNING s.class, s.seen
), told AS (
  INSERT INTO timeline (tenant, what, reason, actor, detail)
  SELECT $1, 'shadow', $3, $4, jsonb_build_object('route', nullif($2, ''), 'forgotten', count(*), 'deliveries', coalesce(sum(seen) FILTER (WHERE class = ''), 0)) FROM gone
  HAVING count(*) > 0
)
SELECT count(*) FROM gone`

// ShadowReset asks that what routes in shadow have found is forgotten.
type ShadowReset struct {
	// RequestID and Reason are as in [OperatorRequest].
	RequestID, Reason string
	Route             string // its name; empty: of all
}

// ResetShadow forgets what the tenant's routes in shadow have found, so that what they find
// from now on is new: by mappings that have changed since, for instance. The timeline keeps
// what became of each delivery. It returns how many findings were forgotten; a repeat of a
// request gets the first answer. A [*Refusal] says what is wrong with the request.
func (s *Store) ResetShadow(ctx context.Context, actor Actor, q ShadowReset) (forgotten int64, err error) {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return 0, err
	}
	if storable(q.Route) != q.Route {
		return 0, &Refusal{Field: "route", Message: "no route could have that name"}
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "shadow %q %s", q.Route, q.Reason))
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &forgotten)
		if err != nil || repeated {
			return err
		}
		if err := tx.QueryRow(ctx, forgetShadowSQL, actor.Tenant, q.Route, strings.TrimSpace(q.Reason), actor.Name).Scan(&forgotten); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest[:], strconv.AppendInt(nil, forgotten, 10))
		return err
	})
	if sqlState(err) == uniqueViolation {
		err = ErrConflict // the same request came at once: asking again gets its answer
	}
	return forgotten, err
}
