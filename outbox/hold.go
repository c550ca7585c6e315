package outbox

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// matchSQL finds the deliveries that are as they were, and keeps them so.
	matchSQL = `
SELECT f.ord::integer - 1
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[], $6::timestamptz[]) WITH ORDINALITY
       AS f(lane, destination, seq, version, key_hash, accepted_at, ord)
  JOIN deliveries d ON d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
   FOR NO KEY UPDATE OF d`

	// raiseSQL gains each cause so many deliveries, in the order given, and opens what is
	// not open.
	raiseSQL = `
WITH raised AS (
  INSERT INTO exceptions (tenant, destination, class, rule, code, field, looked_up, sample, held, blocked, oldest_at)
  SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::timestamptz[])
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET held = exceptions.held + excluded.held, version = exceptions.version + 1, last_at = now(),
                looked_up = coalesce(exceptions.looked_up, excluded.looked_up),
                blocked = exceptions.blocked + excluded.blocked, oldest_at = LEAST(exceptions.oldest_at, excluded.oldest_at)
  RETURNING id, tenant, destination, class, rule, code, field, sample, xmax = 0 AS opened
), announced AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT tenant, id, destination, 'exception', sample FROM raised WHERE opened
)
SELECT id, tenant, destination, class, rule, code, field FROM raised`

	// holdSQL puts deliveries under the first of their exceptions, and under all of them.
	holdSQL = `
WITH changed AS (
  UPDATE deliveries d
     SET state = 2, due_at = NULL, exception = f.exception, requests = f.attempt, attempts = f.spent, kind = f.kind, version = d.version + 1,
         unknown_at = f.unknown_at
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::integer[], $5::integer[], $6::timestamptz[], $7::integer[], $8::smallint[], $9::text[], $10::text[],
                $11::integer[], $12::timestamptz[], $13::bigint[], $14::timestamptz[], $15::bigint[])
         AS f(lane, destination, seq, version, attempt, started_at, duration_us, kind, reason, detail, spent, unknown_at, key_hash, accepted_at, exception)
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq AND d.key_hash = f.key_hash AND d.accepted_at = f.accepted_at AND d.version = f.version
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.replay, d.step, d.exception, f.attempt, f.started_at, f.duration_us, f.kind, f.reason, f.detail
), held AS (
  INSERT INTO holds (exception, lane, destination, seq, tenant, currency, amount, units, event_at, blocks, outlet)
  SELECT exception, lane, destination, seq, tenant, currency, nullif(amount, '')::numeric, nullif(units, '')::numeric, event_at, blocks, outlet
    FROM unnest($17::bigint[], $18::smallint[], $19::integer[], $20::bigint[], $21::text[], $22::text[], $23::text[], $24::text[],
                $25::timestamptz[], $26::boolean[], $27::text[])
         AS h(exception, lane, destination, seq, tenant, currency, amount, units, event_at, blocks, outlet)
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, needs_action) SELECT tenant, destination, $16::smallint, count(*) FROM changed GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE SET needs_action = tallies.needs_action + excluded.needs_action
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, exception, what, state, reason, detail)
  SELECT tenant, event, event_at, destination, replay, step, attempt, started_at, duration_us, kind, exception, 'attempt', 'NEEDS_ACTION', reason, detail::jsonb FROM changed
)
SELECT lane, destination, seq FROM changed`
)

// holding is a delivery with all that holds it from now on.
type holding struct {
	*Transition
	causes  []cause
	samples []string
}

