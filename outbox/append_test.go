package outbox_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func TestWriter_Append(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")
	t.Run("MakesEventDeliveriesAndTimelineTogether", func(t *testing.T) {
		s := shop.emptied(t)
		e := s.entry("e1", "order/1", "books", "stock")
		e.Event.References = map[string]string{"order": "1042"}
		if got, want := s.append(s.writer(), e), []outbox.Verdict{outbox.Appended}; !slices.Equal(got, want) {
			t.Fatalf("verdicts %v, want %v", got, want)
		}
		if n := one[int](s, `SELECT count(*) FROM deliveries d JOIN events e ON e.seq = d.event AND e.accepted_at = d.event_at AND e.tenant = d.tenant AND e.lane = d.lane`); n != 2 {
			t.Errorf("%d deliveries of the event, want 2", n)
		}
		if n := one[int](s, `SELECT count(*) FROM audit t JOIN events e ON e.seq = t.event AND e.accepted_at = t.event_at WHERE what = 'accepted' AND state = 'PENDING'`); n != 1 {
			t.Errorf("%d accepted entries, want 1", n)
		}
		if id := one[string](s, `SELECT e.id FROM event_references r JOIN events e USING (tenant, accepted_at, seq) WHERE r.value = '1042' AND r.name = 'order'`); id != "e1" {
			t.Errorf("the reference leads to %q", id)
		}
		if n := one[int](s, `SELECT sum(accepted)::int FROM tallies WHERE destination <> 0`); n != 2 {
			t.Errorf("the destinations' tallies count %d, want 2", n)
		}
	})

	t.Run("TellsDuplicatesFromConflicts", func(t *testing.T) {
		s := shop.emptied(t)
		w := s.writer()
		first := s.entry("e1", "order/1", "books")
		other := first
		other.Event.Payload = []byte(`{"id":"e1","total":2}`)
		otherKey := first
		otherKey.Event.OrderingKey = "order/2"
		s.append(w, first)
		got := s.append(w, first, other, otherKey, s.entry("e2", "order/1", "books"))
		want := []outbox.Verdict{outbox.Duplicate, outbox.Conflicting, outbox.Conflicting, outbox.Appended}
		if !slices.Equal(got, want) {
			t.Fatalf("verdicts %v, want %v", got, want)
		}
		// Sent again, it is the same conflict: nothing is kept twice.
		s.append(w, other)
		if n := one[int](s, `SELECT count(*) FROM conflicts`); n != 2 {
			t.Errorf("%d contents kept, want 2", n)
		}
		if held := one[int](s, `SELECT held::int FROM exceptions WHERE class = 'CONFLICT' AND closed_at IS NULL`); held != 2 {
			t.Errorf("the exception counts %d, want 2", held)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'conflict'`); n != 2 {
			t.Errorf("%d conflict entries, want 2", n)
		}
		if kept := one[string](s, `SELECT convert_from(payload, 'UTF8') FROM conflicts WHERE ordering_key = 'order/1'`); kept != `{"id":"e1","total":2}` {
			t.Errorf("kept content %s", kept)
		}
		if n := one[int](s, `SELECT count(*) FROM events`); n != 2 {
			t.Errorf("%d events, want 2", n)
		}
	})

	t.Run("ClassifiesTwinsInOneBatch", func(t *testing.T) {
		s := shop.emptied(t)
		twin := s.entry("e1", "order/1", "books")
		conflict := twin
		conflict.Event.Type = "order.paid"
		got := s.append(s.writer(), twin, twin, conflict)
		want := []outbox.Verdict{outbox.Appended, outbox.Duplicate, outbox.Conflicting}
		if !slices.Equal(got, want) {
			t.Fatalf("verdicts %v, want %v", got, want)
		}
	})

	t.Run("RefusesTheBadOneOnlyAndKeepsTheOrder", func(t *testing.T) {
		s := shop.emptied(t)
		var batch []outbox.Entry
		var ids []string
		for i := range 20 {
			id := string(rune('z'-i)) + "-event" // ids fall while arrival rises
			batch = append(batch, s.entry(id, "order/1", "books"))
			ids = append(ids, id)
		}
		// Valid by the contract, yet no text of Postgres: a NUL.
		batch[7].Event.Outlet = "mall\x00"
		got := s.append(s.writer(), batch...)
		for i, v := range got {
			want := outbox.Appended
			if i == 7 {
				want = outbox.Refused
			}
			if v != want {
				t.Errorf("entry %d: verdict %v, want %v", i, v, want)
			}
		}
		ids = slices.Delete(ids, 7, 8)
		if diff := cmp.Diff(ids, column[string](s, `SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event ORDER BY d.accepted_at, d.seq`)); diff != "" {
			t.Errorf("order of the key (-want +got):\n%s", diff)
		}
	})

	t.Run("KeepsUnroutedEvents", func(t *testing.T) {
		s := shop.emptied(t)
		s.append(s.writer(), s.entry("e1", "order/1"))
		if n := one[int](s, `SELECT count(*) FROM events WHERE unrouted`); n != 1 {
			t.Errorf("%d unrouted events, want 1", n)
		}
	})

	t.Run("GoesOnAfterItsSessionIsEnded", func(t *testing.T) {
		s := shop.emptied(t)
		w := s.writer()
		s.append(w, s.entry("e1", "order/1", "books"))
		one[bool](s, `SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND datname = current_database()`)
		if _, err := w.Append(t.Context(), []outbox.Entry{s.entry("e2", "order/1", "books")}); err == nil {
			t.Fatal("an append on a dead session reported success")
		}
		if got := s.append(w, s.entry("e2", "order/1", "books")); got[0] != outbox.Appended {
			t.Errorf("verdict %v, want appended", got[0])
		}
		if n := one[int](s, `SELECT count(DISTINCT seq >> 40) FROM events`); n != 2 {
			t.Errorf("%d writers, want a second one after the error", n)
		}
	})
}

// The second of the ten bugs: COMMIT taken for done. The primary waits for a standby
// that does not exist, so no COMMIT is ever confirmed.
func TestWriter_AppendDoesNotTakeAnUnclearCommitForDone(t *testing.T) {
	t.Parallel()
	server := newPrivateShop(t, "books")
	s := server.shop
	// A small batch is one statement, a large one goes by COPY. Each has a writer that is
	// open before the standby is wanted: opening one waits for it too.
	batches := map[string][]outbox.Entry{"small": {s.entry("unclear", "order/1", "books")}, "large": manyEntries(s, "unclear")}
	writers := make(map[string]*outbox.Writer)
	for name := range batches {
		writers[name] = s.writer()
		s.append(writers[name], s.entry("before "+name, "order/1", "books"))
	}
	release := server.server.HoldCommits()

	for name, batch := range batches {
		// Somebody gives up waiting on our behalf: Postgres warns, and reports success.
		done := make(chan error, 1)
		send := func() {
			_, err := writers[name].Append(t.Context(), batch)
			done <- err
		}
		go send()
		if err := server.giveUpWaitingForStandby(done); err == nil {
			t.Fatalf("%s: an append whose COMMIT did not reach the standby was acknowledged", name)
		}
		// It can be seen now, and has still not reached the standby: sent again, it is no
		// duplicate that could be acknowledged.
		go send()
		if err := server.giveUpWaitingForStandby(done); err == nil {
			t.Fatalf("%s: the resend was acknowledged, and the event has not reached the standby", name)
		}
	}

	release()
	for name, batch := range batches {
		if got := s.append(writers[name], batch...); got[0] != outbox.Duplicate && got[0] != outbox.Appended {
			t.Errorf("%s: verdict of the resend %v", name, got[0])
		}
		if n := one[int](s, `SELECT count(*) FROM events WHERE id = $1`, batch[0].Event.ID); n != 1 {
			t.Errorf("%s: %d events after the resend, want 1", name, n)
		}
	}
}
