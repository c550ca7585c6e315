package view

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"raffsync/outbox"
)

// walkAllPages walks a list to its end. Each page is a transaction of its own, and
// between reads something may happen.
func walkAllPages[T any](h *house, t testing.TB, between func(), name func(T) string, read func(context.Context, *Tx, string) (Page[T], error)) []string {
	t.Helper()
	var names []string
	for cursor, pages := "", 0; ; pages++ {
		var page Page[T]
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) (err error) {
			page, err = read(ctx, tx, cursor)
			return err
		})
		for _, n := range page.Nodes {
			names = append(names, name(n))
		}
		if !page.HasNext {
			return names
		}
		if page.EndCursor == "" || page.EndCursor == cursor || pages > 10_000 {
			t.Fatalf("page %d says that there is more and gives the cursor %q after %q", pages, page.EndCursor, cursor)
		}
		cursor = page.EndCursor
		between()
	}
}

// Rows that were there at the start come exactly once, in whatever sizes the pages
// are, at equal times too, while others are added at every time.
func TestTx_WalksYieldEachRowOnce(t *testing.T) {
	h := openHouse(t, 2)
	destinations := []int32{h.destination(t, "kopi", "books"), h.destination(t, "kopi", "stock")}
	exception := h.number(t, `INSERT INTO exceptions (tenant, class) VALUES ('kopi', 'HOLDS') RETURNING id`)
	seq := int64(1 << 40)
	// Few different times, so that pages break between equal ones.
	add := func(n int) map[string]bool {
		added := make(map[string]bool)
		for range n {
			seq++
			at := h.base.Add(time.Duration(seq*7%5) * time.Second)
			e := h.event(t, seeded{seq: seq, at: at, key: fmt.Sprintf("order/%d", seq%3), unrouted: seq%4 == 0, outlet: []string{"mall", "beach"}[seq%2]})
			for _, d := range destinations {
				h.deliver(t, "kopi", e, d)
			}
			h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT $1, lane, destination, seq, tenant FROM deliveries WHERE seq = $2`, exception, seq)
			h.exec(t, `UPDATE deliveries SET state = 2, exception = $1 WHERE seq = $2`, exception, seq)
			h.exec(t, `UPDATE exceptions SET held = held + 2 WHERE id = $1`, exception)
			h.exec(t, `INSERT INTO exceptions (tenant, class, code, opened_at) VALUES ('kopi', 'VALIDATION', $1, $2)`, fmt.Sprint(seq), at)
			added[fmt.Sprintf("e%d", seq)] = true
		}
		return added
	}
	before := add(23)
	eventName := func(e *Event) string { return e.EventID }
	byDelivery := func(d *Delivery) string { return fmt.Sprintf("e%d", d.Ref.Event.Seq) }
	yes := true
	rapid.Check(t, func(rt *rapid.T) {
		first := rapid.IntRange(1, 30).Draw(rt, "first")
		quiet := rapid.Bool().Draw(rt, "nothing is added meanwhile")
		list := rapid.SampledFrom([]string{"events", "key", "unrouted", "outlet", "open", "open of one", "needs action", "held", "exceptions", "timeline", "story"}).Draw(rt, "list")
		between := func() {
			if !quiet && seq < 1<<40+200 {
				add(1)
			}
		}
		var got []string
		times, want := 1, func(string) bool { return true }
		number := func(id string) (n int64) { fmt.Sscanf(id, "e%d", &n); return n }
		switch list {
		case "events", "key", "unrouted", "outlet":
			var f EventFilter
			switch list {
			case "key":
				f.OrderingKey, want = "order/1", func(id string) bool { return number(id)%3 == 1 }
			case "unrouted":
				f.Unrouted, want = &yes, func(id string) bool { return number(id)%4 == 0 }
			case "outlet":
				f.Outlet, want = "beach", func(id string) bool { return number(id)%2 == 1 }
			}
			got = walkAllPages(h, t, between, eventName, func(ctx context.Context, tx *Tx, after string) (Page[*Event], error) {
				return tx.Events(ctx, f, first, after)
			})
		case "open", "open of one":
			var f OpenFilter
			times = len(destinations)
			if list == "open of one" {
				f.Destination, times = "stock", 1
			}
			got = walkAllPages(h, t, between, byDelivery, func(ctx context.Context, tx *Tx, after string) (Page[*Delivery], error) {
				return tx.OpenDeliveries(ctx, f, first, after)
			})
		case "needs action":
			times = len(destinations)
			got = walkAllPages(h, t, between, byDelivery, func(ctx context.Context, tx *Tx, after string) (Page[*Delivery], error) {
				return tx.OpenDeliveries(ctx, OpenFilter{State: NeedsAction}, first, after)
			})
		case "held":
			times = len(destinations)
			got = walkAllPages(h, t, between, byDelivery, func(ctx context.Context, tx *Tx, after string) (Page[*Delivery], error) {
				pages, err := tx.Held(ctx, []HeldBy{{exception, first, after}})
				if err != nil {
					return Page[*Delivery]{}, err
				}
				return pages[0], nil
			})
		case "exceptions":
			got = walkAllPages(h, t, between, func(e *Exception) string { return "e" + e.Code }, func(ctx context.Context, tx *Tx, after string) (Page[*Exception], error) {
				return tx.Exceptions(ctx, ExceptionFilter{Open: &yes, Class: "VALIDATION"}, first, after)
			})
		case "timeline":
			got = walkAllPages(h, t, between, func(e *Entry) string { return fmt.Sprintf("e%d", *e.EventSeq) }, func(ctx context.Context, tx *Tx, after string) (Page[*Entry], error) {
				return tx.Timeline(ctx, TimelineFilter{What: []string{"accepted"}}, first, after)
			})
		case "story":
			id := outbox.EventID{AcceptedAt: h.one(t, `SELECT accepted_at FROM events WHERE seq = $1`, 1<<40+5), Seq: 1<<40 + 5}
			want = func(id string) bool { return id == fmt.Sprintf("e%d", int64(1<<40+5)) }
			got = walkAllPages(h, t, between, func(e *Entry) string { return fmt.Sprintf("e%d", *e.EventSeq) }, func(ctx context.Context, tx *Tx, after string) (Page[*Entry], error) {
				pages, err := tx.EventStories(ctx, []EventStory{{id, first, after}})
				if err != nil {
					return Page[*Entry]{}, err
				}
				return pages[0], nil
			})
		}
		seen := make(map[string]int)
		for _, id := range got {
			seen[id]++
		}
		for id := range before {
			if n := seen[id]; want(id) && n != times || !want(id) && n != 0 {
				rt.Fatalf("%s came %d times in pages of %d of %s", id, n, first, list)
			}
		}
		for id, n := range seen {
			if n > times || !want(id) {
				rt.Fatalf("%s came %d times in pages of %d of %s", id, n, first, list)
			}
		}
	})
}

// A filter without an index looks at a bounded number of rows, and hands back a
// cursor that goes on behind them.
func TestTx_WalksPastTheBudget(t *testing.T) {
	h := openHouse(t, 1)
	source := h.source(t, "kopi", "till")
	h.exec(t, `INSERT INTO events (tenant, accepted_at, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
		SELECT 'kopi', $1::timestamptz + (g / 100) * interval '1 millisecond', g, 1, $2, 1, false, now(), 'e' || g, CASE WHEN g <= 2 THEN 'rare' ELSE 'common' END, 'k', '', 'x/y', ''
		  FROM generate_series(1, 25000) g`, h.base, source)
	var sizes []int
	names := walkAllPages(h, t, func() {}, func(e *Event) string { return e.EventID }, func(ctx context.Context, tx *Tx, after string) (Page[*Event], error) {
		page, err := tx.Events(ctx, EventFilter{Type: "rare"}, 10, after)
		sizes = append(sizes, len(page.Nodes))
		return page, err
	})
	if fmt.Sprint(names) != "[e2 e1]" || fmt.Sprint(sizes) != "[0 0 2]" {
		t.Errorf("found %v in pages of %v; want e2 and e1 on the third page", names, sizes)
	}
}
