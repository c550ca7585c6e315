package outboxtest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/migrations"
	"raffsync/outbox/pglocal"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func text(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var value string
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestNewDatabase(t *testing.T) {
	t.Parallel()
	var gone string
	t.Run("OwnAndMigrated", func(t *testing.T) {
		one, two := NewDatabase(t), NewDatabase(t)
		gone = one
		if version, err := migrations.Version(t.Context(), one); err != nil || version != migrations.Latest() {
			t.Errorf("version %d, %v; want %d", version, err, migrations.Latest())
		}
		run(t, connect(t, one), "CREATE TABLE mine (x int)")
		if got := text(t, connect(t, two), "SELECT coalesce(to_regclass('mine')::text, 'none')"); got != "none" {
			t.Errorf("the second database has the first one's table %s", got)
		}
	})
	_, err := pgx.Connect(t.Context(), gone)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != noSuchDatabase {
		t.Errorf("after its test the database answers %v, want that it does not exist", err)
	}
}

func TestNewDatabase_AfterTheTemplateIsDropped(t *testing.T) {
	t.Parallel()
	// Another run with other migrations drops it at any time.
	other, err := openShared()
	if err != nil {
		t.Fatal(err)
	}
	s := &shared{dsn: other.dsn, token: newToken(), template: templatePrefix + "gone"}
	name, err := s.create(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if want := templatePrefix + migrations.Hash(); s.template != want {
		t.Errorf("template %q, want %q", s.template, want)
	}
	if err := s.drop(t.Context(), name); err != nil {
		t.Error(err)
	}
	if err := s.admin.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewEmptyDatabase(t *testing.T) {
	t.Parallel()
	if version, err := migrations.Version(t.Context(), NewEmptyDatabase(t)); version != 0 || err != nil {
		t.Errorf("version %d, %v; want 0", version, err)
	}
}

func TestOnDatabase(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@h:1/a?sslmode=disable":      "postgres://u:p@h:1/b?sslmode=disable",
		"postgresql:///a?host=%2Frun&user=postgres": "postgresql:///b?host=%2Frun&user=postgres",
		"host=/run user=postgres dbname=a":          "host=/run user=postgres dbname=a dbname=b",
	} {
		got, err := onDatabase(dsn, "b")
		if err != nil || got != want {
			t.Errorf("onDatabase(%q) = %q, %v; want %q", dsn, got, err, want)
		}
		config, err := pgx.ParseConfig(got)
		if err != nil || config.Database != "b" {
			t.Errorf("%q names the database %q, %v", got, config.Database, err)
		}
	}
	if _, err := onDatabase("postgres://u:secret@h:x/a", "b"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a URL that can't be read: %v", err)
	}
}

func TestNewServer(t *testing.T) {
	t.Parallel()
	var dir string
	t.Run("KillAndStart", func(t *testing.T) {
		s := NewServer(t, ServerOptions{Fsync: true, Settings: map[string]string{"max_connections": "17"}})
		dir = s.config.Dir
		dsn := s.NewDatabase()
		conn := connect(t, dsn)
		if fsync, max := text(t, conn, "SHOW fsync"), text(t, conn, "SHOW max_connections"); fsync != "on" || max != "17" {
			t.Errorf("fsync %s, max_connections %s; want on, 17", fsync, max)
		}
		run(t, conn, "CREATE TABLE kept AS SELECT 42 AS x")
		s.Kill()
		if _, err := pgx.Connect(t.Context(), dsn); err == nil {
			t.Error("a killed server answers")
		}
		s.Start()
		if got := text(t, connect(t, dsn), "SELECT x::text FROM kept"); got != "42" {
			t.Errorf("after a crash the row is %q", got)
		}
	})
	for _, path := range []string{dir, dir + ".lock"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there after the test", path)
		}
	}
}

func TestSweepServers(t *testing.T) {
	t.Parallel()
	// The server of a test that was killed: its Postgres runs, its lock is free.
	dir, lock, err := newServerDir()
	if err != nil {
		t.Fatal(err)
	}
	pg, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := sweepServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pg.PID(), 0) != nil {
		t.Fatal("a sweep stopped the server of a test that lives")
	}
	if err := pg.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unlock(lock); err != nil {
		t.Fatal(err)
	}
	if err := sweepServers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}
