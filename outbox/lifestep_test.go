package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// numbered is the newest exception of a code.
func (s *shop) numbered(code string) int64 {
	s.t.Helper()
	return one[int64](s, `SELECT max(id) FROM exceptions WHERE code = $1`, code)
}

func (s *shop) step(step outbox.ExceptionStep, code string) outbox.ExceptionStepped {
	s.t.Helper()
	done, err := s.StepException(s.t.Context(), clerk, outbox.ExceptionRequest{
		RequestID: fmt.Sprint(step, code, time.Now().UnixNano()), Reason: "because", Exception: s.numbered(code), Step: step, Until: time.Now().Add(time.Hour),
	})
	if err != nil {
		s.t.Fatalf("%s: %v", step, err)
	}
	return done
}

// worth lists what is at stake.
func (s *shop) worth() []string {
	return column[string](s, `SELECT concat_ws(' ', x.code, e.currency, trim_scale(e.amount), trim_scale(e.units), e.deliveries)
	  FROM exposures e JOIN exceptions x ON x.id = e.exception ORDER BY x.code COLLATE "C", e.currency`)
}

// worthy wants every exposure, count of blocked keys, oldest time and count by outlet to be
// what is held says.
func (s *shop) worthy() {
	s.t.Helper()
	if n := one[int](s, `SELECT count(*) FROM (
		SELECT exception, currency, amount, units, deliveries FROM exposures
		EXCEPT SELECT exception, currency, coalesce(sum(amount), 0), coalesce(sum(units), 0), count(*) FROM holds WHERE currency IS NOT NULL GROUP BY exception, currency) AS off`); n != 0 {
		s.t.Errorf("%d exposures are not the sum of what is held", n)
	}
	if off := column[string](s, `SELECT format('%s: %s blocked, oldest %s; want %s, %s', x.code, x.blocked, x.oldest_at, h.blocked, h.oldest) FROM exceptions x
		CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE blocks) AS blocked, min(event_at) AS oldest FROM holds WHERE exception = x.id) AS h
		WHERE x.blocked <> h.blocked OR x.closed_at IS NULL AND x.oldest_at IS DISTINCT FROM h.oldest`); len(off) != 0 {
		s.t.Errorf("not as what is held says: %v", off)
	}
	if n := one[int](s, `SELECT count(*) FROM held_outlets o WHERE held <> (SELECT count(*) FROM holds h WHERE h.exception = o.exception AND h.outlet = o.outlet)`); n != 0 {
		s.t.Errorf("%d counts by outlet are not those of what is held", n)
	}
}

func costing(t outbox.Transition, currency, amount string) outbox.Transition {
	t.Exposure = &outbox.Exposure{Currency: currency, Amount: amount, Units: "2"}
	return t
}

