package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	million     = 1_000_000
	drainRounds = 3
)

// drain delivers a million that wait, and compares the end with the beginning: whether
// the rows that are gone slow down what is left. Once more with a snapshot held open,
// which keeps Postgres from clearing them away.
func (r *rig) drain(ctx context.Context) (figures []Figure, err error) {
	loaded, err := r.loadWaiting(ctx, million)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, loaded.drop(ctx)) }()
	for _, way := range []struct {
		name     string
		snapshot bool
		goal     goal
	}{
		{"a million drained, tenths 9–10 against 2–3", false, goal{must: 0.80, aim: 0.95}},
		{"the same with an old snapshot held open", true, goal{must: 0.75, aim: 0.90}},
	} {
		var ratios, overall []float64
		for round := range drainRounds {
			tenths, err := r.drainOnce(ctx, loaded, way.snapshot)
			if err != nil {
				return nil, err
			}
			late, early := tenths[9]-tenths[7], tenths[2]-tenths[0]
			ratios = append(ratios, early.Seconds()/late.Seconds())
			overall = append(overall, million/tenths[9].Seconds())
			r.say("drain: %s: round %d of %d: %s/s, %s×", way.name, round+1, drainRounds, count(overall[round]), number(ratios[round]))
		}
		figures = append(figures, figure(way.name, ratio, way.goal, ratios, count(median(overall))+"/s in all"))
	}
	return figures, nil
}

// loadWaiting makes a database in which so many deliveries wait.
func (r *rig) loadWaiting(ctx context.Context, n int) (*database, error) {
	s, err := r.openShop(ctx, template, destination{name: "noop", kind: kindHang, concurrency: 1})
	if err != nil {
		return nil, err
	}
	err = func() error {
		e, err := r.startEngine(ctx, s)
		if err != nil {
			return err
		}
		defer e.kill() // it waits for nobody: nothing that was acknowledged is lost
		return r.fill(ctx, s, e, n)
	}()
	s.db.Close()
	if err != nil {
		return nil, errors.Join(err, s.drop(ctx))
	}
	return s.database, r.cluster.quiet(ctx, s.database)
}

// fill streams n events to a destination that does not take them.
func (r *rig) fill(ctx context.Context, s *shop, e *engine, n int) error {
	l, err := connect(ctx, e.grpc, s.key, streams, nil)
	if err != nil {
		return err
	}
	for l.sent < n {
		if err := l.send(ctx); err != nil {
			return err
		}
		if l.sent%(n/4) == 0 {
			r.say("%s of %s events are in", count(float64(l.sent)), count(float64(n)))
		}
	}
	return errors.Join(l.flush(ctx), l.close(ctx))
}

// quiet waits until nobody uses the database any more, so that it can be copied.
func (c *cluster) quiet(ctx context.Context, d *database) error {
	for {
		var used bool
		if err := c.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid())`, d.name).Scan(&used); err != nil || !used {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// drainOnce returns after which time each tenth was delivered.
func (r *rig) drainOnce(ctx context.Context, from *database, snapshot bool) (tenths []time.Duration, err error) {
	s, err := r.openShop(ctx, from.name, noopOnly...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	// What the killed engine held is free at once, so that no lease is waited for.
	if _, err := s.db.Exec(ctx, `UPDATE replicas SET lease_until = LEAST(lease_until, clock_timestamp())`); err != nil {
		return nil, err
	}
	if snapshot {
		release, err := holdSnapshot(ctx, s)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	e, err := r.startEngine(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	if err := s.untilDelivered(ctx, 1); err != nil {
		return nil, err
	}
	begin := time.Now()
	err = r.measured(e, "drain", million, func() error {
		for tenth := 1; tenth <= 10; tenth++ {
			if err := s.untilDelivered(ctx, million/10*tenth); err != nil {
				return err
			}
			tenths = append(tenths, time.Since(begin))
		}
		return nil
	})
	return tenths, err
}

func holdSnapshot(ctx context.Context, s *shop) (release func(), err error) {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return nil, err
	}
	release = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM deliveries WHERE lane = 0`); err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}
