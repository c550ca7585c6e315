package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func (s *shop) sweeper() *outbox.Sweeper {
	s.t.Helper()
	w, err := s.OpenSweeper(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(w.Close)
	return w
}

func (s *shop) allLanes() (lanes []int16) {
	for lane := range int16(s.Lanes()) {
		lanes = append(lanes, lane)
	}
	return lanes
}

// late sweeps all lanes by a deadline for the route of [shop.entry].
func (s *shop) late(w *outbox.Sweeper, within time.Duration) {
	s.t.Helper()
	err := w.Late(s.t.Context(), s.allLanes(), []outbox.Deadline{{Tenant: "kopi", Destination: s.destinations["books"], Within: within, Routes: []string{"sales"}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// age makes everything that is open older.
func (s *shop) age(by time.Duration) {
	s.t.Helper()
	s.exec(`UPDATE deliveries SET accepted_at = accepted_at - $1::interval`, by)
}

// lateNow is what the open LATE exception counts, and what it holds.
func (s *shop) lateNow() [2]int {
	s.t.Helper()
	return [2]int{
		one[int](s, `SELECT coalesce(sum(held), 0) FROM exceptions WHERE class = 'LATE' AND closed_at IS NULL`),
		one[int](s, `SELECT count(*) FROM late`),
	}
}

func (s *shop) swept(what string) int {
	s.t.Helper()
	return one[int](s, `SELECT count(*) FROM timeline t JOIN exceptions x ON x.id = t.exception WHERE x.class IN ('LATE', 'SOURCE_SILENT') AND t.what = $1 AND t.actor IS NULL`, what)
}

func TestSweeper_Late(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("GathersWhateverIsNotDoneInOneException", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		retries, held := d.deliveryOf("e1", "order/1", "books"), d.deliveryOf("e2", "order/2", "books")
		d.deliveryOf("e3", "order/3", "books")
		d.deliveryOf("e4", "order/3", "books") // waits behind the other
		d.deliveryOf("e5", "order/5", "stock") // no deadline there
		d.intend(retries, held)
		d.finish(attempt(retries, outbox.StateWaiting), attempt(held, outbox.StateNeedsAction))
		w := s.sweeper()
		if s.late(w, time.Hour); s.lateNow() != [2]int{} {
			t.Fatalf("before its time: %v", s.lateNow())
		}
		s.age(2 * time.Hour)
		w = s.sweeper() // that one would look again in half an hour
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{4, 4} || s.swept("exception") != 1 {
			t.Fatalf("count and members %v, %d entries", s.lateNow(), s.swept("exception"))
		}
		// Neither again nor by another one.
		s.late(w, time.Hour)
		s.late(s.sweeper(), time.Hour)
		if s.lateNow() != [2]int{4, 4} || s.swept("exception") != 1 {
			t.Errorf("looked at again: %v, %d entries", s.lateNow(), s.swept("exception"))
		}
		if n := one[int](s, `SELECT count(*) FROM exceptions WHERE class = 'VALIDATION' AND held = 1`); n != 1 {
			t.Error("the exception that holds one of them has changed")
		}
	})

	t.Run("WalksForwardAndLooksAtNothingTwice", func(t *testing.T) {
		s := shop.emptied(t)
		wr := s.writer()
		s.append(wr, s.entry("e1", "order/1", "books"))
		s.age(2 * time.Hour)
		s.append(wr, s.entry("e2", "order/1", "books"))
		w := s.sweeper()
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{1, 1} {
			t.Fatalf("count and members %v, want the first only", s.lateNow())
		}
		s.exec(`DELETE FROM late`)
		s.exec(`UPDATE exceptions SET held = 0`)
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{0, 0} {
			t.Error("what it had passed was looked at again")
		}
	})

	t.Run("ResolvesWhenNoMemberIsOpen", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.deliveryOf("e1", "order/1", "books")
		d.deliveryOf("e2", "order/2", "books")
		s.age(2 * time.Hour)
		open := d.open("books")
		first, second := open[0], open[1]
		w := s.sweeper()
		s.late(w, time.Hour)
		d.intend(first)
		d.finish(attempt(first, outbox.StateDelivered))
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{1, 1} || s.swept("resolved") != 0 {
			t.Fatalf("after one of two: %v, %d resolved", s.lateNow(), s.swept("resolved"))
		}
		if _, err := s.Skip(t.Context(), clerk, request(second, "given up")); err != nil {
			t.Fatal(err)
		}
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{0, 0} || s.swept("resolved") != 1 || one[string](s, `SELECT status FROM exceptions`) != "RESOLVED" {
			t.Fatalf("after both: %v, %d resolved", s.lateNow(), s.swept("resolved"))
		}
		// The next one that is late opens another.
		d.deliveryOf("e3", "order/3", "books")
		s.age(2 * time.Hour)
		s.late(s.sweeper(), time.Hour)
		if s.lateNow() != [2]int{1, 1} || s.swept("exception") != 2 {
			t.Errorf("the next one: %v, %d opened", s.lateNow(), s.swept("exception"))
		}
	})

	t.Run("WhatIsPutAsideStaysSoUntilItEnds", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.deliveryOf("e1", "order/1", "books")
		d.deliveryOf("e2", "order/2", "books")
		s.age(2 * time.Hour)
		first := d.open("books")[0]
		s.late(s.sweeper(), time.Hour)
		done, err := s.StepException(t.Context(), clerk, outbox.ExceptionRequest{
			RequestID: "aside", Reason: "the shop is closed", Exception: one[int64](s, `SELECT id FROM exceptions`), Step: outbox.StepDismiss,
		})
		if err != nil || done.Status != outbox.Dismissed {
			t.Fatal(done, err)
		}
		for range 2 { // each of them after a restart
			w := s.sweeper()
			s.late(w, time.Hour)
			s.late(w, 30*time.Minute) // another deadline begins anew, too
			if s.lateNow() != [2]int{0, 2} || s.swept("exception") != 1 {
				t.Fatalf("it came back: %v, %d entries", s.lateNow(), s.swept("exception"))
			}
		}
		// One of them ends, and another one is late: that is for a person to decide anew.
		d.intend(first)
		d.finish(attempt(first, outbox.StateDelivered))
		d.deliveryOf("e3", "order/3", "books")
		s.age(2 * time.Hour)
		w := s.sweeper()
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{1, 2} || s.swept("exception") != 2 {
			t.Errorf("the next one: %v, %d entries", s.lateNow(), s.swept("exception"))
		}
		s.exec(`DELETE FROM deliveries`)
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{0, 0} || s.swept("resolved") != 1 {
			t.Errorf("after the end of all: %v, %d resolved", s.lateNow(), s.swept("resolved"))
		}
	})

	t.Run("GoesThroughABacklogInPages", func(t *testing.T) {
		s := shop.emptied(t)
		s.exec(`
INSERT INTO writers (writer, backend_pid, backend_start) VALUES (900, 1, now());
INSERT INTO deliveries (seq, event, accepted_at, key_hash, destination, lane, tenant, route)
SELECT (900::bigint << 40) + g, g, now() - interval '2 hours' + g * interval '1 millisecond', g, d.id, g % 64, 'kopi', CASE WHEN g % 10 = 0 THEN 'other' ELSE 'sales' END
  FROM generate_series(1, 30000) g, destinations d WHERE d.name = 'books'`)
		w := s.sweeper()
		s.late(w, time.Hour)
		if s.lateNow() != [2]int{27000, 27000} {
			t.Fatalf("count and members %v, want nine of ten", s.lateNow())
		}
		s.exec(`DELETE FROM deliveries`)
		for i := 0; s.lateNow() != [2]int{} && i < 20; i++ {
			s.late(w, time.Hour)
		}
		if s.lateNow() != [2]int{} || s.swept("resolved") != 1 {
			t.Errorf("after the end of all: %v, %d resolved", s.lateNow(), s.swept("resolved"))
		}
	})

	t.Run("AFewAtOnceAgree", func(t *testing.T) {
		s := shop.emptied(t)
		wr := s.writer()
		for range 4 {
			var batch []outbox.Entry
			for range 50 {
				id := fmt.Sprintf("%x", noise(8))
				e := s.entry("", "", "books")
				e.Event.ID, e.Event.OrderingKey = "e"+id, "order/"+id
				batch = append(batch, e)
			}
			s.append(wr, batch...)
		}
		s.age(2 * time.Hour)
		errs := make(chan error)
		for range 3 {
			w := s.sweeper()
			go func() {
				errs <- w.Late(t.Context(), s.allLanes(), []outbox.Deadline{{Tenant: "kopi", Destination: s.destinations["books"], Within: time.Hour, Routes: []string{"sales"}}})
			}()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if s.lateNow() != [2]int{200, 200} || s.swept("exception") != 1 {
			t.Errorf("count and members %v, %d entries", s.lateNow(), s.swept("exception"))
		}
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	route := func(name, to string, within time.Duration) outbox.RouteConfig {
		return outbox.RouteConfig{Name: name, To: to, DeliverWithin: within}
	}
	got := outbox.Deadlines([]outbox.Applied{{
		Configuration: outbox.Configuration{Tenant: "kopi", Routes: []outbox.RouteConfig{
			route("z", "books", time.Hour), route("slow", "books", 2*time.Hour), route("never", "books", 0),
			route("a", "books", time.Hour), route("b", "stock", time.Hour),
		}},
		Names: outbox.Names{Destinations: map[string]int32{"books": 7, "stock": 3}},
	}})
	want := []outbox.Deadline{
		{Tenant: "kopi", Destination: 3, Within: time.Hour, Routes: []string{"b"}},
		{Tenant: "kopi", Destination: 7, Within: time.Hour, Routes: []string{"a", "z"}},
		{Tenant: "kopi", Destination: 7, Within: 2 * time.Hour, Routes: []string{"slow"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
