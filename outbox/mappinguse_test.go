package outbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// made is what requests were made with, a line each.
func (s *shop) made() []string {
	s.t.Helper()
	return column[string](s, `
SELECT concat_ws(' ', e.id, m.attempts[x.request], m.names[x.entry], m.looked[x.entry], m.targets[x.entry], m.versions[x.entry], m.shared[x.entry], m.fallback[x.entry], m.at = i.at)
  FROM mapping_used m CROSS JOIN LATERAL unnest(m.requests, m.entries) AS x(request, entry)
  JOIN events e ON e.seq = m.events[x.request] AND e.accepted_at = m.event_ats[x.request]
  LEFT JOIN intents i ON true
 ORDER BY 1`)
}

func TestReplica_IntendKeepsWhatRequestsAreMadeWith(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")
	sku := func(value, target string) outbox.LookedUp {
		return outbox.LookedUp{Table: "sku", Value: value, MappingEntry: outbox.MappingEntry{Target: target, Version: 7, Shared: true}}
	}
	walkIn := outbox.LookedUp{Table: "customer", Value: "77", MappingEntry: outbox.MappingEntry{Target: "WALK-IN", Version: 3, Default: true}}

	t.Run("InTheIntentsTransaction", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b, c := d.deliveryOf("e1", "order/1", "books"), d.deliveryOf("e2", "order/2", "books"), d.deliveryOf("e3", "order/3", "books")
		if _, err := s.Skip(t.Context(), clerk, request(c, "changed since it was read")); err != nil {
			t.Fatal(err)
		}
		number := d.NextBatch()
		uses := []outbox.Using{{Delivery: a, LookedUp: []outbox.LookedUp{sku("TEA", "I-1"), walkIn}}, {Delivery: b, LookedUp: []outbox.LookedUp{sku("TEA", "I-1")}}, {Delivery: c, LookedUp: []outbox.LookedUp{sku("TEA", "I-1")}}}
		for range 2 { // the second time as after a lost answer
			stored, err := d.Intend(t.Context(), number, d.leases(), []*outbox.Delivery{a, b, c}, uses...)
			if err != nil || stored.Size != 2 {
				t.Fatalf("%v, %v", stored, err)
			}
		}
		want := []string{"e1 1 customer 77 WALK-IN 3 f t t", "e1 1 sku TEA I-1 7 t f t", "e2 1 sku TEA I-1 7 t f t"}
		if diff := cmp.Diff(want, s.made()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if n := one[int](s, `SELECT cardinality(names) FROM mapping_used`); n != 2 {
			t.Errorf("%d entries are kept, of which each is wanted once", n)
		}
	})

	// Whoever has lost the claim is not announced with those that have won one.
	t.Run("WithClaimsOfWhichOneIsLost", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b, c := d.deliveryOf("e1", "order/1", "books"), d.deliveryOf("e2", "order/2", "books"), d.deliveryOf("e3", "order/3", "books")
		using := func(of *outbox.Delivery) outbox.Using {
			return outbox.Using{Delivery: of, LookedUp: []outbox.LookedUp{sku("TEA", "I-1")}}
		}
		number := d.NextBatch()
		if _, _, err := d.IntendClaiming(t.Context(), number, d.leases(), []*outbox.Delivery{a}, []outbox.Claim{{Effect: "invoice/1", Key: "k"}}); err != nil {
			t.Fatal(err)
		}
		if err := d.Prune(t.Context(), []int64{number}); err != nil {
			t.Fatal(err)
		}
		stored, _, err := d.IntendClaiming(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{b, c},
			[]outbox.Claim{{Effect: "invoice/1", Key: "l"}, {Effect: "invoice/2", Key: "m"}}, using(b), using(c))
		if err != nil || stored.Size != 1 || stored.Announces(b) || !stored.Announces(c) {
			t.Fatalf("announced are %+v, %v; want the one that has its claim", stored, err)
		}
		if diff := cmp.Diff([]string{"e3 1 sku TEA I-1 7 t f t"}, s.made()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})

	t.Run("WithAClaim", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b := d.deliveryOf("e1", "order/1", "books"), d.deliveryOf("e2", "order/2", "books")
		intend := func(of *outbox.Delivery) bool {
			stored, _, err := d.IntendClaiming(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{of}, []outbox.Claim{{Effect: "invoice/1", Key: "k"}},
				outbox.Using{Delivery: of, LookedUp: []outbox.LookedUp{sku("TEA", "I-1")}})
			if err != nil {
				t.Fatal(err)
			}
			return stored.Announces(of)
		}
		if !intend(a) || intend(b) {
			t.Fatal("the first was to have the claim")
		}
		if diff := cmp.Diff([]string{"e1 1 sku TEA I-1 7 t f t"}, s.made()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})

	t.Run("NothingOfALostLease", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("e1", "order/1", "books")
		s.exec(`UPDATE lanes SET epoch = epoch + 1`)
		if _, err := d.Intend(t.Context(), d.NextBatch(), d.leases(), []*outbox.Delivery{a}, outbox.Using{Delivery: a, LookedUp: []outbox.LookedUp{walkIn}}); err == nil {
			t.Fatal("it was stored")
		}
		if got := s.made(); len(got) != 0 {
			t.Errorf("kept: %v", got)
		}
	})

	t.Run("GoesWithTheEventsOfItsTime", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		old, recent := d.deliveryOf("e1", "order/1", "books"), d.deliveryOf("e2", "order/2", "stock")
		used := []outbox.LookedUp{walkIn}
		first := one[time.Time](s, `SELECT raffsync_events_since()`)
		if err := d.RecordUses(t.Context(), first.Add(-time.Second), []outbox.Using{{Delivery: old, LookedUp: used}}); err != nil {
			t.Fatal(err)
		}
		if err := d.RecordUses(t.Context(), first, []outbox.Using{{Delivery: recent, LookedUp: used}}); err != nil {
			t.Fatal(err)
		}
		s.exec(`INSERT INTO snapshots (lane, destination, route, ordering_key, tenant, kind, number, text, event, applied_at) SELECT lane, destination, route, 'k', tenant, 1, 1, '', 'e', '-infinity' FROM deliveries`)
		if err := s.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.made(); len(got) != 1 || !strings.HasPrefix(got[0], "e2 ") {
			t.Errorf("kept: %v", got)
		}
		if n := one[int](s, `SELECT count(*) FROM snapshots`); n != 2 {
			t.Errorf("%d snapshots are left", n)
		}
	})

	// What the version before this one writes while both run.
	t.Run("TurnsOverWhatTheVersionBeforeWrites", func(t *testing.T) {
		s := shop.emptied(t)
		s.dispatcher().deliveryOf("e1", "order/1", "books")
		for range 2 {
			s.exec(`SET ROLE raffsync_engine;
				INSERT INTO mapping_uses (tenant, name, value, destination, at, event, event_at, replay, attempt, step, shared, fallback, version, target, route)
				  SELECT tenant, 'sku', 'TEA', destination, now(), event, event_at, 0, 1, 0, true, false, 7, 'I-1', route FROM deliveries ON CONFLICT DO NOTHING;
				RESET ROLE`)
		}
		if got := s.made(); len(got) != 2 || !strings.HasPrefix(got[0], "e1 1 sku TEA I-1 7 t f") {
			t.Errorf("kept: %v", got)
		}
	})
}
