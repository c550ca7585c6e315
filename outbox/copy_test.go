package outbox_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// manyEntries are enough for COPY, and for several messages of rows, with everything that
// an event may have or lack.
func manyEntries(s *shop, prefix string) []outbox.Entry {
	var batch []outbox.Entry
	for i := range outbox.CopyFrom + 152 {
		targets := []string{"books", "stock"}[:i%3]
		e := s.entry(fmt.Sprintf("%s-%03d", prefix, 999-i), fmt.Sprintf("order/%d", i%7), targets...)
		if i%4 == 0 {
			e.Event.OccurredAt = time.Time{}
		}
		if i%5 == 0 {
			e.Event.References = map[string]string{"order": fmt.Sprint(i), "invoice": "INV-é"}
		}
		if i%6 == 0 {
			e.Event.Payload = nil
		}
		if i%50 == 1 {
			e.Event.Payload = bytes.Repeat([]byte{byte(i)}, 100<<10)
		}
		if i%8 == 0 {
			e.Event.Outlet = "mall"
		}
		batch = append(batch, e)
	}
	return batch
}

// What a large batch leaves behind is what the same events leave behind one by one.
func TestWriter_AppendByCopy(t *testing.T) {
	t.Parallel()
	house := newShop(t, "books", "stock")
	// Positions and times differ from run to run; everything else is the same.
	contents := []string{
		`SELECT row(i.tenant, i.source, i.id, i.hash, e.id)::text FROM event_ids i JOIN events e ON e.tenant = i.tenant AND e.seq = i.seq AND e.accepted_at = i.accepted_at ORDER BY i.id`,
		`SELECT row(tenant, key_hash, source, lane, unrouted, CASE WHEN occurred_at = accepted_at THEN 'accepted' ELSE occurred_at::text END, id, type, ordering_key, outlet, content_type, refs, payload)::text FROM events ORDER BY id`,
		`SELECT row(r.tenant, r.value, r.name, e.id)::text FROM event_references r JOIN events e USING (tenant, accepted_at, seq) ORDER BY e.id, r.name`,
		`SELECT row(d.tenant, d.lane, d.destination, d.key_hash, d.route, d.state, d.version, d.requests, d.replay, e.id)::text FROM deliveries d JOIN events e ON e.seq = d.event AND d.seq = d.event AND e.accepted_at = d.event_at AND d.accepted_at = d.event_at ORDER BY e.id, d.destination`,
		`SELECT row(t.tenant, t.what, t.state, t.actor, e.id)::text FROM audit t JOIN events e ON e.seq = t.event AND e.accepted_at = t.event_at AND t.at = e.accepted_at ORDER BY e.id`,
		`SELECT row(tenant, destination, sum(accepted), sum(unrouted), sum(duplicates))::text FROM tallies GROUP BY tenant, destination ORDER BY 1`,
		`SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event ORDER BY d.key_hash, d.destination, d.accepted_at, d.seq`,
	}
	snapshot := func(s *shop) (rows [][]string) {
		for _, sql := range contents {
			rows = append(rows, column[string](s, sql))
		}
		return rows
	}
	one := house.emptied(t)
	w := one.writer()
	for _, e := range manyEntries(one, "e") {
		one.append(w, e)
	}
	want := snapshot(one)
	all := house.emptied(t)
	copier := all.writer()
	got := all.append(copier, manyEntries(all, "e")...)
	if slices.ContainsFunc(got, func(v outbox.Verdict) bool { return v != outbox.Appended }) {
		t.Fatalf("verdicts %v", got)
	}
	if diff := cmp.Diff(want, snapshot(all)); diff != "" {
		t.Errorf("one by one, and by COPY (-want +got):\n%s", diff)
	}
	if n := column[int](all, `SELECT count(DISTINCT accepted_at)::int FROM events`); n[0] != 1 {
		t.Errorf("a batch was accepted at %d times: it did not go by COPY as one", n[0])
	}
	if copier.Wary() {
		t.Error("COPY did not take the batch, and the statement had to: is the partition there, and the engine's to add to?")
	}

	t.Run("TellsDuplicatesConflictsAndRefused", func(t *testing.T) {
		s := house.emptied(t)
		w := s.writer()
		batch := manyEntries(s, "e")
		s.append(w, batch[3], batch[50])
		batch[50].Event.Type = "order.paid"
		batch[90].Event.Outlet = "mall\x00"
		batch = append(batch, batch[91]) // a twin
		for round := range 2 {
			got := s.append(w, batch...)
			for i, v := range got {
				want := outbox.Appended
				switch {
				case i == 50:
					want = outbox.Conflicting
				case i == 90:
					want = outbox.Refused
				case i == 3, i == len(batch)-1, round == 1:
					want = outbox.Duplicate
				}
				if v != want {
					t.Errorf("round %d, entry %d: verdict %v, want %v", round+1, i, v, want)
				}
			}
		}
		if n := column[int](s, `SELECT count(*)::int FROM events`); n[0] != len(batch)-2 {
			t.Errorf("%d events, want %d", n[0], len(batch)-2)
		}
	})
}
