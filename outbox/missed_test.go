package outbox_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// missing is the end of a Prepare that looked these values up in the table sku in vain,
// in the mappings of a version.
func missing(d *outbox.Delivery, version int64, values ...string) outbox.Transition {
	t := outbox.Transition{
		Delivery: d, To: outbox.StateNeedsAction, Spent: d.Attempts, Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_SKU_UNMAPPED, Reason: "no SKU",
		Missed: &outbox.Missed{Version: version},
	}
	for i, value := range values {
		t.Missed.LookUps = append(t.Missed.LookUps, outbox.LookUp{Class: "SKU_UNMAPPED", Table: "sku", Value: value, Path: fmt.Sprintf("lines[%d]", i)})
	}
	return t
}

// answered stores entries of the table sku for all destinations, as a change of the
// mappings does, and releases what they answer.
func (s *shop) answered(values ...string) outbox.Released {
	s.t.Helper()
	var done outbox.Released
	err := pgx.BeginFunc(s.t.Context(), s.API(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(s.t.Context(), `SELECT set_config('raffsync.tenant', 'kopi', true)`); err != nil {
			return err
		}
		if _, err := tx.Exec(s.t.Context(), `INSERT INTO mapping_entries (tenant, name, value, target, version) SELECT 'kopi', 'sku', v, 'T', 1 FROM unnest($1::text[]) v`, values); err != nil {
			return err
		}
		var err error
		done, err = outbox.ReleaseAnswered(s.t.Context(), tx, outbox.Answer{Tenant: "kopi", Version: 1, Actor: "ayu", Reason: "mapped it", Tables: []string{"sku"}, Values: values})
		if err != nil {
			return err
		}
		// Last of all, as a long import would: what is locked is locked for a commit only.
		_, err = tx.Exec(s.t.Context(), `INSERT INTO mapping_versions (tenant, version) VALUES ('kopi', 1) ON CONFLICT (tenant) DO UPDATE SET version = mapping_versions.version + 1`)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (d *dispatcher) release() int {
	d.shop.t.Helper()
	freed, err := d.ReleaseAll(d.shop.t.Context(), d.heldLanes())
	if err != nil {
		d.shop.t.Fatal(err)
	}
	return freed
}

func (d *dispatcher) heldLanes() []int16 {
	var lanes []int16
	for lane := range d.lanes {
		lanes = append(lanes, lane)
	}
	return lanes
}

// causes lists exceptions by their codes: what they hold, and whether they are open.
func (s *shop) causes() []string {
	return column[string](s, `SELECT concat_ws(' ', code, held, status) FROM exceptions ORDER BY code COLLATE "C", id`)
}

// orderly wants all counts to be those of the rows.
func (s *shop) orderly() {
	s.t.Helper()
	for what, sql := range map[string]string{
		"an exception counts what it does not hold": `SELECT count(*) FROM exceptions x WHERE held <> (SELECT count(*) FROM holds h WHERE h.exception = x.id)`,
		"an exception is open that holds nothing":   `SELECT count(*) FROM exceptions WHERE closed_at IS NULL AND held = 0`,
		"a delivery is listed under what does not hold it": `SELECT count(*) FROM deliveries d WHERE state = 2
			AND NOT EXISTS (SELECT FROM holds h WHERE h.exception = d.exception AND h.lane = d.lane AND h.destination = d.destination AND h.seq = d.seq)`,
		"something holds a delivery that needs no action": `SELECT count(*) FROM holds h
			WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.state = 2 AND h.lane = d.lane AND h.destination = d.destination AND h.seq = d.seq)`,
		"the tallies count what needs no action": `SELECT abs((SELECT coalesce(sum(needs_action), 0) FROM tallies) - (SELECT count(*) FROM deliveries WHERE state = 2))::bigint`,
		"a release is left over":                 `SELECT count(*) FROM releases r JOIN exceptions x ON x.id = r.exception WHERE x.held = 0 OR x.closed_at IS NULL`,
	} {
		if n := one[int](s, sql); n != 0 {
			s.t.Errorf("%s: %d", what, n)
		}
	}
}

func TestReplica_HoldsByLookUps(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("OneExceptionForManyAndManyForOne", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		var all []outbox.Transition
		for i := range 5 {
			a := d.deliveryOf(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books")
			values := []string{"TEA"}
			if i == 0 {
				values = []string{"TEA", "MILK", "TEA", "ICE"}
			}
			all = append(all, missing(a, 0, values...))
		}
		if n := d.finish(all...); n != 5 {
			t.Fatalf("%d were held, want 5", n)
		}
		if diff := cmp.Diff([]string{"ICE 1 NEEDS_ACTION", "MILK 1 NEEDS_ACTION", "TEA 5 NEEDS_ACTION"}, s.causes()); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
		if got := one[string](s, `SELECT sample FROM exceptions WHERE code = 'MILK'`); got != `the mapping table sku has nothing for "MILK", which lines[1] asks for` {
			t.Errorf("the words are %q", got)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'exception'`); n != 3 {
			t.Errorf("%d exceptions were announced, want 3", n)
		}
		s.orderly()

		// It goes on with the last of its causes only.
		if done := s.answered("TEA", "MILK"); done != (outbox.Released{Exceptions: 2, Deliveries: 6}) {
			t.Errorf("released %+v, want two exceptions with six holds", done)
		}
		if n := d.release(); n != 4 {
			t.Errorf("%d were set free, want four", n)
		}
		s.orderly()
		if diff := cmp.Diff([]string{"ICE 1 NEEDS_ACTION", "MILK 0 RESOLVED", "TEA 0 RESOLVED"}, s.causes()); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
		s.answered("ICE")
		if n := d.release(); n != 1 {
			t.Errorf("%d were set free, want the last", n)
		}
		s.orderly()
		for _, o := range d.open("books") {
			if o.State != outbox.Pending || o.Attempts != 0 || o.Revision != 0 {
				t.Errorf("the delivery is %+v, want it pending as before", o)
			}
		}
		if n := one[int](s, `SELECT count(*) FROM due`); n != 5 {
			t.Errorf("%d are due, want all five", n)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'release' AND state = 'PENDING' AND actor = 'ayu' AND reason = 'mapped it' AND exception IS NOT NULL`); n != 5 {
			t.Errorf("%d entries tell of it, want five", n)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'resolved' AND actor = 'ayu' AND detail->>'mappings' IS NOT NULL`); n != 3 {
			t.Errorf("%d exceptions are told to be resolved, want three", n)
		}
	})

	t.Run("LongValuesStayApart", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		long := strings.Repeat("x", 300)
		longer := strings.Repeat("x", 600)
		d.finish(missing(d.deliveryOf("a", "order/1", "books"), 0, long+"1", long+"2", longer+"1", longer+"2", "nul\x00", "nul\uFFFD"))
		if n := one[int](s, `SELECT count(DISTINCT code) FROM exceptions WHERE held = 1`); n != 6 {
			t.Errorf("%d causes, want six", n)
		}
		if done := s.answered(long + "1"); done.Exceptions != 1 {
			t.Errorf("%d are released by a long value, want one", done.Exceptions)
		}
		s.exec(`INSERT INTO mapping_entries (tenant, name, value, target, version) VALUES ('kopi', 'sku', '', 'OTHER', 2)`)
		if done := s.answered("OTHER"); done.Exceptions != 0 {
			t.Errorf("%d are released by another value, want none", done.Exceptions)
		}
		s.exec(`DELETE FROM mapping_entries WHERE value = ''`)
		if done := s.answered(""); done.Exceptions != 5 {
			t.Errorf("%d are released by a default, want the five that are left", done.Exceptions)
		}
		if n := d.release(); n != 1 {
			t.Errorf("%d were set free, want one", n)
		}
		s.orderly()
	})

	t.Run("AnOperatorTakesItOffAllItsCauses", func(t *testing.T) {
		for name, operate := range both {
			s := shop.emptied(t)
			d := s.dispatcher()
			a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
			d.finish(missing(a, 0, "TEA", "MILK"), missing(b, 0, "MILK"))
			s.answered("TEA") // and the owner of the lane has not come by yet
			a.Version++
			if _, err := operate(s.Store, t.Context(), clerk, request(a, name)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"MILK 1 NEEDS_ACTION", "TEA 0 RESOLVED"}, s.causes()); diff != "" {
				t.Errorf("%s: causes (-want +got):\n%s", name, diff)
			}
			s.orderly()
			if n := d.release(); n != 0 {
				t.Errorf("%s: %d were set free after it", name, n)
			}
		}
	})

	t.Run("WhatRefusesAndWhatMissesCountApart", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
		c, e := d.deliveryOf("c", "order/3", "stock"), d.deliveryOf("e", "order/4", "books")
		d.intend(b)
		d.intend(e)
		s.changed(c)
		d.finish(missing(a, 0, "TEA"), attempt(b, outbox.StateNeedsAction), missing(c, 0, "ICE"), attempt(e, outbox.StateDelivered))
		if diff := cmp.Diff([]string{"TEA 1 NEEDS_ACTION", "unknown_sku 1 NEEDS_ACTION"}, s.causes()); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
		s.orderly()
	})

	t.Run("OnlyItsOwnDestination", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.finish(missing(d.deliveryOf("a", "order/1", "books"), 0, "TEA"), missing(d.deliveryOf("b", "order/2", "stock"), 0, "TEA"))
		s.exec(`INSERT INTO mapping_entries (tenant, name, destination, value, target, version) VALUES ('kopi', 'sku', $1, 'TEA', 'T', 1)`, s.destinations["stock"])
		if done := s.answered("MILK", "TEA2"); done.Exceptions != 0 {
			t.Errorf("%d are released by other values", done.Exceptions)
		}
		err := pgx.BeginFunc(t.Context(), s.db, func(tx pgx.Tx) error {
			done, err := outbox.ReleaseAnswered(t.Context(), tx, outbox.Answer{Tenant: "kopi", Version: 2, Actor: "ayu", Reason: "r"})
			if done.Exceptions != 1 {
				t.Errorf("%d are released, want that of the stock", done.Exceptions)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := one[int32](s, `SELECT destination FROM exceptions WHERE closed_at IS NOT NULL`); got != s.destinations["stock"] {
			t.Errorf("that of destination %d is resolved", got)
		}
	})

	t.Run("NotByOlderMappings", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("a", "order/1", "books")
		s.answered("TEA")
		if n := d.finish(missing(a, 0, "TEA")); n != 0 {
			t.Error("it is held by what newer mappings answer")
		}
		if n := d.finish(missing(a, 1, "ICE")); n != 1 {
			t.Error("it is not held by what today's mappings lack")
		}
		s.orderly()
	})
}

// A mapping comes at the very moment in which a delivery is held for the lack of it,
// again and again: nothing stays stuck.
func TestReplica_NoReleaseIsLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	const n = 300
	w := s.writer()
	for i := range n {
		s.append(w, s.entry(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books"))
	}
	deliveries := d.open("books")
	for i, a := range deliveries {
		value := fmt.Sprint("sku ", i)
		version := one[int64](s, `SELECT coalesce(max(version), 0) FROM mapping_versions`)
		var both sync.WaitGroup
		both.Go(func() { s.answered(value) })
		both.Go(func() {
			if rand.IntN(2) == 0 {
				_ = one[int](s, `SELECT 1`) // a moment later
			}
			d.finish(missing(a, version, value))
		})
		both.Wait()
	}
	d.release()
	if stuck := one[int](s, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL`); stuck != 0 {
		t.Errorf("%d of %d are held by what has long been mapped", stuck, n)
	}
	if held := one[int](s, `SELECT count(*) FROM deliveries WHERE state = 2`); held != 0 {
		t.Errorf("%d deliveries are held by it", held)
	}
	t.Logf("%d were held first, the others prepared again", one[int](s, `SELECT count(*) FROM exceptions`))
	s.orderly()
}

// Replicas hold, release and skip at once, with causes in common, and none waits for
// another in a circle.
func TestReplica_HoldsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	const n = 600
	w := s.writer()
	for i := range n {
		s.append(w, s.entry(fmt.Sprint("e", i), fmt.Sprint("order/", i), "books"))
	}
	values := []string{"A", "B", "C", "D", "E"}
	replicas := []*dispatcher{s.join(), s.join(), s.join()}
	for changed := true; changed; {
		changed = false
		for _, d := range replicas {
			changed = d.spread() || changed
		}
	}
	var all sync.WaitGroup
	for _, d := range replicas {
		var mine []*outbox.Delivery
		for _, a := range d.open("books") {
			if _, held := d.lanes[a.Lane]; held {
				mine = append(mine, a)
			}
		}
		all.Go(func() {
			for len(mine) > 0 {
				page := mine[:min(10, len(mine))]
				mine = mine[len(page):]
				version := one[int64](s, `SELECT coalesce(max(version), 0) FROM mapping_versions`)
				var transitions []outbox.Transition
				for _, a := range page {
					some := rand.Perm(len(values))[:3]
					transitions = append(transitions, missing(a, version, values[some[0]], values[some[1]], values[some[2]]))
				}
				stored, err := d.Finish(t.Context(), d.leasesOf(page...), transitions)
				if err != nil {
					t.Errorf("finish: %v", err)
					return
				}
				for _, a := range page {
					if !stored[a.Position()] {
						mine = append(mine, a) // the mappings have changed
						continue
					}
					a.Version++
					if rand.IntN(3) == 0 {
						all.Go(func() {
							var refusal *outbox.Refusal
							if _, err := s.Retry(t.Context(), clerk, request(a, fmt.Sprint("r", a.Seq))); err != nil && !errors.As(err, &refusal) && !errors.Is(err, outbox.ErrConflict) {
								t.Errorf("retry: %v", err)
							}
						})
					}
				}
			}
		})
	}
	all.Go(func() {
		for _, value := range []string{"E", "B", "A"} {
			s.answered(value)
			for _, d := range replicas {
				if _, err := d.ReleaseAll(t.Context(), d.heldLanes()); err != nil {
					t.Errorf("release: %v", err)
				}
			}
		}
	})
	all.Wait()
	s.answered("C", "D")
	s.answered() // and whatever was missed after it was mapped, which is this test's doing
	for _, d := range replicas {
		d.release()
	}
	if held := one[int](s, `SELECT count(*) FROM deliveries WHERE state = 2`); held != 0 {
		t.Errorf("%d deliveries are held though every value is mapped", held)
	}
	s.orderly()
}
