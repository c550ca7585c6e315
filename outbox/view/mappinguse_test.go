package view

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
)

// What an entry was used for is found back in time, over rows of many requests, each once,
// however far apart they are.
func TestTx_MappingUses(t *testing.T) {
	h := openHouse(t, 2)
	books := h.destination(t, "kopi", "books")
	e := h.event(t, seeded{seq: 1})
	d := h.deliver(t, "kopi", e, books)
	h.attempt(t, "kopi", d, h.base, 1, 1, "DELIVERED")
	// Every 3,000th of them has the entry, in requests 1 and 3 of three; the first of these
	// is the one event that is still there.
	h.exec(t, `INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
		SELECT 'kopi', $1, $2::timestamptz + g * interval '1 second', ARRAY[CASE g WHEN 0 THEN 1 ELSE g * 10 END, g * 10 + 2, g * 10 + 3], ARRAY[$2, $2, $2]::timestamptz[], ARRAY[0, 0, 0], ARRAY[0, 0, 0]::smallint[], ARRAY[1, 1, 2], ARRAY['a', 'b', 'c'],
		       ARRAY['sku', 'sku'], ARRAY['OTHER', CASE WHEN g % 3000 = 0 THEN 'TEA' ELSE 'TEA' || g END], ARRAY['I-0', CASE WHEN g < 9000 THEN 'I-1' ELSE 'I-2' END], ARRAY[7, 7], ARRAY[true, true], ARRAY[false, false],
		       ARRAY[1, 1, 2, 3], ARRAY[1, 2, 1, 2] FROM generate_series(0, 22000) g`, books, h.base)
	// Of the same moment, and of others.
	h.exec(t, `INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
		SELECT t, d, $2::timestamptz + 9000 * interval '1 second', ARRAY[7], ARRAY[$2]::timestamptz[], ARRAY[0], ARRAY[0]::smallint[], ARRAY[1], ARRAY['d'], ARRAY[n], ARRAY['TEA'], ARRAY['I-2'], ARRAY[7], ARRAY[true], ARRAY[false], ARRAY[1], ARRAY[1]
		  FROM (VALUES ('kopi', $1, 'sku'), ('kopi', $1, 'tax'), ('kopi', $1 + 1000, 'sku'), ('teh', $1, 'sku')) AS o(t, d, n)`, books, h.base)

	walk := func(f UseFilter, first int) (all []string, pages int) {
		t.Helper()
		f.Table, f.Value, f.Destination = "sku", "TEA", "books"
		for after := ""; ; pages++ {
			var page MappingUses
			h.as(t, "kopi", func(ctx context.Context, tx *Tx) (err error) {
				page, err = tx.MappingUses(ctx, f, first, after)
				return err
			})
			for _, u := range page.Nodes {
				text := fmt.Sprintf("%v %d %s %d %s", u.At.Sub(h.base), u.Ref.Event.Seq, u.Route, u.Attempt, u.Target)
				if u.EventID != "" {
					text += fmt.Sprintf(" %s of %s: %s", u.EventID, u.Source, outbox.Class(u.Kind))
				}
				all = append(all, text)
			}
			if after = page.EndCursor; !page.HasNext {
				return all, pages + 1
			}
		}
	}
	var want []string
	for g := 21000; g >= 0; g -= 3000 {
		target := "I-2"
		if g < 9000 {
			target = "I-1"
		}
		first := g * 10
		rest := ""
		if g == 0 {
			first, rest = 1, " e1 of till: DELIVERED"
		}
		lines := []string{fmt.Sprintf("%v %d c 2 %s", seconds(g), g*10+3, target), fmt.Sprintf("%v %d a 1 %s%s", seconds(g), first, target, rest)}
		if g == 9000 {
			lines = append(lines, fmt.Sprintf("%v 7 d 1 I-2", seconds(g)))
		}
		want = append(want, lines...)
	}
	for _, first := range []int{1, 2, 5, 100} {
		got, pages := walk(UseFilter{}, first)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d at a time (-want +got):\n%s", first, diff)
		}
		if first == 100 && pages != 3 {
			t.Errorf("%d rows took %d pages, want 3 of %d each", 22003, pages, Budget)
		}
	}
	if got, _ := walk(UseFilter{Target: "I-1"}, 100); len(got) != 6 {
		t.Errorf("of a target: %v", got)
	}
	if got, _ := walk(UseFilter{Since: h.base.Add(seconds(18000))}, 100); len(got) != 4 {
		t.Errorf("since a time: %v", got)
	}
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
