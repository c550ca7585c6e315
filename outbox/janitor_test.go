package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func (s *shop) tidy() {
	s.t.Helper()
	if err := s.Tidy(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func TestStore_TidyWriters(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	w := s.writer()
	s.append(w, s.entry("e1", "order/1", "books"))
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers WHERE closed_at IS NULL`); n != 1 {
		t.Fatalf("%d writers are open, want the one whose session lives", n)
	}
	// A session whose start cannot be seen is somebody's.
	s.exec(`UPDATE writers SET backend_pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer')`)
	s.exec(`UPDATE writers SET backend_start = (SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer')`)
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers WHERE closed_at IS NULL`); n != 1 {
		t.Fatalf("%d writers are open, want 1", n)
	}
	// The same process number, another session.
	s.exec(`UPDATE writers SET backend_start = backend_start - interval '1 hour'`)
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers WHERE closed_at IS NOT NULL`); n != 1 {
		t.Fatalf("%d writers are closed, want the one whose session is gone", n)
	}
	if writers, err := d.Writers(t.Context()); err != nil || len(writers) != 1 || !writers[0].Closed {
		t.Errorf("writers %v, %v; want one that is closed", writers, err)
	}
	s.exec(`UPDATE writers SET closed_at = closed_at - interval '1 hour'`)
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers`); n != 1 {
		t.Fatal("a writer is forgotten, and something of it is open")
	}
	open := d.open("books")[0]
	d.intend(open)
	d.finish(attempt(open, outbox.StateDelivered))
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers`); n != 0 {
		t.Error("a writer with nothing open is remembered")
	}
}

func TestStore_TidyClosesAWriterOnlyOnceItsTransactionIsOver(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	w := s.writer()
	s.append(w, s.entry("e1", "order/1", "books"))
	// It waits inside a transaction for somebody who holds the id that it inserts.
	holder, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(t.Context())
	if _, err := holder.Exec(t.Context(), `INSERT INTO event_ids (tenant, source, id, hash, seq) VALUES ('kopi', $1, 'e2', '', 0)`, s.source); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.Append(t.Context(), []outbox.Entry{s.entry("e2", "order/1", "books")})
		done <- err
	}()
	s.until(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND wait_event_type = 'Lock' AND datname = current_database())`)
	s.tidy()
	if n := one[int](s, `SELECT count(*) FROM writers WHERE closed_at IS NULL`); n != 1 {
		t.Errorf("%d writers are open, want the one in the middle of a transaction", n)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestStore_TidyIntents(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	dead := s.dispatcher()
	var all []*outbox.Delivery
	for i := range 3 {
		all = append(all, dead.deliveryOf(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books"))
	}
	dead.intend(all[0])         // 1: without an outcome
	dead.intend(all[1], all[2]) // 2: both answered
	dead.finish(attempt(all[1], outbox.StateDelivered), attempt(all[2], outbox.StateWaiting))
	batches := func() []int64 { return column[int64](s, `SELECT batch FROM intents ORDER BY batch`) }
	s.tidy()
	if diff := cmp.Diff([]int64{1, 2}, batches()); diff != "" {
		t.Errorf("of a replica that lives (-want +got):\n%s", diff)
	}
	s.exec(`DELETE FROM replicas`)
	s.tidy()
	if diff := cmp.Diff([]int64{1}, batches()); diff != "" {
		t.Errorf("of a dead one (-want +got):\n%s", diff)
	}
	heir := s.dispatcher()
	heir.finish(attempt(all[0], outbox.StateWaiting))
	s.tidy()
	if diff := cmp.Diff([]int64{}, batches()); diff != "" {
		t.Errorf("once it is settled (-want +got):\n%s", diff)
	}
}

// What was accepted gets into the summary of its ordering keys; a table that is being
// vacuumed is left to that.
func TestStore_TidySummarizesKeys(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.append(s.writer(), s.entry("e1", "order/1", "books"))
	accepted := 1
	accept := func() {
		s.exec(`INSERT INTO events SELECT tenant, accepted_at, seq + g, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, refs, payload FROM events, generate_series($1::int, $1 + 9999) g WHERE id = 'e1' AND seq = (SELECT min(seq) FROM events)`, accepted)
		accepted += 10_000
	}
	accept()
	holder := s.plainSession()
	if _, err := holder.Exec(t.Context(), `BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	s.tidy()
	if _, err := holder.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if n := one[int](s, `SELECT raffsync_summarize_events()`); n == 0 {
		t.Error("what somebody held was summarized: this holds nothing")
	}
	accept()
	s.tidy()
	if n := one[int](s, `SELECT raffsync_summarize_events()`); n != 0 {
		t.Errorf("the housekeeping left %d ranges", n)
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")

	// As a session in any other zone: the months have no gap at a change of the clock.
	t.Run("AreMonthsOfUTC", func(t *testing.T) {
		conn := s.plainSession()
		for _, sql := range []string{`SET timezone = 'Europe/Berlin'`, `SELECT raffsync_ensure_partitions('2031-01-15', '2031-12-15')`, `SET timezone = 'UTC'`} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := conn.Query(t.Context(), `
SELECT inhrelid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'events'::regclass AND inhrelid::regclass::text LIKE 'events_2031%' ORDER BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		type partition struct{ Name, Bound string }
		got := collect[partition](t, rows)
		var want []partition
		for m := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC); m.Year() == 2031; m = m.AddDate(0, 1, 0) {
			want = append(want, partition{"events_" + m.Format("200601"), fmt.Sprintf("FOR VALUES FROM ('%s') TO ('%s')", m.Format("2006-01-02 15:04:05-07"), m.AddDate(0, 1, 0).Format("2006-01-02 15:04:05-07"))})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("partitions (-want +got):\n%s", diff)
		}
	})

	// Neither waits for the other: a backup may read for hours.
	t.Run("AreMadeWhileOthersReadAndAppend", func(t *testing.T) {
		other, err := s.db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Rollback(t.Context())
		for _, sql := range []string{`SELECT count(*) FROM events`, `INSERT INTO timeline (tenant, what) VALUES ('kopi', 'key')`} {
			if _, err := other.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		if made := one[int](s, `SELECT raffsync_ensure_partitions('2032-01-15', '2032-01-15')`); made != 2 {
			t.Errorf("%d were made, want 2", made)
		}
		if made := one[int](s, `SELECT raffsync_ensure_partitions('2032-01-15', '2032-01-15')`); made != 0 {
			t.Errorf("%d were made a second time", made)
		}
	})
}

func TestStore_TidyForgetsOldRequests(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	s.exec(`INSERT INTO operator_requests (tenant, request_id, digest, answer, at)
	        VALUES ('kopi', 'old', '', '{}', now() - interval '31 days'), ('kopi', 'recent', '', '{}', now() - interval '29 days')`)
	if err := s.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := column[string](s, `SELECT request_id FROM operator_requests`); len(left) != 1 || left[0] != "recent" {
		t.Errorf("left: %v", left)
	}
}
