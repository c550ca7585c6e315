package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/migrations"
	"raffsync/outbox"
	"raffsync/outbox/pglocal"
)

// database is a Postgres to work with: the user's own, or an embedded one.
type database struct {
	dsn string
	// about it, in a few words.
	about string
	// embedded: it belongs to the state folder.
	embedded bool
	// sole: this process owns it, and nobody else uses it.
	sole bool
	// stop ends an embedded Postgres that this process owns.
	stop func(context.Context) error
	// server is the embedded Postgres that this process owns; nil where it owns none.
	server *pglocal.Server
}

// errPostgresEnded ends the process with its embedded Postgres: started again, it
// brings both up.
var errPostgresEnded = errors.New("the embedded Postgres has ended (was it killed?); start again: nothing that was acknowledged is lost")

// watch returns an error once an embedded Postgres has ended by itself, and nil when
// the context ends.
func (d *database) watch(ctx context.Context) error {
	if d.server == nil {
		<-ctx.Done()
		return nil
	}
	<-d.server.Ended(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return errPostgresEnded
}

const (
	embeddedDatabase = "raffsync"
	// startTimeout bounds a start, recovery after a crash included.
	startTimeout = 5 * time.Minute
	stopTimeout  = 30 * time.Second
)

// usage is what a command does with the embedded Postgres of the state folder.
type usage int

const (
	// visit uses it beside the process that owns it, and starts it where none does. It
	// makes none.
	visit usage = iota
	// prepare does so too, and makes one where there is none.
	prepare
	// own makes, starts or adopts it, for as long as the process lives.
	own
)

// openDatabase finds the database: an explicit one, or the embedded one of the state
// folder.
func openDatabase(ctx context.Context, line *commandLine, configured string, use usage, log *slog.Logger) (*database, error) {
	if url := firstOf(line.Database, configured); url != "" {
		return &database{dsn: url, about: "Postgres of yours", stop: func(context.Context) error { return nil }}, nil
	}
	address := filepath.Join(line.State, addressFile)
	if use != own {
		if dsn, err := os.ReadFile(address); err == nil && answers(ctx, string(dsn)) {
			return &database{dsn: string(dsn), embedded: true, about: "embedded Postgres of a running process", stop: func(context.Context) error { return nil }}, nil
		}
	}
	var claim func(string) error
	if use != visit {
		if err := os.MkdirAll(line.State, 0o700); err != nil {
			return nil, fmt.Errorf("the state folder cannot be made: %w", err)
		}
		claim = func(name string) error { return writeSecret(filepath.Join(line.State, instanceFile), name) }
	}
	dir, exists, err := clusterOf(line.State, claim)
	switch {
	case err != nil:
		return nil, err
	case !exists && use == visit:
		return nil, noInstallation(line.State)
	case !exists:
		fmt.Fprintf(os.Stderr, "preparing Postgres in %s …\n", dir)
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	server, err := pglocal.Start(starting, pglocal.Config{Dir: dir, Logger: log})
	if errors.Is(err, pglocal.ErrInUse) {
		return nil, fmt.Errorf("another process runs already from this folder; stop it first, or choose another --state: %w", err)
	}
	if err != nil {
		return nil, err
	}
	d := &database{
		dsn:      server.DSN(embeddedDatabase),
		about:    fmt.Sprintf("Postgres %s embedded, durable, data kept", major(server.Version())),
		embedded: true, sole: true, stop: server.Stop, server: server,
	}
	err = createDatabase(ctx, server.DSN("postgres"))
	if err == nil {
		err = os.WriteFile(address, []byte(d.dsn), 0o600)
	}
	if err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return nil, errors.Join(err, server.Stop(stopping))
	}
	return d, nil
}

func major(version string) string {
	text, _, _ := strings.Cut(version, ".")
	return text
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func answers(ctx context.Context, dsn string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx) == nil
}

func createDatabase(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, embeddedDatabase).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE `+embeddedDatabase)
	return err
}

// openStore migrates the database and opens the outbox in it.
func (d *database) openStore(ctx context.Context, line *commandLine, lease time.Duration) (*outbox.Store, error) {
	if _, err := migrations.Up(ctx, d.dsn); err != nil {
		if !errors.Is(err, migrations.ErrNewer) || !d.oneAhead(ctx) {
			return nil, err
		}
		// During an upgrade a process of the version before may restart beside newer
		// ones: a migration keeps to what that version can work with.
		slog.WarnContext(ctx, "the database is one version ahead of this program; upgrade it soon")
	}
	keys, err := secretKeys(line, d.embedded)
	if err != nil {
		return nil, err
	}
	return outbox.Open(ctx, outbox.Config{DSN: d.dsn, Lease: lease, AllowUnsafe: line.Unsafe, Keys: keys})
}

func (d *database) oneAhead(ctx context.Context) bool {
	version, err := migrations.Version(ctx, d.dsn)
	return err == nil && version == migrations.Latest()+1
}

// withStore runs f on the database that the command line names, for commands that
// work and end.
func withStore(ctx context.Context, line *commandLine, configured string, f func(*outbox.Store) error) error {
	log := newLogger(os.Stderr, slog.LevelWarn)
	d, err := openDatabase(ctx, line, configured, visit, log)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := d.stop(stopping); err != nil {
			log.Warn("Postgres did not stop", "error", err)
		}
	}()
	store, err := d.openStore(ctx, line, 0)
	if err != nil {
		return err
	}
	defer store.Close()
	if d.sole {
		if err := store.BuryReplicas(ctx); err != nil {
			return err
		}
	}
	return f(store)
}
