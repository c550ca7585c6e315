package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// inForce is the configuration as it is, without what is said of its settings.
func (s *shop) inForce() outbox.Applied {
	s.t.Helper()
	a, err := s.ConfigurationOf(s.t.Context(), "kopi")
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// drain goes on with what was removed.
func (s *shop) drain(w *outbox.Sweeper, grace time.Duration) {
	s.t.Helper()
	if err := w.Drain(s.t.Context(), []outbox.Applied{s.inForce()}, grace); err != nil {
		s.t.Fatal(err)
	}
}

func draining(a outbox.Applied) (names []string) {
	for _, d := range a.Draining {
		names = append(names, d.Destination.Name)
	}
	return names
}

func TestStore_Remove(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")
	withRoute := func(s *shop) {
		c := configuration("kopi", "books", "stock")
		c.Routes = []outbox.RouteConfig{{Name: "sales", To: "books", OnException: outbox.Pass}, {Name: "other", To: "stock"}}
		s.apply(c)
	}

	t.Run("DrainsAndThenGoesByItself", func(t *testing.T) {
		s := fresh.emptied(t)
		withRoute(s)
		d := s.dispatcher()
		open := d.deliveryOf("e1", "order/1", "books")
		applied, err := s.Remove(t.Context(), clerk, configuration("kopi", "stock"), "no books any more", outbox.Removal{Drain: []string{"books"}})
		if err != nil {
			t.Fatal(err)
		}
		destinations, routes := applied.Delivering()
		if len(applied.Destinations) != 1 || len(destinations) != 2 || len(routes) != 1 || routes[0].OnException != outbox.Pass {
			t.Fatalf("delivering %+v by %+v", destinations, routes)
		}
		if diff := cmp.Diff(applied.Configuration, s.inForce().Configuration); diff != "" {
			t.Errorf("in force (-applied +read):\n%s", diff)
		}
		// Another apply leaves it draining, and is no new version.
		if again := s.apply(configuration("kopi", "stock")); again.Version != applied.Version || len(again.Draining) != 1 {
			t.Errorf("applied again: version %d after %d, draining %v", again.Version, applied.Version, draining(again))
		}
		w := s.sweeper()
		s.drain(w, 0)
		if len(s.inForce().Draining) != 1 {
			t.Fatal("it went with something open")
		}
		d.intend(open)
		d.finish(attempt(open, outbox.StateDelivered))
		s.drain(w, time.Hour)
		if len(s.inForce().Draining) != 1 {
			t.Fatal("it went before every process can have heard")
		}
		s.drain(w, 0)
		s.drain(s.sweeper(), 0)
		if last := s.inForce(); len(last.Draining) != 0 || last.Version != applied.Version+1 || last.Names.Destinations["books"] != 0 {
			t.Errorf("in the end version %d, draining %v, names %v", last.Version, draining(last), last.Names.Destinations)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'configuration' AND actor = 'raffsync' AND reason LIKE '%books%'`); n != 1 {
			t.Errorf("%d entries of its end, want 1", n)
		}
	})

	t.Run("SkipsInPagesWithReasonAndActor", func(t *testing.T) {
		s := fresh.emptied(t)
		d := s.dispatcher()
		held, sending := d.deliveryOf("held", "order/1", "books"), d.deliveryOf("sending", "order/2", "books")
		d.intend(held)
		d.finish(attempt(held, outbox.StateNeedsAction))
		d.intend(sending)
		var batch []outbox.Entry
		for i := range 1200 { // more than a page, of one lane
			batch = append(batch, s.entry(fmt.Sprint("e", i), "order/3", "books"))
		}
		s.append(s.writer(), batch...)
		applied, err := s.Remove(t.Context(), clerk, configuration("kopi", "stock"), "closed for good", outbox.Removal{Skip: []string{"books"}})
		if err != nil {
			t.Fatal(err)
		}
		if destinations, _ := applied.Delivering(); len(destinations) != 1 {
			t.Errorf("it is still delivered to: %+v", destinations)
		}
		w := s.sweeper()
		s.drain(w, 0)
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'skip' AND state = 'SKIPPED' AND actor = 'ayu' AND reason = 'closed for good'`); n != 1201 {
			t.Errorf("%d skipped, want all but the one on the wire", n)
		}
		if status := one[string](s, `SELECT status FROM exceptions`); status != "RESOLVED" || one[int](s, `SELECT count(*) FROM holds`) != 0 {
			t.Errorf("the exception is %s", status)
		}
		if got := one[string](s, `SELECT sum(skipped) || ' ' || sum(needs_action) FROM tallies WHERE destination = $1`, held.Destination); got != "1201 0" {
			t.Errorf("skipped and needs action: %s", got)
		}
		if len(s.inForce().Draining) != 1 {
			t.Fatal("it went while a request was on the wire")
		}
		d.finish(attempt(sending, outbox.StateWaiting))
		s.drain(w, 0)
		if len(s.inForce().Draining) != 0 || one[int](s, `SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM due)`) != 0 {
			t.Error("something of it is left")
		}
	})

	t.Run("ComesBackWhenItIsNamedAgain", func(t *testing.T) {
		s := fresh.emptied(t)
		s.dispatcher().deliveryOf("e1", "order/1", "books")
		if _, err := s.Remove(t.Context(), clerk, configuration("kopi", "stock"), "r", outbox.Removal{Drain: []string{"books"}}); err != nil {
			t.Fatal(err)
		}
		if back := s.apply(configuration("kopi", "books", "stock")); len(back.Draining) != 0 || len(back.Destinations) != 2 {
			t.Errorf("it is back as %+v", back)
		}
	})

	t.Run("RefusesWordsAboutNothing", func(t *testing.T) {
		s := fresh.emptied(t)
		s.dispatcher().deliveryOf("e1", "order/1", "books")
		for says, r := range map[string]outbox.Removal{
			"--drain books":          {},
			"books (1)":              {},
			"take it out":            {Drain: []string{"stock"}},
			"there is no":            {Skip: []string{"boks"}},
			"not both":               {Drain: []string{"books"}, Skip: []string{"books"}},
			"--skip books --reason ": {DryRun: true},
		} {
			var refusal *outbox.Refusal
			if _, err := s.Remove(t.Context(), clerk, configuration("kopi", "stock"), "r", r); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, says) {
				t.Errorf("%+v: %v, want a refusal with %q", r, err, says)
			}
		}
	})

	t.Run("ADryRunStoresNothing", func(t *testing.T) {
		s := fresh.emptied(t)
		withRoute(s)
		d := s.dispatcher()
		d.deliveryOf("e1", "order/1", "books")
		s.exec(`UPDATE deliveries SET route = 'other', destination = $1`, s.destinations["stock"])
		d.deliveryOf("e2", "order/2", "books")
		before := s.inForce()
		next := configuration("kopi", "stock")
		open, err := s.OpenOfRemoved(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		want := []outbox.Remainder{{Kind: "destination", Name: "books", Count: 2}, {Kind: "route", Name: "other", Count: 1}}
		if diff := cmp.Diff(want, open); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		planned, err := s.Remove(t.Context(), clerk, next, "r", outbox.Removal{Skip: []string{"books"}, DryRun: true})
		if err != nil || planned.Version != before.Version+1 {
			t.Errorf("planned version %d, %v", planned.Version, err)
		}
		if diff := cmp.Diff(before, s.inForce()); diff != "" {
			t.Errorf("something was stored:\n%s", diff)
		}
	})
}
