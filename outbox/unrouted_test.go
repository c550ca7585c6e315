package outbox_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func TestSweeper_Unrouted(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	wr, w := s.writer(), s.sweeper()
	var routes judge
	sweep := func(w *outbox.Sweeper) []string {
		t.Helper()
		if err := w.Unrouted(t.Context(), &routes, 0); err != nil {
			t.Fatal(err)
		}
		return column[string](s, `SELECT concat_ws(' ', code, held, status) FROM exceptions WHERE class = 'UNROUTED' ORDER BY id`)
	}
	// The sweep stays behind whatever may still be committed.
	until := func(want ...string) {
		t.Helper()
		var got []string
		s.until(`SELECT now() - $1::timestamptz > interval '1100 milliseconds'`, one[any](s, `SELECT coalesce(max(accepted_at), now()) FROM events`))
		if got = sweep(w); !slices.Equal(got, want) {
			t.Errorf("exceptions (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
	odd := s.entry("e2", "order/2")
	odd.Event.Type = "stock.moved"
	s.append(wr, s.entry("e1", "order/1"), odd, s.entry("e3", "order/3"), s.entry("e4", "order/4", "books"))
	until("order.created 2 NEEDS_ACTION", "stock.moved 1 NEEDS_ACTION")
	if got := sweep(s.sweeper()); len(got) != 2 || got[0] != "order.created 2 NEEDS_ACTION" {
		t.Errorf("another process counts them again: %v", got)
	}
	s.append(wr, s.entry("e5", "order/5"))
	until("order.created 3 NEEDS_ACTION", "stock.moved 1 NEEDS_ACTION")
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'exception'`); n != 2 {
		t.Errorf("%d were announced", n)
	}
	s.step(outbox.StepDismiss, "stock.moved")
	routes.names = true
	until("order.created 3 RESOLVED", "stock.moved 1 DISMISSED")
	routes.names = false
	again, other := s.entry("e6", "order/6"), s.entry("e7", "order/7")
	again.Event.Type = "stock.moved"
	s.append(wr, again, other)
	until("order.created 3 RESOLVED", "stock.moved 1 DISMISSED", "order.created 1 NEEDS_ACTION")
	if n := one[int](s, `SELECT reopened FROM exceptions WHERE closed_at IS NULL`); n != 1 {
		t.Errorf("it came back %d times", n)
	}
}

// What a route would take but for its condition is left out on purpose, and needs nobody;
// where the condition fails, or the route came after the event, somebody has to know.
func TestSweeper_UnroutedOnPurpose(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	wr, w := s.writer(), s.sweeper()
	routes := judge{names: true, leftOut: func(e *outbox.Event) (bool, error) {
		switch string(e.Payload) {
		case "unpaid":
			return true, nil
		case "odd":
			return false, errors.New(`the condition of route "sales" fails: no such overload`)
		}
		return false, nil
	}}
	entry := func(id, payload string) outbox.Entry {
		e := s.entry(id, "order/"+id)
		e.Event.Payload, e.Event.References = []byte(payload), map[string]string{"order": payload}
		return e
	}
	until := func(want ...string) {
		t.Helper()
		s.until(`SELECT now() - $1::timestamptz > interval '1100 milliseconds'`, one[any](s, `SELECT max(accepted_at) FROM events`))
		if err := w.Unrouted(t.Context(), &routes, time.Hour); err != nil { // nothing resolves meanwhile
			t.Fatal(err)
		}
		if diff := cmp.Diff(append([]string{}, want...), column[string](s, `SELECT concat_ws(' ', code, held, status, sample) FROM exceptions WHERE class = 'UNROUTED' ORDER BY id`)); diff != "" {
			t.Errorf("exceptions (-want +got):\n%s", diff)
		}
	}
	s.append(wr, entry("e1", "unpaid"), entry("e2", "unpaid"))
	until()
	s.append(wr, entry("e3", "unpaid"), entry("e4", "odd"), entry("e5", "unpaid"), entry("e6", "odd"))
	until(`order.created 2 NEEDS_ACTION the condition of route "sales" fails: no such overload`)
	s.append(wr, entry("e7", "paid before the route was there"))
	until(`order.created 3 NEEDS_ACTION the condition of route "sales" fails: no such overload`)
	if n := one[int](s, `SELECT count(*) FROM events WHERE unrouted`); n != 7 {
		t.Errorf("%d are listed as unrouted, want all of them", n)
	}
}

// judge is an [outbox.Judge] of every source and type.
type judge struct {
	names   bool
	leftOut func(*outbox.Event) (bool, error)
}

func (j *judge) Names(string, int32, string) bool { return j.names }

func (j *judge) LeftOut(e *outbox.Event) (bool, error) { return j.leftOut(e) }
