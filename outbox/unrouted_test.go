package outbox_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

func TestSweeper_Unrouted(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	wr, w := s.writer(), s.sweeper()
	taken := false
	sweep := func(w *outbox.Sweeper) []string {
		t.Helper()
		if err := w.Unrouted(t.Context(), func(string, int32, string) bool { return taken }, 0); err != nil {
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
	taken = true
	until("order.created 3 RESOLVED", "stock.moved 1 DISMISSED")
	taken = false
	again, other := s.entry("e6", "order/6"), s.entry("e7", "order/7")
	again.Event.Type = "stock.moved"
	s.append(wr, again, other)
	until("order.created 3 RESOLVED", "stock.moved 1 DISMISSED", "order.created 1 NEEDS_ACTION")
	if n := one[int](s, `SELECT reopened FROM exceptions WHERE closed_at IS NULL`); n != 1 {
		t.Errorf("it came back %d times", n)
	}
}
