package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Gauge is how one destination stands, over all replicas.
type Gauge struct {
	Tenant, Destination string
	// Open deliveries, and those of them that need action.
	Open, NeedsAction int64
	// OldestAge of its open deliveries, by the database's clock; zero where none is open.
	OldestAge time.Duration
	// Breaker is the worst of what the shared breaker and the replicas' say: CLOSED,
	// HALF_OPEN or OPEN.
	Breaker string
}

const (
	// gaugeSettingsSQL: a small or freshly analysed table must not make the planner read
	// all of it for each lane.
	gaugeSettingsSQL = `
SELECT set_config('enable_seqscan', 'off', true), set_config('statement_timeout', '5s', true)`

	// gaugesSQL counts nothing: depths are kept as deltas, and the oldest is the first of
	// each lane and writer (2^40 positions), found by jumping from one to the next.
	gaugesSQL = `
WITH RECURSIVE counted AS (
  SELECT d.id, d.tenant, d.name, d.removed_at,
         greatest(coalesce(c.accepted - c.delivered - c.skipped - c.superseded, 0), 0) AS open, greatest(coalesce(c.needs_action, 0), 0) AS needs_action
    FROM destinations d
    LEFT JOIN (SELECT destination, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered,
                      sum(skipped)::bigint AS skipped, sum(superseded)::bigint AS superseded, sum(needs_action)::bigint AS needs_action
                 FROM tallies GROUP BY destination) AS c ON c.destination = d.id
), heads AS (
  SELECT l.lane, w.id, h.seq, h.accepted_at
    FROM installation i
   CROSS JOIN LATERAL generate_series(0, i.lanes - 1) AS l(lane)
   CROSS JOIN (SELECT id FROM counted WHERE open > 0) AS w
   CROSS JOIN LATERAL (
     SELECT d.seq, d.accepted_at FROM deliveries d
      WHERE d.lane = l.lane::smallint AND d.destination = w.id ORDER BY d.seq LIMIT 1) AS h
  UNION ALL
  SELECT p.lane, p.id, h.seq, h.accepted_at
    FROM heads p
   CROSS JOIN LATERAL (
     SELECT d.seq, d.accepted_at FROM deliveries d
      WHERE d.lane = p.lane::smallint AND d.destination = p.id AND d.seq >= ((p.seq >> 40) + 1) << 40
      ORDER BY d.seq LIMIT 1) AS h
)
SELECT c.tenant, c.name, c.open::bigint, c.needs_action::bigint,
       greatest(coalesce(clock_timestamp() - o.oldest, interval '0'), interval '0'),
       CASE b.worst WHEN 2 THEN 'OPEN' WHEN 1 THEN 'HALF_OPEN' ELSE 'CLOSED' END
  FROM counted c
  LEFT JOIN (SELECT id, min(accepted_at) AS oldest FROM heads GROUP BY id) AS o ON o.id = c.id
  LEFT JOIN (SELECT destination, max(CASE state WHEN 'OPEN' THEN 2 WHEN 'HALF_OPEN' THEN 1 ELSE 0 END) AS worst
               FROM (SELECT destination, state FROM breakers UNION ALL SELECT destination, breaker FROM throttles) AS each
              GROUP BY destination) AS b ON b.destination = c.id
 WHERE c.removed_at IS NULL OR c.open > 0
 ORDER BY c.tenant, c.name`
)

// Gauges returns how every destination of every tenant stands: those that are
// configured, and those that were removed with something open. It reads a bounded
// number of rows for each lane, writer and destination, however much is waiting.
func (s *Store) Gauges(ctx context.Context) ([]Gauge, error) {
	var gauges []Gauge
	err := pgx.BeginTxFunc(ctx, s.engine, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, gaugeSettingsSQL); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, gaugesSQL)
		if err != nil {
			return err
		}
		gauges, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Gauge])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the gauges: %w", err)
	}
	return gauges, nil
}

// Condition is what Postgres says of itself, and of those who share it.
type Condition struct {
	Writable bool
	// Version of the database, by its migrations.
	Version int64
	// Lanes in all, and of these the ones that a living replica holds.
	Lanes, Held int
	Replicas    int // that live
}

const conditionSQL = `
SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
       coalesce((SELECT max(version) FROM schema_migrations WHERE NOT dirty), 0)::bigint,
       (SELECT lanes FROM installation)::integer,
       (SELECT count(*) FROM lanes l JOIN replicas r ON r.id = l.replica WHERE r.lease_until > clock_timestamp())::integer,
       (SELECT count(*) FROM replicas WHERE lease_until > clock_timestamp())::integer`

// Condition asks how Postgres is, and who is there.
func (s *Store) Condition(ctx context.Context) (Condition, error) {
	rows, err := s.admin.Query(ctx, conditionSQL)
	if err != nil {
		return Condition{}, fmt.Errorf("ask for the condition: %w", err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Condition])
	if err != nil {
		return Condition{}, fmt.Errorf("ask for the condition: %w", err)
	}
	return c, nil
}

// Pools tells how the store's sessions are used, by what they are for.
func (s *Store) Pools() map[string]*pgxpool.Stat {
	return map[string]*pgxpool.Stat{"admin": s.admin.Stat(), "engine": s.engine.Stat(), "api": s.api.Stat()}
}
