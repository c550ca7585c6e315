package outboxtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Clock is the clock of one database, in the hands of a test: every session of it, of
// whichever process, asks this one for the time. It all but stands still between the
// steps of the test, so that what happens at one moment is stored under one minute.
type Clock struct {
	t  testing.TB
	db *pgx.Conn
}

const (
	// clockSQL puts functions before those of Postgres that tell the time, for all that
	// connect from now on, and under the defaults of columns. A thousandth of the real
	// time goes by: what happens later is later, and a test's two minutes are less than a
	// second. They are volatile where Postgres' are not, so that a session that waited for
	// a lock while the hand was moved learns of that.
	clockSQL = `
CREATE SCHEMA clock;
CREATE TABLE clock.hand (at timestamptz NOT NULL, since timestamptz NOT NULL, rate float8 NOT NULL);
INSERT INTO clock.hand SELECT pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), 0.001;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED AS
$$BEGIN RETURN (SELECT at + (pg_catalog.clock_timestamp() - since) * rate FROM clock.hand); END$$;
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS
$$BEGIN RETURN (SELECT at + (pg_catalog.now() - LEAST(since, pg_catalog.now())) * rate FROM clock.hand); END$$;
GRANT USAGE ON SCHEMA clock TO PUBLIC;
GRANT SELECT ON clock.hand TO PUBLIC;
SET search_path = clock, pg_catalog, public;
DO $$
DECLARE d record;
BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database());
  FOR d IN
    SELECT a.attrelid::regclass AS relation, a.attname, pg_get_expr(f.adbin, f.adrelid) AS expression
      FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
     WHERE pg_get_expr(f.adbin, f.adrelid) ~ 'now\(\)|clock_timestamp\(\)'
  LOOP
    EXECUTE format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', d.relation, d.attname, replace(d.expression, 'pg_catalog.', ''));
  END LOOP;
END $$`

	// The living live on: who has a lease has it for as long as before.
	advanceSQL = `
WITH moved AS (UPDATE clock.hand SET at = at + $1::interval RETURNING 1),
     leases AS (UPDATE replicas SET lease_until = lease_until + $1::interval WHERE lease_until > clock.clock_timestamp())
UPDATE processes SET alive_until = alive_until + $1::interval`
	runSQL        = `UPDATE clock.hand SET at = clock.clock_timestamp(), since = pg_catalog.clock_timestamp(), rate = 1`
	partitionsSQL = `SELECT raffsync_ensure_partitions(clock.now() - interval '1 day', clock.now() + interval '3 months')`
	readClockSQL  = `SELECT clock.clock_timestamp()`
)

// NewClock steers the time of a migrated database, which has room for three months from
// that moment on. It is to be called before anything else connects to it.
func NewClock(t testing.TB, dsn string, at time.Time) *Clock {
	t.Helper()
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatalf("outboxtest: %v", err)
	}
	t.Cleanup(func() { db.Close(context.Background()) })
	if _, err := db.Exec(t.Context(), clockSQL); err != nil {
		t.Fatalf("outboxtest: steering the clock: %v", err)
	}
	c := &Clock{t: t, db: db}
	c.Advance(at.Sub(c.Now()))
	if _, err := db.Exec(t.Context(), partitionsSQL); err != nil {
		t.Fatalf("outboxtest: %v", err)
	}
	return c
}

// Now is what the clock says.
func (c *Clock) Now() (at time.Time) {
	c.t.Helper()
	if err := c.db.QueryRow(c.t.Context(), readClockSQL).Scan(&at); err != nil {
		c.t.Fatalf("outboxtest: reading the clock: %v", err)
	}
	return at
}

// Advance moves the hand, in one moment for all.
func (c *Clock) Advance(by time.Duration) {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), advanceSQL, by); err != nil {
		c.t.Fatalf("outboxtest: advancing the clock: %v", err)
	}
}

// Run lets the time go by as it does outside: for those that wait for a lease to run out.
func (c *Clock) Run() {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), runSQL); err != nil {
		c.t.Fatalf("outboxtest: %v", err)
	}
}
