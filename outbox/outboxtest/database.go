package outboxtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/migrations"
)

// Names of databases. A test's is testPrefix, the token of its process, a number.
const (
	testPrefix     = "raffsync_test_"
	templatePrefix = "raffsync_template_"
)

// databaseTimeout bounds making or dropping one database.
const databaseTimeout = time.Minute

func newToken() string {
	random := make([]byte, 5)
	_, _ = rand.Read(random) // never fails
	return testPrefix + hex.EncodeToString(random)
}

// NewDatabase returns the DSN of a database of this test's own, migrated by the
// embedded migrations, as its owner and a superuser. It is dropped after the
// test, sessions that are still open notwithstanding. Safe for parallel tests.
func NewDatabase(t testing.TB) string {
	t.Helper()
	return newDatabase(t, true)
}

// NewEmptyDatabase is NewDatabase without the migrations.
func NewEmptyDatabase(t testing.TB) string {
	t.Helper()
	return newDatabase(t, false)
}

func newDatabase(t testing.TB, migrated bool) string {
	t.Helper()
	s, err := openShared()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), databaseTimeout)
	defer cancel()
	name, err := s.create(ctx, migrated)
	if err != nil {
		t.Fatalf("outboxtest: making a database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			t.Errorf("outboxtest: dropping database %s: %v", name, err)
		}
	})
	dsn, err := onDatabase(s.dsn, name)
	if err != nil {
		t.Fatalf("outboxtest: %v", err)
	}
	return dsn
}

// noSuchDatabase is the SQLSTATE for a template that somebody dropped: a run with
// other migrations, say.
const noSuchDatabase = "3D000"

func (s *shared) create(ctx context.Context, migrated bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		conn, err := s.session(ctx)
		if err != nil {
			return "", err
		}
		from := "template0"
		if migrated {
			if s.template == "" {
				if s.template, err = ensureTemplate(ctx, conn, s.dsn); err != nil {
					return "", err
				}
			}
			from = s.template
		}
		s.made++
		name := s.token + "_" + strconv.Itoa(s.made)
		_, err = conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, from))
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == noSuchDatabase {
			s.template = ""
			continue
		}
		return name, err
	}
}

func (s *shared) drop(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn, err := s.session(ctx)
	if err != nil {
		return err
	}
	return dropDatabase(ctx, conn, name)
}

func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", pgx.Identifier{name}.Sanitize()))
	return err
}

// sweepDatabases drops the databases of processes that are gone: no session goes
// by the name that theirs begin with, and none is in them.
func sweepDatabases(ctx context.Context, conn *pgx.Conn) error {
	return dropAll(ctx, conn, `
SELECT d.datname FROM pg_database d
WHERE starts_with(d.datname, $1) AND NOT EXISTS (
  SELECT FROM pg_stat_activity owner
  WHERE owner.datname = d.datname OR
    starts_with(owner.application_name, $1) AND starts_with(d.datname, owner.application_name || '_'))`, testPrefix)
}

func dropAll(ctx context.Context, conn *pgx.Conn, sql string, args ...any) error {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := dropDatabase(ctx, conn, name); err != nil {
			return err
		}
	}
	return nil
}

// templateKey is the advisory lock under which a template is made; "template".
const templateKey = 0x74656d70_6c617465

// ensureTemplate makes the template of the embedded migrations, unless another
// process has. It is made under another name: one killed half-way is not used.
// The lock is of one database, that which the administrator's sessions are in.
func ensureTemplate(ctx context.Context, conn *pgx.Conn, server string) (name string, err error) {
	name = templatePrefix + migrations.Hash()
	for {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(templateKey)).Scan(&got); err != nil {
			return "", err
		}
		if got {
			break
		}
		if err := pause(ctx); err != nil {
			return "", fmt.Errorf("waiting for another process that makes the template: %w", err)
		}
	}
	defer func() {
		_, unlocked := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(templateKey))
		err = errors.Join(err, unlocked)
	}()
	var there bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil || there {
		return name, err
	}
	making := name + "_making"
	if err := dropDatabase(ctx, conn, making); err != nil {
		return "", err
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+making+" TEMPLATE template0"); err != nil {
		return "", err
	}
	dsn, err := onDatabase(server, making)
	if err != nil {
		return "", err
	}
	if _, err := migrations.Up(ctx, dsn); err != nil {
		return "", err
	}
	for _, sql := range []string{
		"ALTER DATABASE " + making + " ALLOW_CONNECTIONS false", // cloning wants nobody in it
		"ALTER DATABASE " + making + " RENAME TO " + name,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	return name, dropAll(ctx, conn, `SELECT datname FROM pg_database WHERE starts_with(datname, $1) AND datname <> $2`, templatePrefix, name)
}
