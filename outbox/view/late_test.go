package view

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// What is late is listed once, in pages, whatever else holds it; what has ended is not,
// though the sweep has not come by yet.
func TestTx_HeldShowsWhatIsLate(t *testing.T) {
	h := openHouse(t, 2)
	books := h.destination(t, "kopi", "books")
	exception := h.number(t, `INSERT INTO exceptions (tenant, class, destination, held) VALUES ('kopi', 'LATE', $1, 7) RETURNING id`, books)
	var want []string
	for i := range int64(7) {
		seq := 1<<40 + i
		e := h.event(t, seeded{seq: seq, at: h.base.Add(time.Duration(i) * time.Second), key: "order/1"})
		h.deliver(t, "kopi", e, books)
		h.exec(t, `INSERT INTO late (exception, lane, destination, seq, tenant) SELECT $1, lane, destination, seq, tenant FROM deliveries WHERE seq = $2`, exception, seq)
		if i%3 == 0 {
			h.exec(t, `DELETE FROM deliveries WHERE seq = $1`, seq)
			continue
		}
		want = append(want, fmt.Sprint(seq))
	}
	got := walkAllPages(h, t, func() {}, func(d *Delivery) string { return fmt.Sprint(d.Ref.Event.Seq) },
		func(ctx context.Context, tx *Tx, after string) (Page[*Delivery], error) {
			pages, err := tx.Held(ctx, []HeldBy{{Exception: exception, First: 2, After: after}})
			if err != nil {
				return Page[*Delivery]{}, err
			}
			return pages[0], nil
		})
	if !slices.Equal(got, want) {
		t.Errorf("held %v, want %v", got, want)
	}
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		d, err := tx.DestinationByName(ctx, "books")
		if err != nil {
			return err
		}
		totals, err := tx.Totals(ctx)
		if d.Late != 7 || totals.Late != 7 {
			t.Errorf("late %d of the destination, %d in all, want 7", d.Late, totals.Late)
		}
		return err
	})
}

// The list of what needs action has it once, and what is only late not at all.
func TestTx_WhatIsLateNeedsActionOnce(t *testing.T) {
	h := openHouse(t, 2)
	books := h.destination(t, "kopi", "books")
	late := h.number(t, `INSERT INTO exceptions (tenant, class, destination, held, opened_at) VALUES ('kopi', 'LATE', $1, 2, now() - interval '1 hour') RETURNING id`, books)
	cause := h.number(t, `INSERT INTO exceptions (tenant, class, destination, held) VALUES ('kopi', 'VALIDATION', $1, 1) RETURNING id`, books)
	for i := range int64(2) {
		seq := 1<<40 + i
		h.deliver(t, "kopi", h.event(t, seeded{seq: seq, at: h.base.Add(time.Duration(i) * time.Second), key: fmt.Sprint("order/", i)}), books)
		h.exec(t, `INSERT INTO late (exception, lane, destination, seq, tenant) SELECT $1, lane, destination, seq, tenant FROM deliveries WHERE seq = $2`, late, seq)
	}
	h.exec(t, `UPDATE deliveries SET state = 2, exception = $1 WHERE seq = $2`, cause, int64(1<<40))
	h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE state = 2`)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		page, err := tx.OpenDeliveries(ctx, OpenFilter{State: NeedsAction}, 10, "")
		if len(page.Nodes) != 1 || page.HasNext {
			t.Errorf("%d need action, want the one that is held", len(page.Nodes))
		}
		return err
	})
}
