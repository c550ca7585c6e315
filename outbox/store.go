package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says which Postgres, and how it is used.
type Config struct {
	// DSN of the database; its role owns the tables and may take on the roles
	// raffsync_engine and raffsync_api.
	DSN string
	// AllowUnsafe accepts a Postgres that may lose what it has committed (fsync,
	// full_page_writes or synchronous_commit off), now or later. For tests.
	AllowUnsafe bool
	// Lease is how long a replica may be silent before its lanes are taken from it;
	// 15 s where zero.
	Lease time.Duration
	// Keys seal what platforms give. Nil where there are none: [Connections] fail then.
	Keys *Keys
}

// Store is the outbox in one Postgres. All its methods may be called from many
// goroutines at once.
type Store struct {
	config Config
	lanes  int

	admin  *pgxpool.Pool // as the DSN's own role: sessions of other replicas, writers
	engine *pgxpool.Pool // raffsync_engine: sees every tenant
	api    *pgxpool.Pool // raffsync_api: sees the tenant its transaction names

	hints  hints
	claims openClaims
	recent recent
}

// DefaultLease is how long a replica may be silent before its lanes are taken.
const DefaultLease = 15 * time.Second

// Open connects to a migrated database. It fails, saying what to do, where
// Postgres cannot be reached, is read-only, or may lose what it commits.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	s := &Store{config: c}
	var err error
	for _, p := range []struct {
		pool  **pgxpool.Pool
		role  string
		conns int32
	}{
		{&s.admin, "", 4},
		{&s.engine, "raffsync_engine", 8},
		{&s.api, "raffsync_api", 16},
	} {
		if *p.pool, err = s.pool(ctx, sessionConfig{application: "raffsync", role: p.role, conns: p.conns}); err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := s.check(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends every session. What runs on them fails, but for connections that are being
// renewed: they are waited for, for a while, since a platform's answer must be kept.
func (s *Store) Close() {
	s.claims.close(closeAfter)
	for _, p := range []*pgxpool.Pool{s.api, s.engine, s.admin} {
		if p != nil {
			p.Close()
		}
	}
}

// API is the pool of sessions that see only the tenant that their transaction
// names by `set_config('raffsync.tenant', …, true)`.
func (s *Store) API() *pgxpool.Pool { return s.api }

// Lanes is the number of lanes, fixed when the database was initialised.
func (s *Store) Lanes() int { return s.lanes }

// Lease is how long a replica may be silent before its lanes are taken from it.
func (s *Store) Lease() time.Duration { return s.config.Lease }

// Ping tells whether Postgres answers.
func (s *Store) Ping(ctx context.Context) error { return s.engine.Ping(ctx) }

type sessionConfig struct {
	application string
	role        string
	conns       int32
	settings    map[string]string
}

// session is the configuration of every session of ours: bounded waits, so that no
// lock and no forgotten transaction holds up a takeover.
func (s *Store) session(c sessionConfig) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(s.config.DSN)
	if err != nil {
		// pgx repeats the DSN with the password removed; even so, none of it is ours to show.
		return nil, errors.New("the database URL cannot be read; expected postgres://user@host:5432/name")
	}
	if c.conns > 0 {
		config.MaxConns = c.conns
	}
	config.MaxConnIdleTime = 5 * time.Minute
	config.ConnConfig.ConnectTimeout = 10 * time.Second
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = c.application
	params["lock_timeout"] = "5s"
	params["statement_timeout"] = "60s"
	params["idle_in_transaction_session_timeout"] = "10s"
	params["timezone"] = "UTC"
	params["jit"] = "off" // compiles longer than these statements run
	if c.role != "" {
		params["role"] = c.role
	}
	for k, v := range c.settings {
		params[k] = v
	}
	return config, nil
}

func (s *Store) pool(ctx context.Context, c sessionConfig) (*pgxpool.Pool, error) {
	config, err := s.session(c)
	if err != nil {
		return nil, err
	}
	return pgxpool.NewWithConfig(ctx, config)
}

func (s *Store) connect(ctx context.Context, c sessionConfig, onNotice func(severity string)) (*pgx.Conn, error) {
	config, err := s.session(c)
	if err != nil {
		return nil, err
	}
	conn := config.ConnConfig
	if onNotice != nil {
		conn.OnNotice = noticeSeverity(onNotice)
	}
	return pgx.ConnectConfig(ctx, conn)
}

const installationSQL = `SELECT lanes FROM installation`

func (s *Store) check(ctx context.Context) error {
	if err := s.admin.Ping(ctx); err != nil {
		return fmt.Errorf("no session with Postgres: %w; see whether it runs", err)
	}
	if err := s.durable(ctx, s.admin); err != nil {
		return err
	}
	if err := s.engine.QueryRow(ctx, installationSQL).Scan(&s.lanes); err != nil {
		return fmt.Errorf("the database is not ready (run `raffsync migrate`): %w", err)
	}
	return nil
}
