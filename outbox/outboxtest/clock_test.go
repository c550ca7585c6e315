package outboxtest_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/outboxtest"
)

// Every session has the time from the test, also where a column's default says when.
func TestClock(t *testing.T) {
	t.Parallel()
	dsn := outboxtest.NewDatabase(t)
	begin := time.Date(2027, 10, 29, 15, 45, 0, 0, time.UTC)
	clock := outboxtest.NewClock(t, dsn, begin)
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	want := func(at time.Time) {
		t.Helper()
		for _, sql := range []string{
			`SELECT now()`, `SELECT clock_timestamp()`,
			`INSERT INTO conflicts (tenant, source, id, hash, first_seq, first_at, exception, occurred_at, type, ordering_key, outlet, content_type, payload)
SELECT 'kopi', 1, md5(random()::text), '', 1, now(), 1, now(), '', '', '', '', '' RETURNING received_at`,
			`INSERT INTO timeline (tenant, what) VALUES ('kopi', 'key') RETURNING at`,
		} {
			var got time.Time
			if err := db.QueryRow(t.Context(), sql).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got.Before(at) || !got.Before(at.Add(time.Minute)) {
				t.Errorf("%s: %s, want %s", sql, got, at)
			}
		}
	}
	want(begin)
	clock.Advance(40 * time.Hour)
	want(begin.Add(40 * time.Hour))
}
