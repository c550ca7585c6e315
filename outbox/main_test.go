package outbox_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// shop is a store with one tenant, one source, and destinations by name.
type shop struct {
	*outbox.Store
	t            testing.TB
	dsn          string
	db           *pgxpool.Pool // as a superuser, to look behind the scenes
	source       int32
	destinations map[string]int32
}

var clerk = outbox.Actor{Tenant: "kopi", Name: "ayu"}

func newShop(t testing.TB, destinations ...string) *shop {
	t.Helper()
	return newShopAt(t, outboxtest.NewDatabase(t), outbox.Config{}, destinations...)
}

func newShopAt(t testing.TB, dsn string, config outbox.Config, destinations ...string) *shop {
	t.Helper()
	config.DSN, config.AllowUnsafe = dsn, true
	store, err := outbox.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	db, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := &shop{Store: store, t: t, dsn: dsn, db: db}
	s.configure(destinations...)
	return s
}

func (s *shop) configure(destinations ...string) {
	s.t.Helper()
	names := s.apply(configuration("kopi", destinations...)).Names
	s.source, s.destinations = names.Sources["till"], names.Destinations
}

// emptied is the shop for another test, which has nothing of those before. A tenth of
// the time that another database takes.
func (s *shop) emptied(t testing.TB) *shop {
	t.Helper()
	again := &shop{Store: s.Store, t: t, dsn: s.dsn, db: s.db}
	again.exec(`
DO $$ BEGIN
  SET LOCAL session_replication_role = replica; -- the timeline's guard would refuse
  EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') || ' RESTART IDENTITY' FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname NOT IN ('installation', 'lanes', 'schema_migrations'));
  UPDATE lanes SET replica = NULL;
END $$`)
	again.configure(slices.Sorted(maps.Keys(s.destinations))...)
	return again
}

// entry is an event with an id and a key, for the destinations named.
func (s *shop) entry(id, key string, destinations ...string) outbox.Entry {
	e := outbox.Entry{Event: outbox.Event{
		Tenant: "kopi", Source: s.source, ID: id, Type: "order.created", OrderingKey: key,
		OccurredAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), ContentType: "application/json",
		Payload: fmt.Appendf(nil, `{"id":%q}`, id),
	}}
	for _, name := range destinations {
		e.Targets = append(e.Targets, outbox.Target{Destination: s.destinations[name], Route: "sales"})
	}
	return e
}

func (s *shop) writer() *outbox.Writer {
	s.t.Helper()
	w, err := s.OpenWriter(s.t.Context(), 1)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { w.Close(context.Background()) })
	return w
}

func (s *shop) append(w *outbox.Writer, entries ...outbox.Entry) []outbox.Verdict {
	s.t.Helper()
	results, err := w.Append(s.t.Context(), entries)
	if err != nil {
		s.t.Fatal(err)
	}
	verdicts := make([]outbox.Verdict, len(results))
	for i, r := range results {
		verdicts[i] = r.Verdict
	}
	return verdicts
}

// one reads a single value.
func one[T any](s *shop, sql string, arguments ...any) T {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), sql, arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		s.t.Fatalf("%v\n%s", err, sql)
	}
	return value
}

func column[T any](s *shop, sql string, arguments ...any) []T {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), sql, arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		s.t.Fatalf("%v\n%s", err, sql)
	}
	return values
}

func collect[T any](t testing.TB, rows pgx.Rows) []T {
	t.Helper()
	values, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
