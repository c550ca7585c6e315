package outbox_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// at says of which outlet a delivery is, and whether those behind it pass.
func at(t outbox.Transition, outlet string, passes bool) outbox.Transition {
	t.Outlet, t.Passes = outlet, passes
	return t
}

// stakes lists what exceptions have at stake besides money.
func (s *shop) stakes() []string {
	return column[string](s, `SELECT concat_ws(' ', x.code, 'blocks', x.blocked, coalesce((SELECT string_agg(o.outlet || '=' || o.held, ' ' ORDER BY o.outlet) FROM held_outlets o WHERE o.exception = x.id), 'nowhere'),
		coalesce('since ' || (SELECT id FROM events WHERE accepted_at = x.oldest_at ORDER BY seq LIMIT 1), 'nothing')) FROM exceptions x ORDER BY x.code COLLATE "C", x.id`)
}

// appendEach appends events in transactions of their own, so that their times tell them apart.
func (d *dispatcher) appendEach(n int, destination string) []*outbox.Delivery {
	d.shop.t.Helper()
	wr := d.shop.writer()
	for i := range n {
		d.shop.append(wr, d.shop.entry(fmt.Sprintf("e%d", i+1), fmt.Sprintf("order/%d", i+1), destination))
	}
	all := d.open(destination)
	slices.SortFunc(all, func(a, b *outbox.Delivery) int { return a.EventAt.Compare(b.EventAt) })
	return all
}

func TestReplica_Finish_CountsWhatIsAtStake(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books")

	t.Run("TakesOffWhatItPutOn", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		all := d.appendEach(4, "books")
		// The oldest comes last, one is let past, one hangs on both.
		if n := d.finish(at(missing(all[1], 0, "TEA"), "mall", false), at(missing(all[2], 0, "TEA", "ICE"), "kiosk", false), at(missing(all[3], 0, "TEA"), "", true)); n != 3 {
			t.Fatalf("%d were held", n)
		}
		d.finish(at(missing(all[0], 0, "TEA"), "mall", false))
		s.worthy()
		want := []string{"ICE blocks 1 kiosk=1 since e3", "TEA blocks 3 kiosk=1 mall=2 since e1"}
		if diff := cmp.Diff(want, s.stakes()); diff != "" {
			t.Errorf("at stake (-want +got):\n%s", diff)
		}
		held := d.open("books")
		slices.SortFunc(held, func(a, b *outbox.Delivery) int { return a.EventAt.Compare(b.EventAt) })
		s.skip(held[0], "skip the oldest")
		s.worthy()
		want[1] = "TEA blocks 2 kiosk=1 mall=1 since e2"
		if diff := cmp.Diff(want, s.stakes()); diff != "" {
			t.Errorf("once the oldest has gone (-want +got):\n%s", diff)
		}
		s.retry(held[2], "retry what hangs on both")
		s.worthy()
		s.step(outbox.StepDismiss, "TEA")
		d.release()
		s.worthy()
		want = []string{"ICE blocks 0 kiosk=0 nothing", "TEA blocks 0 kiosk=0 mall=0 nothing"}
		if diff := cmp.Diff(want, s.stakes()); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
	})

	// Two who take the oldest and the next one away at once leave neither behind.
	t.Run("WhileOthersDo", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		var held []outbox.Transition
		for i, delivery := range d.appendEach(24, "books") {
			held = append(held, at(missing(delivery, 0, "TEA"), fmt.Sprint("o", i%3), i%4 == 0))
		}
		d.finish(held...)
		s.worthy()
		left := d.open("books")
		slices.SortFunc(left, func(a, b *outbox.Delivery) int { return a.EventAt.Compare(b.EventAt) })
		var all sync.WaitGroup
		for i, delivery := range left[:20] {
			all.Go(func() {
				if i%2 == 0 {
					s.retry(delivery, fmt.Sprint("retry ", i))
				} else {
					s.skip(delivery, fmt.Sprint("skip ", i))
				}
			})
		}
		all.Wait()
		s.worthy()
		if diff := cmp.Diff([]string{"TEA blocks 3 o0=1 o1=1 o2=2 since e21"}, s.stakes()); diff != "" {
			t.Errorf("what is left (-want +got):\n%s", diff)
		}
	})
}

// Rules change how much an exception matters, each change with its entry and why.
func TestSweeper_Severities(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d, w := s.dispatcher(), s.sweeper()
	d.finish(costing(missing(d.deliveryOf("e1", "order/1", "books"), 0, "TEA"), "IDR", "6000000"), missing(d.deliveryOf("e2", "order/2", "books"), 0, "ICE"))
	rule := func(f *outbox.ExceptionFacts) (string, string) {
		if f.Exposure["IDR"] > 5_000_000 {
			return "HIGH", "by rule 1: exposure.IDR > 5000000"
		}
		return "", ""
	}
	none := func(*outbox.ExceptionFacts) (string, string) { return "", "" }
	for _, step := range []struct {
		of   func(*outbox.ExceptionFacts) (string, string)
		want []string
	}{
		{rule, []string{"TEA by rule 1: exposure.IDR > 5000000 MEDIUM HIGH"}},
		{rule, []string{"TEA by rule 1: exposure.IDR > 5000000 MEDIUM HIGH"}}, // once
		{none, []string{"TEA by rule 1: exposure.IDR > 5000000 MEDIUM HIGH", "TEA as its class says: no rule holds HIGH MEDIUM"}},
	} {
		if err := w.Severities(t.Context(), "kopi", step.of); err != nil {
			t.Fatal(err)
		}
		told := column[string](s, `SELECT concat_ws(' ', x.code, t.reason, t.detail ->> 'from', t.detail ->> 'to', t.actor) FROM timeline t JOIN exceptions x ON x.id = t.exception
			WHERE t.what = 'severity' ORDER BY t.at, t.entry`)
		if diff := cmp.Diff(step.want, told); diff != "" {
			t.Errorf("the timeline (-want +got):\n%s", diff)
		}
	}
}