func TestStore_StepException(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("DismissingSkipsWhatItHolds", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		both := missing(d.deliveryOf("e1", "order/1", "books"), 0, "TEA", "ICE")
		behind := d.deliveryOf("e2", "order/1", "books")
		other := missing(d.deliveryOf("e3", "order/3", "books"), 0, "ICE")
		if n := d.finish(costing(both, "IDR", "31000"), costing(other, "USD", "2.50")); n != 2 {
			t.Fatalf("%d were held", n)
		}
		s.worthy()
		if diff := cmp.Diff([]string{"ICE IDR 31000 2 1", "ICE USD 2.5 2 1", "TEA IDR 31000 2 1"}, s.worth()); diff != "" {
			t.Errorf("at stake (-want +got):\n%s", diff)
		}
		if done := s.step(outbox.StepDismiss, "TEA"); done.Held != 1 || done.Status != outbox.Dismissed {
			t.Errorf("dismissed: %+v", done)
		}
		d.release()
		s.orderly()
		s.worthy()
		if diff := cmp.Diff([]string{"ICE 1 NEEDS_ACTION", "TEA 0 DISMISSED"}, s.causes()); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"ICE USD 2.5 2 1"}, s.worth()); diff != "" {
			t.Errorf("at stake (-want +got):\n%s", diff)
		}
		if got := column[string](s, `SELECT concat_ws(' ', what, state, actor, reason) FROM timeline WHERE what = 'skip'`); !cmp.Equal(got, []string{"skip SKIPPED ayu because"}) {
			t.Errorf("the timeline says %v", got)
		}
		if n := one[int](s, `SELECT sum(skipped) FROM tallies`); n != 1 {
			t.Errorf("%d count as skipped", n)
		}
		if open := d.open("books"); len(open) != 2 || open[0].Event != behind.Event && open[1].Event != behind.Event {
			t.Errorf("open: %v", open)
		}
		if n := one[int](s, `SELECT count(*) FROM due`); n != 1 {
			t.Errorf("what waits behind it is not woken: %d due", n)
		}
	})

	t.Run("RetriesWhatItHoldsAndComesBack", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("e1", "order/1", "books")
		d.finish(costing(missing(a, 0, "TEA"), "IDR", "5"))
		first := s.numbered("TEA")
		if done := s.step(outbox.StepRetry, "TEA"); done.Held != 1 || done.Status != outbox.Resolved {
			t.Errorf("retried: %+v", done)
		}
		// Whatever fails from now on is another's, though the first still holds something.
		d.finish(missing(d.deliveryOf("e2", "order/2", "books"), 0, "TEA"))
		second := s.numbered("TEA")
		if second == first {
			t.Fatal("the cut-off does not hold")
		}
		if n := d.release(); n != 1 {
			t.Errorf("%d were set free", n)
		}
		s.orderly()
		s.worthy()
		if got := column[string](s, `SELECT concat_ws(' ', status, reopened, earlier) FROM exceptions ORDER BY id`); !cmp.Equal(got, []string{"RESOLVED 0", fmt.Sprint("NEEDS_ACTION 1 ", first)}) {
			t.Errorf("exceptions: %v", got)
		}
		s.step(outbox.StepRetry, "TEA")
		d.release()
		s.exec(`UPDATE exceptions SET closed_at = closed_at - interval '31 days' WHERE closed_at IS NOT NULL`)
		d.finish(missing(d.deliveryOf("e3", "order/3", "books"), 0, "TEA"))
		if n := one[int](s, `SELECT reopened FROM exceptions WHERE closed_at IS NULL`); n != 0 {
			t.Errorf("after a month it came back %d times", n)
		}
	})

	t.Run("OfTwoPeopleOneIsFirst", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.finish(missing(d.deliveryOf("e1", "order/1", "books"), 0, "TEA"))
		x := s.numbered("TEA")
		version := one[int32](s, `SELECT version FROM exceptions`)
		// It gains another delivery after they looked at it, which is no conflict.
		d.finish(missing(d.deliveryOf("e2", "order/2", "books"), 0, "TEA"))
		var group sync.WaitGroup
		errs := make([]error, 2)
		for i, name := range []string{"ayu", "budi"} {
			group.Go(func() {
				_, errs[i] = s.StepException(t.Context(), outbox.Actor{Tenant: "kopi", Name: name}, outbox.ExceptionRequest{
					RequestID: name, Reason: "mine", Exception: x, Step: outbox.StepStart, ExpectedVersion: &version,
				})
			})
		}
		group.Wait()
		winner := one[string](s, `SELECT assignee FROM exceptions`)
		lost := errs[0]
		if winner == "ayu" {
			lost = errs[1]
		}
		var conflict *outbox.StepConflict
		if !errors.As(lost, &conflict) || conflict.Actor != winner || conflict.Status != outbox.InProgress || !strings.Contains(lost.Error(), "start by "+winner+": mine") {
			t.Errorf("%v and %v, %s was first", errs[0], errs[1], winner)
		}
		if errs[0] != nil && errs[1] != nil {
			t.Error("neither was first")
		}
	})

	t.Run("ARepeatChangesNothing", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.finish(missing(d.deliveryOf("e1", "order/1", "books"), 0, "TEA"))
		q := outbox.ExceptionRequest{RequestID: "r", Reason: "seen", Exception: s.numbered("TEA"), Step: outbox.StepAcknowledge, Until: time.Now().Add(time.Hour)}
		first, err := s.StepException(t.Context(), clerk, q)
		if err != nil {
			t.Fatal(err)
		}
		s.step(outbox.StepStart, "TEA")
		again, err := s.StepException(t.Context(), clerk, q)
		if err != nil || again.Version != first.Version || again.Status != first.Status {
			t.Errorf("%+v and %+v, %v", first, again, err)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'acknowledge' AND actor = 'ayu' AND detail ? 'until'`); n != 1 {
			t.Errorf("%d entries", n)
		}
	})

	t.Run("ReopensBesideNoOther", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.finish(missing(d.deliveryOf("e1", "order/1", "books"), 0, "TEA"))
		first := s.numbered("TEA")
		s.step(outbox.StepRetry, "TEA")
		reopen := func() error {
			_, err := s.StepException(t.Context(), clerk, outbox.ExceptionRequest{RequestID: fmt.Sprint(time.Now().UnixNano()), Reason: "again", Exception: first, Step: outbox.StepReopen})
			return err
		}
		var refusal *outbox.Refusal
		if err := reopen(); !errors.As(err, &refusal) {
			t.Errorf("while it lets go: %v", err)
		}
		d.release()
		d.finish(missing(d.deliveryOf("e2", "order/2", "books"), 0, "TEA"))
		if err := reopen(); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "same cause") {
			t.Errorf("beside another: %v", err)
		}
		s.step(outbox.StepRetry, "TEA")
		if err := reopen(); err != nil {
			t.Errorf("alone: %v", err)
		}
		// The cause that comes back joins what is open.
		d.release()
		d.finish(missing(d.deliveryOf("e3", "order/3", "books"), 0, "TEA"))
		if got := column[string](s, `SELECT concat_ws(' ', status, held, reopened) FROM exceptions WHERE id = $1`, first); !cmp.Equal(got, []string{"NEEDS_ACTION 1 1"}) {
			t.Errorf("it is %v", got)
		}
	})

	t.Run("WhatIsPutAsideIsNotRaisedAtOnce", func(t *testing.T) {
		s := shop.emptied(t)
		c := configuration("kopi", "books", "stock")
		c.Sources[0].SilentAfter = time.Hour
		s.apply(c)
		w, heard := s.sweeper(), &outbox.Heard{}
		silent := func() int {
			if err := w.Silent(t.Context(), heard, time.Second); err != nil {
				t.Fatal(err)
			}
			return one[int](s, `SELECT count(*) FROM exceptions WHERE class = 'SOURCE_SILENT'`)
		}
		silent()
		s.hours(2)
		silent()
		s.step(outbox.StepDismiss, "")
		if n := silent(); n != 1 {
			t.Errorf("a silence that was put aside is raised again: %d", n)
		}
		heard.Note(s.source)
		silent()
		s.exec(`UPDATE exceptions SET closed_at = closed_at - interval '2 hours'`)
		s.hours(2)
		if n := silent(); n != 2 {
			t.Errorf("the next silence is not raised: %d", n)
		}

		s.append(s.writer(), s.entry("e1", "order/1", "books"))
		s.age(2 * time.Hour)
		late := s.sweeper()
		s.late(late, time.Hour)
		s.step(outbox.StepDismiss, "")
		s.late(late, time.Hour)
		if got := s.lateNow(); got != [2]int{0, 1} { // it is a member of that one still
			t.Errorf("what is late and was put aside: %v", got)
		}
	})

	t.Run("SeverityByClass", func(t *testing.T) {
		s := shop.emptied(t)
		s.exec(`INSERT INTO exceptions (tenant, class) SELECT 'kopi', c FROM unnest(ARRAY['AUTH_REVOKED', 'RETRIES_EXHAUSTED', 'VALIDATION', 'AUTH_EXPIRING']) c`)
		if got := column[string](s, `SELECT severity FROM exceptions ORDER BY id`); !cmp.Equal(got, []string{"CRITICAL", "HIGH", "MEDIUM", "LOW"}) {
			t.Errorf("severities %v", got)
		}
	})
}
