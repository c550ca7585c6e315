package view

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seedBacklog leaves a backlog behind: at one destination almost all of it, in a few
// lanes half of that, and at twenty others every hundredth event. Two deliveries need
// action, of which one is the last of all.
const seedBacklog = `
INSERT INTO destinations (tenant, name) SELECT 'kopi', 'd' || g FROM generate_series(1, 21) g;
INSERT INTO deliveries (seq, event, event_at, accepted_at, key_hash, destination, lane, tenant, route)
SELECT g, g, now(), now(), g, d.id, CASE WHEN g % 2 = 0 THEN 7 ELSE g * 31 % 64 END, 'kopi', 'sales'
  FROM generate_series(1, 25900) g JOIN destinations d ON d.name = 'd1' OR g % 100 = substr(d.name, 2)::integer;
INSERT INTO breakers (tenant, destination, replica, state, reason, probe_at) SELECT 'kopi', id, 1, 'OPEN', '503', now() + interval '1 hour' FROM destinations WHERE name = 'd1';
INSERT INTO exceptions (tenant, class, destination, code, held, opened_at) SELECT 'kopi', 'VALIDATION', id, g::text, 0, now() - interval '1 day' FROM destinations, generate_series(1, 300) g WHERE name = 'd2';
INSERT INTO exceptions (tenant, class, destination, held) SELECT 'kopi', 'VALIDATION', id, 1 FROM destinations WHERE name IN ('d1', 'd2');
UPDATE deliveries d SET state = 2, exception = x.id FROM exceptions x WHERE x.held = 1 AND d.destination = x.destination AND d.seq IN (202, 25900)
   AND d.seq = CASE WHEN x.destination = (SELECT id FROM destinations WHERE name = 'd1') THEN 25900 ELSE 202 END;
INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE state = 2;
ANALYZE`

func TestTx_OpenDeliveriesOfABacklog(t *testing.T) {
	h := openHouse(t, 1)
	h.exec(t, seedBacklog)
	name := func(d *Delivery) string { return fmt.Sprintf("%d %s", d.Ref.Event.Seq, d.Destination) }
	page := func(t *testing.T, f OpenFilter, first int, after string) (p Page[*Delivery]) {
		t.Helper()
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) (err error) {
			p, err = tx.OpenDeliveries(ctx, f, first, after)
			return err
		})
		return p
	}
	expected := func(t *testing.T, where string) (names []string) {
		t.Helper()
		rows, err := h.owner.Query(t.Context(), `SELECT d.seq || ' ' || n.name FROM deliveries d JOIN destinations n ON n.id = d.destination WHERE `+where+` ORDER BY d.seq, d.destination`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			names = append(names, s)
		}
		return names
	}

	t.Run("TheFewThatNeedAction", func(t *testing.T) {
		for filter, want := range map[OpenFilter][]string{
			{State: NeedsAction}:                    {"25900 d1", "202 d2"},
			{State: NeedsAction, Destination: "d1"}: {"25900 d1"},
			{State: NeedsAction, Destination: "d2"}: {"202 d2"},
			{State: NeedsAction, Destination: "d3"}: nil,
		} {
			p := page(t, filter, 10, "")
			var got []string
			for _, d := range p.Nodes {
				got = append(got, name(d))
			}
			if p.HasNext || cmp.Diff(want, got) != "" {
				t.Errorf("%+v: %v (more: %t), want %v at once", filter, got, p.HasNext, want)
			}
		}
		if p := page(t, OpenFilter{State: NeedsAction}, 1, ""); !p.HasNext || len(p.Nodes) != 1 {
			t.Errorf("a page of one: %+v", p)
		} else if q := page(t, OpenFilter{State: NeedsAction}, 1, p.EndCursor); q.HasNext || len(q.Nodes) != 1 || name(q.Nodes[0]) == name(p.Nodes[0]) {
			t.Errorf("the page after it: %+v", q)
		}
	})

	t.Run("InOrder", func(t *testing.T) {
		for filter, where := range map[OpenFilter]string{
			{}:                                      `seq <= 3000`,
			{Destination: "d1"}:                     `n.name = 'd1' AND seq <= 3000`,
			{Destination: "d21"}:                    `n.name = 'd21'`,
			{State: Pending}:                        `n.name <> 'd1' AND state = 0 AND seq <= 9000`,
			{State: WaitingFor, Destination: "d1"}:  `n.name = 'd1' AND state = 0 AND seq <= 3000`,
			{State: WaitingFor, Destination: "d21"}: `false`,
		} {
			want := expected(t, where)
			var got []string
			for cursor := ""; ; {
				p := page(t, filter, 97, cursor)
				for _, d := range p.Nodes {
					got = append(got, name(d))
				}
				if cursor = p.EndCursor; !p.HasNext || len(got) >= len(want) {
					break
				}
			}
			if len(got) < len(want) || cmp.Diff(want, got[:len(want)]) != "" {
				t.Errorf("%+v: %d deliveries, want these %d first:\n%s", filter, len(got), len(want), cmp.Diff(want, got))
			}
		}
	})

	// However the backlog lies, a page costs some few times what it shows.
	t.Run("ReadsLittleMoreThanItShows", func(t *testing.T) {
		for _, destinations := range []string{"", "d1"} {
			h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
				ids, err := tx.destinationsNamed(ctx, destinations)
				if err != nil {
					return err
				}
				m, err := tx.merger(ctx, ids, position{})
				if err != nil {
					return err
				}
				keys, err := m.next(ctx, 51)
				if read := len(keys) + len(m.pool); err == nil && (len(keys) != 51 || read > 51+3*len(m.stretches)) {
					err = fmt.Errorf("%d keys of %q, and %d were read", len(keys), destinations, read)
				}
				return err
			})
		}
	})

	t.Run("FiltersThatNameNothing", func(t *testing.T) {
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			_, err1 := tx.OpenDeliveries(ctx, OpenFilter{Destination: "nope"}, 1, "")
			_, err2 := tx.Exceptions(ctx, ExceptionFilter{Destination: "nope"}, 1, "")
			_, err3 := tx.Timeline(ctx, TimelineFilter{Destination: "nope"}, 1, "")
			_, err4 := tx.Events(ctx, EventFilter{Source: "nope"}, 1, "")
			_, err5 := tx.OpenDeliveries(ctx, OpenFilter{State: Delivered}, 1, "")
			for i, err := range []error{err1, err2, err3, err4, err5} {
				var input *InputError
				if !errors.As(err, &input) || !strings.Contains(input.Message, []string{`no destination "nope"`, `no destination "nope"`, `no destination "nope"`, `no source "nope"`, "DELIVERED is an end"}[i]) {
					t.Errorf("filter %d: %v", i+1, err)
				}
			}
			return nil
		})
	})
}
