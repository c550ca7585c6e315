package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
)

const (
	tenant = "bench"
	source = "till"
)

var actor = outbox.Actor{Tenant: tenant, Name: "raffsync bench"}

// shop is an installation for one round: a database with one source, one key and the
// destinations asked for, each of which gets every event.
type shop struct {
	*database
	db  *pgxpool.Pool // as its superuser
	key string
}

// destination is what a shop is made with.
type destination struct {
	name, kind  string
	settings    string // JSON
	concurrency int
	timeout     time.Duration
	breaker     outbox.BreakerConfig
	rate        outbox.Rate
	types       []string // of the events that it gets; none: all
}

func (r *rig) openShop(ctx context.Context, from string, destinations ...destination) (*shop, error) {
	d, err := r.cluster.create(ctx, from)
	if err != nil {
		return nil, err
	}
	s := &shop{database: d}
	if err := s.open(ctx, destinations); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

func (s *shop) open(ctx context.Context, destinations []destination) (err error) {
	if err := s.configure(ctx, destinations); err != nil {
		return err
	}
	s.db, err = pgxpool.New(ctx, s.dsn)
	return err
}

// configure puts the destinations in force, and makes a key.
func (s *shop) configure(ctx context.Context, destinations []destination) error {
	store, err := outbox.Open(ctx, outbox.Config{DSN: s.dsn})
	if err != nil {
		return err
	}
	defer store.Close()
	c := outbox.Configuration{Tenant: tenant, Sources: []outbox.SourceConfig{{Name: source}}}
	for _, d := range destinations {
		configured := outbox.DestinationConfig{
			Name: d.name, Kind: d.kind, Settings: []byte(d.settings), Concurrency: d.concurrency,
			Timeout: d.timeout, Breaker: d.breaker, Rate: d.rate,
		}
		if d.settings == "" {
			configured.Settings = []byte("{}")
		}
		if d.timeout == 0 {
			configured.Timeout = outbox.DefaultTimeout
		}
		if d.breaker == (outbox.BreakerConfig{}) {
			configured.Breaker = outbox.DefaultBreaker
		}
		c.Destinations = append(c.Destinations, configured)
		c.Routes = append(c.Routes, outbox.RouteConfig{Name: d.name, To: d.name, Types: d.types, OnException: outbox.Block, Retry: outbox.DefaultRetry})
	}
	if _, err := store.Apply(ctx, actor, c, "a round of the bench"); err != nil {
		return err
	}
	s.key, err = store.CreateKey(ctx, actor, source)
	return err
}

func (s *shop) close(ctx context.Context) error {
	if s.db != nil {
		s.db.Close()
	}
	return s.drop(ctx)
}

const deliveredSQL = `SELECT coalesce(sum(delivered), 0)::bigint FROM tallies WHERE destination <> 0`

// delivered is how many deliveries Postgres says are delivered.
func (s *shop) delivered(ctx context.Context) (n int, err error) {
	err = s.db.QueryRow(ctx, deliveredSQL).Scan(&n)
	return n, err
}

// lookEvery is how often it is looked how many are delivered: a few commits' time.
const lookEvery = 10 * time.Millisecond

// untilDelivered waits until so many are, and fails where none more come for a minute.
func (s *shop) untilDelivered(ctx context.Context, n int) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	best, moved := -1, time.Now()
	for {
		got, err := s.delivered(ctx)
		if err != nil || got >= n {
			return err
		}
		if got > best {
			best, moved = got, time.Now()
		}
		if time.Since(moved) > time.Minute {
			return fmt.Errorf("%d of %d are delivered, and none more came for a minute", got, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// engine is the program at work on a shop, in a process of its own.
type engine struct {
	*child
	grpc, http string
}

// EngineCommand is the hidden command that is an engine.
const EngineCommand = "bench-engine"

func (r *rig) startEngine(ctx context.Context, s *shop, arguments ...string) (*engine, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// The receiver's secret is where a configuration would look for it.
	environment := append(os.Environ(), secretVariable+"="+signingKey)
	c, err := startChild(ctx, "the engine", environment, program, append([]string{"--database=" + s.dsn, EngineCommand}, arguments...)...)
	if err != nil {
		return nil, err
	}
	e := &engine{child: c}
	var ready engineAnswer
	if err := e.read(&ready); err != nil {
		e.kill()
		return nil, err
	}
	e.grpc, e.http = ready.GRPC, ready.HTTP
	return e, nil
}

func (e *engine) ask(request engineRequest) (engineAnswer, error) {
	var a engineAnswer
	if err := e.call(request, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, fmt.Errorf("the engine: %s", a.Error)
	}
	return a, nil
}

// measured runs f, which brings n events through the engine, and notes what that used. It
// profiles the engine meanwhile where the command line wants it.
func (r *rig) measured(e *engine, name string, n int, f func() error) error {
	if r.profiles == "" {
		return r.working(ours, e.cmd.Process.Pid, n, f)
	}
	if _, err := e.ask(engineRequest{Do: "profile", Profile: filepath.Join(r.profiles, name+".pprof")}); err != nil {
		return err
	}
	err := r.working(ours, e.cmd.Process.Pid, n, f)
	_, endErr := e.ask(engineRequest{Do: "profile"})
	return errors.Join(err, endErr)
}

// atWork opens a shop, starts an engine on it, runs f, and ends both.
func (r *rig) atWork(ctx context.Context, destinations []destination, f func(*shop, *engine) error) (err error) {
	s, err := r.openShop(ctx, template, destinations...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	e, err := r.startEngine(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	return f(s, e)
}
