package outbox_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestReplica_Finish(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books")

	t.Run("DeliveredEndsTheDelivery", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("a", "order/1", "books")
		batch := d.intend(a)
		done := attempt(a, outbox.StateDelivered)
		done.StartedAt, done.Duration = batch.At, 3*time.Millisecond
		done.Detail = outbox.Detail{Status: 201, ExternalID: "INV-7", URL: "https://books.example/7"}
		if n := d.finish(done); n != 1 {
			t.Fatalf("%d changed, want 1", n)
		}
		if n := len(d.open("books")); n != 0 {
			t.Errorf("%d are open", n)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND state = 'DELIVERED' AND attempt = 1 AND started_at = $1 AND duration_us = 3000
			AND event = $2 AND destination = $3 AND detail = '{"status": 201, "externalId": "INV-7", "url": "https://books.example/7"}'`, batch.At, a.Event, a.Destination); n != 1 {
			t.Error("the entry is not as told")
		}
		if n := one[int](s, `SELECT sum(delivered)::int FROM tallies WHERE destination = $1`, a.Destination); n != 1 {
			t.Errorf("the tallies count %d", n)
		}
	})

	t.Run("WaitingComesThroughDue", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("a", "order/1", "books")
		batch := d.intend(a)
		w := attempt(a, outbox.StateWaiting)
		w.StartedAt, w.UnknownAt = batch.At, &batch.At
		d.finish(w)
		now := d.open("books")[0]
		if now.State != outbox.Retry || now.Requests != 1 || now.Attempts != 1 || now.Version != a.Version+1 || now.UnknownAt == nil || !now.UnknownAt.Equal(batch.At) {
			t.Errorf("the delivery is %+v", now)
		}
		if n := one[int](s, `SELECT count(*) FROM due JOIN deliveries d ON d.due_at = due.at AND d.seq = due.seq JOIN timeline t ON t.next_at = due.at WHERE t.state = 'WAITING' AND t.reason = '503 Service Unavailable'`); n != 1 {
			t.Error("due, delivery and timeline do not name one time")
		}
		// The platform was asked, and has nothing.
		later := attempt(now, outbox.StateWaiting)
		later.StartedAt, later.UnknownAt = batch.At.Add(time.Hour), nil
		d.finish(later)
		if at := d.open("books")[0].UnknownAt; at != nil {
			t.Errorf("unknown since %v, want never", at)
		}
	})

	t.Run("ComparesAndSets", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
		s.changed(a)
		before := one[int](s, `SELECT count(*) FROM timeline`)
		for _, to := range []string{outbox.StateDelivered, outbox.StateWaiting, outbox.StateNeedsAction} {
			if n := d.finish(attempt(a, to)); n != 0 {
				t.Errorf("to %s: a delivery of another version was changed", to)
			}
		}
		if n := one[int](s, `SELECT count(*) FROM timeline`); n != before {
			t.Errorf("%d entries of transitions that were not made", n-before)
		}
		if n := one[int](s, `SELECT count(*) FROM exceptions`); n != 0 {
			t.Errorf("%d exceptions that hold nothing", n)
		}
		stored, err := d.Finish(t.Context(), d.leases(), []outbox.Transition{attempt(a, outbox.StateDelivered), attempt(b, outbox.StateDelivered)})
		if err != nil || len(stored) != 1 || !stored[b.Position()] {
			t.Errorf("stored are %v, %v; want the unchanged one", stored, err)
		}
	})

	t.Run("ARepeatIsHarmless", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a, b, c := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books"), d.deliveryOf("c", "order/3", "books")
		d.intend(a, b, c)
		all := []outbox.Transition{attempt(a, outbox.StateDelivered), attempt(b, outbox.StateWaiting), attempt(c, outbox.StateNeedsAction)}
		if n := d.finish(all...); n != 3 {
			t.Fatalf("%d changed, want 3", n)
		}
		before := one[string](s, snapshotSQL)
		if n := d.finish(all...); n != 0 {
			t.Errorf("%d changed a second time", n)
		}
		if after := one[string](s, snapshotSQL); after != before {
			t.Errorf("the repeat stored something: %s, before %s", after, before)
		}
		if held := one[int](s, `SELECT held::int FROM exceptions`); held != 1 {
			t.Errorf("the exception counts %d", held)
		}
	})

	// Where a row was read is a hint.
	t.Run("FindsWhatHasMoved", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		gone := d.deliveryOf("gone", "order/0", "books")
		a, b := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/2", "books")
		d.intend(a)
		if n := d.finish(attempt(gone, outbox.StateDelivered)); n != 1 {
			t.Fatalf("%d changed, want 1", n)
		}
		s.exec(`UPDATE deliveries SET route = route`) // as where the table is rewritten
		if batch := d.intend(b); batch.Size != 0 {
			t.Errorf("intended are %v, by a row that is not there", batch)
		}
		if n := d.finish(attempt(a, outbox.StateDelivered), attempt(gone, outbox.StateDelivered)); n != 1 {
			t.Errorf("%d changed, want the one that has moved", n)
		}
		if open := d.open("books"); len(open) != 1 || open[0].Seq != b.Seq || d.intend(open[0]).Size != 1 {
			t.Errorf("open are %v, want the other one, to be intended once it is read again", open)
		}
	})

	// A place proves nothing: after a rewrite the row may lie there as another version.
	t.Run("LooksAtTheVersionOfWhatLiesThere", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		d.deliveryOf("a", "order/1", "books")
		s.exec(`VACUUM FULL deliveries`)
		a := d.open("books")[0]
		d.intend(a)
		s.changed(a)
		s.exec(`VACUUM FULL deliveries`)
		if now := d.open("books")[0]; now.Row != a.Row {
			t.Fatalf("it lies at %v, and lay at %v", now.Row, a.Row)
		}
		if batch := d.intend(a); batch.Size != 0 {
			t.Errorf("intended are %v, by what was read before it changed", batch)
		}
		if n := d.finish(attempt(a, outbox.StateDelivered)); n != 0 {
			t.Errorf("%d changed, by what was read before it changed", n)
		}
	})

	t.Run("RefusesAnUnknownState", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		a := d.deliveryOf("a", "order/1", "books")
		if _, err := d.Finish(t.Context(), d.leasesOf(a), []outbox.Transition{{Delivery: a, To: "SENDING"}}); err == nil {
			t.Error("it was taken")
		}
	})
}

func TestReplica_FinishIntoExceptions(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books", "stock")

	t.Run("OneACause", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		causes := []outbox.Cause{
			{Class: "VALIDATION", Rule: "status 422", Code: "unknown_sku", Field: "sku"},
			{Class: "VALIDATION", Rule: "status 422", Code: "unknown_sku", Field: "tax"},
			{Class: "VALIDATION", Rule: "status 422", Code: "closed", Field: "sku"},
			{Class: "POISON", Rule: "status 422", Code: "unknown_sku", Field: "sku"},
		}
		var all []outbox.Transition
		for i := range 12 {
			destination := "books"
			if i >= 8 {
				destination = "stock"
			}
			h := attempt(d.deliveryOf(string(rune('a'+i)), "order/"+string(rune('a'+i)), destination), outbox.StateNeedsAction)
			h.Cause = causes[i%4]
			h.Reason = "text " + string(rune('a'+i)) // never what is grouped by
			all = append(all, h)
		}
		if n := d.finish(all...); n != 12 {
			t.Fatalf("%d changed, want 12", n)
		}
		type row struct {
			Class, Code, Field string
			Destination        int32
			Held               int64
		}
		rows, err := s.db.Query(t.Context(), `SELECT class, code, field, destination, held FROM exceptions ORDER BY destination, class, code, field`)
		if err != nil {
			t.Fatal(err)
		}
		got := collect[row](t, rows)
		books, stock := s.destinations["books"], s.destinations["stock"]
		want := []row{
			{"POISON", "unknown_sku", "sku", books, 2},
			{"VALIDATION", "closed", "sku", books, 2},
			{"VALIDATION", "unknown_sku", "sku", books, 2},
			{"VALIDATION", "unknown_sku", "tax", books, 2},
			{"POISON", "unknown_sku", "sku", stock, 1},
			{"VALIDATION", "closed", "sku", stock, 1},
			{"VALIDATION", "unknown_sku", "sku", stock, 1},
			{"VALIDATION", "unknown_sku", "tax", stock, 1},
		}
		if stock < books {
			want = append(want[4:], want[:4]...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("exceptions (-want +got):\n%s", diff)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'exception'`); n != 8 {
			t.Errorf("%d opened entries, want 8", n)
		}
		if n := one[int](s, `SELECT count(*) FROM holds h JOIN deliveries d USING (lane, destination, seq, exception) WHERE d.state = 2`); n != 12 {
			t.Errorf("%d deliveries are under the exception that holds them, want 12", n)
		}
		if n := one[int](s, `SELECT sum(needs_action)::int FROM tallies`); n != 12 {
			t.Errorf("the tallies count %d, want 12", n)
		}
		// A later one joins.
		late := attempt(d.deliveryOf("z", "order/z", "books"), outbox.StateNeedsAction)
		d.finish(late)
		if held := one[int](s, `SELECT held::int FROM exceptions WHERE class = 'VALIDATION' AND code = 'unknown_sku' AND field = 'sku' AND destination = $1`, books); held != 3 {
			t.Errorf("with a later one it holds %d, want 3", held)
		}
	})

	// What a platform writes into its answer stops nothing.
	t.Run("TakesPoisonedTexts", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.dispatcher()
		long := hex.EncodeToString(noise(4096))
		texts := []string{"a\x00b", "\xff\xfe", long, strings.Repeat("ü", 2000), "'; DROP TABLE events; --", `{"a": "\u0000"}`}
		var all []outbox.Transition
		for i, text := range texts {
			id := string(rune('a' + i))
			for j, to := range []string{outbox.StateDelivered, outbox.StateWaiting, outbox.StateNeedsAction} {
				h := attempt(d.deliveryOf(id+to, "order/"+id+to, "books"), to)
				h.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
				h.Reason = text
				h.Detail = outbox.Detail{Status: 422 + j, Rule: text, Code: text, Field: text, ExternalID: text, URL: text, Excerpt: text}
				h.Cause = outbox.Cause{Class: text, Rule: text, Code: text, Field: text}
				all = append(all, h)
			}
		}
		if n := d.finish(all...); n != len(all) {
			t.Errorf("%d of %d changed", n, len(all))
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'attempt' AND detail ->> 'status' IS NOT NULL`); n != len(all) {
			t.Errorf("%d entries, want %d", n, len(all))
		}
		if most := one[int](s, `SELECT max(greatest(octet_length(reason), octet_length(detail ->> 'excerpt'))) FROM timeline WHERE what = 'attempt'`); most > 1024 {
			t.Errorf("%d bytes of a text are kept", most)
		}
	})
}

// The age of its tries begins with the first, and anew when an operator retries it.
func TestReplica_FinishKeepsWhenItWasFirstTried(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	a := d.deliveryOf("a", "order/1", "books")
	if a.TriedAt != nil {
		t.Fatalf("tried at %s before any try", a.TriedAt)
	}
	first := d.intend(a)
	tried := func(at time.Time) outbox.Transition {
		transition := attempt(d.open("books")[0], outbox.StateWaiting)
		transition.StartedAt = at
		return transition
	}
	d.finish(tried(first.At))
	again := d.open("books")[0]
	d.finish(tried(d.intend(again).At))
	if again = d.open("books")[0]; again.TriedAt == nil || !again.TriedAt.Equal(first.At) || again.Requests != 2 {
		t.Errorf("tried at %v, want %s: the first of two", again.TriedAt, first.At)
	}
	s.retry(again, "request 1")
	due, err := d.TakeDue(t.Context(), d.lanes, []outbox.LaneDestination{{Lane: a.Lane, Destination: a.Destination}}, 10)
	if err != nil || len(due) != 1 || due[0].Delivery.TriedAt != nil {
		t.Errorf("after an operator's retry: %+v, %v; want that it counts anew", due, err)
	}
}
