package view

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTx_Search(t *testing.T) {
	h := openHouse(t, 1)
	h.destination(t, "kopi", "1042")
	at := func(s int) time.Time { return h.base.Add(time.Duration(s) * time.Second) }
	h.event(t, seeded{seq: 1, at: at(1), id: "1042", key: "1042"}) // by its id, once
	h.event(t, seeded{seq: 2, at: at(2), id: "a", key: "1042", references: map[string]string{"order": "1042", "invoice": "1042"}})
	h.event(t, seeded{seq: 3, at: at(3), id: "b", references: map[string]string{"order": "1042"}})
	h.event(t, seeded{seq: 4, at: at(4), id: "c", key: "1042"})
	h.event(t, seeded{seq: 5, at: at(5), id: "d", key: "1042"})
	h.event(t, seeded{seq: 6, at: at(6), id: "other", key: "10421", references: map[string]string{"order": "10420"}})
	name := func(hit Hit) string {
		if hit.Destination != nil {
			return "destination " + hit.Destination.Name
		}
		return hit.Event.EventID
	}
	want := []string{"destination 1042", "1042", "b", "a", "d", "c"}
	for first := 1; first <= 7; first++ {
		t.Run(fmt.Sprintf("PagesOf%d", first), func(t *testing.T) {
			got := walkAllPages(h, t, func() {}, name, func(ctx context.Context, tx *Tx, after string) (Page[Hit], error) {
				return tx.Search(ctx, "1042", first, after)
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTx_RefusesPagesAndCursors(t *testing.T) {
	h := openHouse(t, 1)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		for _, first := range []int{-1, 0, 101} {
			if _, err := tx.Events(ctx, EventFilter{}, first, ""); !errors.Is(err, ErrPage) {
				t.Errorf("a page of %d: %v; want ErrPage", first, err)
			}
		}
		if _, err := tx.Events(ctx, EventFilter{}, 1, "no cursor"); !errors.Is(err, ErrCursor) {
			t.Errorf("a bad cursor: %v; want ErrCursor", err)
		}
		return nil
	})
}