// hold puts deliveries under the exceptions of their causes, which it opens where there
// are none, and counts each of these once. Where a delivery has changed, nothing is
// opened or counted for it.
func (r *Replica) hold(ctx context.Context, tx pgx.Tx, held []Transition, stored map[Position]bool) error {
	held, err := matching(ctx, tx, held)
	if err != nil {
		return err
	}
	if held, err = upToDate(ctx, tx, held); err != nil || len(held) == 0 {
		return err
	}
	holdings := make([]holding, len(held))
	for i := range held {
		h := &holdings[i]
		h.Transition = &held[i]
		h.causes, h.samples = causesOf(&held[i])
	}
	ids, err := raise(ctx, tx, holdings)
	if err != nil {
		return err
	}
	var c finishColumns
	var first []int64 // of each delivery
	var exceptions []int64
	var lanes []int16
	var destinations []int32
	var seqs []Seq
	var tenants []string
	var currencies, amounts, units []*string
	var times []time.Time
	var blocks []bool
	var outlets []string
	var worth exposureColumns
	var places outletColumns
	for _, h := range holdings {
		c.add(h.Transition)
		first = append(first, ids[h.causes[0].name()])
		for i := range h.causes {
			exceptions = append(exceptions, ids[h.causes[i].name()])
			lanes, destinations = append(lanes, h.Lane), append(destinations, h.Destination)
			seqs, tenants = append(seqs, h.Seq), append(tenants, h.Tenant)
			var currency, amount, unit *string
			if e := h.Exposure; e != nil {
				worth.add(ids[h.causes[i].name()], h.Tenant, 1, *e)
				currency, amount, unit = &e.Currency, &e.Amount, &e.Units
			}
			currencies, amounts, units = append(currencies, currency), append(amounts, amount), append(units, unit)
			times, blocks, outlets = append(times, h.EventAt), append(blocks, !h.Passes), append(outlets, h.Outlet)
			places.add(ids[h.causes[i].name()], h.Tenant, 1, h.Outlet)
		}
	}
	if err := worth.putOn(ctx, tx); err != nil {
		return err
	}
	if err := places.putOn(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, holdSQL, c.lane, c.destination, c.seq, c.version, c.attempt, c.startedAt, c.duration, c.kind, c.reason, c.detail, c.spent, c.unknownAt,
		c.keyHash, c.acceptedAt, first, r.shard, exceptions, lanes, destinations, seqs, tenants, currencies, amounts, units, times, blocks, outlets)
	if err != nil {
		return err
	}
	return notePositions(rows, stored)
}

// matching leaves out the deliveries that have changed.
func matching(ctx context.Context, tx pgx.Tx, held []Transition) ([]Transition, error) {
	var c finishColumns
	for i := range held {
		c.add(&held[i])
	}
	rows, err := tx.Query(ctx, matchSQL, c.lane, c.destination, c.seq, c.version, c.keyHash, c.acceptedAt)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, err
	}
	same := make([]Transition, len(found))
	for i, ord := range found {
		same[i] = held[ord]
	}
	return same, nil
}

// causeName is what two causes do not share.
type causeName struct {
	tenant      string
	destination int32
	Cause
}

func (c *cause) name() causeName { return causeName{c.tenant, c.destination, c.Cause} }

// gain is what one exception gets to hold at once.
type gain struct {
	sample     string
	n, blocked int64
	oldest     time.Time
}

func (g *gain) add(t *Transition) {
	g.n++
	if !t.Passes {
		g.blocked++
	}
	if t.EventAt.Before(g.oldest) {
		g.oldest = t.EventAt
	}
}

// raise opens what is not open, and returns the exception of each cause. Causes are taken
// in one order for all, so that no two replicas wait in a circle.
func raise(ctx context.Context, tx pgx.Tx, holdings []holding) (map[causeName]int64, error) {
	gains := make(map[causeName]*gain)
	var causes []cause
	for _, h := range holdings {
		for i := range h.causes {
			g := gains[h.causes[i].name()]
			if g == nil {
				g = &gain{sample: h.samples[i], oldest: h.EventAt}
				gains[h.causes[i].name()] = g
				causes = append(causes, h.causes[i])
			}
			g.add(h.Transition)
		}
	}
	slices.SortFunc(causes, func(a, b cause) int { return a.compare(&b) })
	n := len(causes)
	tenants, destinations := make([]string, n), make([]int32, n)
	classes, rules, codes, fields := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	lookedUp, samples, gained := make([]*string, n), make([]string, n), make([]int64, n)
	blocked, oldest := make([]int64, n), make([]time.Time, n)
	for i := range causes {
		c := &causes[i]
		tenants[i], destinations[i] = c.tenant, c.destination
		classes[i], rules[i], codes[i], fields[i] = c.Class, c.Rule, c.Code, c.Field
		if c.isLookUp {
			lookedUp[i] = &c.lookedUp
		}
		g := gains[c.name()]
		samples[i], gained[i], blocked[i], oldest[i] = g.sample, g.n, g.blocked, g.oldest
	}
	rows, err := tx.Query(ctx, raiseSQL, tenants, destinations, classes, rules, codes, fields, lookedUp, samples, gained, blocked, oldest)
	if err != nil {
		return nil, err
	}
	ids := make(map[causeName]int64, n)
	var id int64
	var name causeName
	_, err = pgx.ForEachRow(rows, []any{&id, &name.tenant, &name.destination, &name.Class, &name.Rule, &name.Code, &name.Field}, func() error {
		ids[name] = id
		return nil
	})
	return ids, err
}
