package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// round is jobs inserted in batches and worked at the same time, as many as said, in
// a database that is River's own.
type round struct {
	DSN     string `json:"dsn"`
	Jobs    int    `json:"jobs"`
	Batch   int    `json:"batch"`   // jobs of one InsertManyFast
	Workers int    `json:"workers"` // MaxWorkers
	Backlog int    `json:"backlog"` // most jobs inserted and not yet worked
	Payload int    `json:"payload"` // bytes
	// Eager: it fetches again at once, as River's own benchmark has it, where its default
	// is at most every 100 ms: with 500 workers, 5,000 jobs a second.
	Eager bool `json:"eager"`
}

// job is an event as a job's arguments: a random id, and the payload as text.
type job struct {
	ID      string `json:"id"`
	Payload string `json:"payload"`
}

func (job) Kind() string { return "event" }

// noop works jobs by counting them.
type noop struct {
	river.WorkerDefaults[job]
	worked atomic.Int64
	freed  chan struct{} // holds one: some were worked
}

func (w *noop) Work(context.Context, *river.Job[job]) error {
	w.worked.Add(1)
	select {
	case w.freed <- struct{}{}:
	default:
	}
	return nil
}

// run returns the time from the first insert until every job is stored as completed.
// The migration before it is not counted.
func (r round) run(ctx context.Context) (time.Duration, error) {
	if r.Jobs <= 0 || r.Batch <= 0 || r.Workers <= 0 || r.Backlog < r.Batch {
		return 0, fmt.Errorf("a round needs jobs, batch and workers above 0, and a backlog of at least a batch: %+v", r)
	}
	config, err := pgxpool.ParseConfig(r.DSN)
	if err != nil {
		return 0, errors.New("the database URL cannot be read")
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return 0, err
	}
	worker := &noop{freed: make(chan struct{}, 1)}
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	settings := &river.Config{
		Logger:  slog.New(slog.DiscardHandler),
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.Workers}},
		Workers: workers,
	}
	if r.Eager {
		settings.FetchCooldown, settings.FetchPollInterval = 2*time.Millisecond, 20*time.Millisecond
	}
	client, err := river.NewClient(driver, settings)
	if err != nil {
		return 0, err
	}
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = client.Stop(stopping) // the round is over, whatever it says
	}()
	begin := time.Now()
	if err := r.insert(ctx, client, worker); err != nil {
		return 0, err
	}
	if err := untilCompleted(ctx, pool, worker, r.Jobs); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

func (r round) insert(ctx context.Context, client *river.Client[pgx.Tx], worker *noop) error {
	payload := strings.Repeat("7", r.Payload)
	for inserted := 0; inserted < r.Jobs; {
		n := min(r.Batch, r.Jobs-inserted)
		for inserted+n-int(worker.worked.Load()) > r.Backlog {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-worker.freed:
			}
		}
		batch := make([]river.InsertManyParams, n)
		for i := range batch {
			batch[i] = river.InsertManyParams{Args: job{ID: rand.Text(), Payload: payload}}
		}
		if _, err := client.InsertManyFast(ctx, batch); err != nil {
			return err
		}
		inserted += n
	}
	return nil
}

// untilCompleted waits until all jobs were worked and are stored as completed.
func untilCompleted(ctx context.Context, pool *pgxpool.Pool, worker *noop, jobs int) error {
	for int(worker.worked.Load()) < jobs {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-worker.freed:
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var open bool
		if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM river_job WHERE state <> 'completed')`).Scan(&open); err != nil || !open {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
