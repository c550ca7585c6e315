package view

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

// Two tenants share one session, and its transactions end in every way there is:
// none ever sees a row of the other, and without a tenant nobody sees any.
func TestView_TenantsNeverSeeEachOther(t *testing.T) {
	h := openHouse(t, 1)
	tenants := []string{"kopi", "teh"}
	ids := make(map[string]outbox.EventID)
	for i, tenant := range tenants {
		// The canary stands in every text, and both tenants use the same names and numbers.
		e := h.event(t, seeded{
			tenant: tenant, seq: int64(1<<40 + i), id: "canary-" + tenant, kind: "canary." + tenant, key: "order/1",
			outlet: "canary-" + tenant, unrouted: true, references: map[string]string{"order": "1042", "canary": tenant},
		})
		d := h.deliver(t, tenant, e, h.destination(t, tenant, "canary-"+tenant))
		h.attempt(t, tenant, d, h.base.Add(time.Second), 1, 2, "WAITING")
		x := h.number(t, `INSERT INTO exceptions (tenant, class, sample) VALUES ($1, 'VALIDATION', $2) RETURNING id`, tenant, "canary-"+tenant)
		h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT $1, lane, destination, seq, tenant FROM deliveries WHERE tenant = $2`, x, tenant)
		h.exec(t, `INSERT INTO tallies (tenant, destination, shard, accepted) VALUES ($1, 0, 0, $2)`, tenant, 100+i)
		h.exec(t, `INSERT INTO mapping_changes (tenant, version, actor, reason) VALUES ($1, 1, $2, $2)`, tenant, "canary-"+tenant)
		h.exec(t, `INSERT INTO mapping_versions (tenant, version) VALUES ($1, $2)`, tenant, 1+i)
		h.exec(t, `INSERT INTO mapping_tables (tenant, name, destination, entries, version) VALUES ($1, 'sku', 0, 1, 1)`, tenant)
		h.exec(t, `INSERT INTO mapping_entries (tenant, name, value, target, version) VALUES ($1, 'sku', $2, $2, 1)`, tenant, "canary-"+tenant+"2")
		h.exec(t, `INSERT INTO mapping_history (tenant, name, destination, value, version, becomes) VALUES ($1, 'sku', 0, $2, 1, $2)`, tenant, "canary-"+tenant)
		ids[tenant] = e
	}
	for _, tenant := range tenants { // behind those whose numbers are asked for
		h.exec(t, `INSERT INTO exceptions (tenant, class, rule, code, field) VALUES ($1, 'SKU_UNMAPPED', 'look-up', $2, 'sku')`, tenant, "canary-"+tenant)
	}
	seed := [2]uint64{rand.Uint64(), rand.Uint64()}
	t.Logf("seed %v", seed)
	random := rand.New(rand.NewPCG(seed[0], seed[1]))
	errGone := errors.New("the caller gives up")
	for range 200 {
		tenant := tenants[random.IntN(2)]
		other := tenants[0]
		if tenant == other {
			other = tenants[1]
		}
		ctx, cancel := context.WithCancel(t.Context())
		ending := random.IntN(5)
		var seen string
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			return h.view.As(ctx, tenant, func(tx *Tx) error {
				if ending == 0 {
					timer := time.AfterFunc(time.Duration(random.IntN(3_000))*time.Microsecond, cancel)
					defer timer.Stop()
				}
				var err error
				if seen, err = everything(ctx, tx, ids); err != nil {
					return err
				}
				switch ending {
				case 1:
					panic("in the middle of a read")
				case 2:
					return errGone
				case 3:
					cancel()
				}
				return nil
			})
		}()
		cancel()
		if strings.Contains(seen, other) || strings.Contains(fmt.Sprint(err), other) {
			t.Fatalf("tenant %s saw the canary of %s: %s (%v)", tenant, other, seen, err)
		}
		if ending == 4 && (err != nil || !strings.Contains(seen, "canary-"+tenant)) {
			t.Fatalf("tenant %s does not see its own: %s (%v)", tenant, seen, err)
		}
		if setting := settingOf(t, h); setting != "" {
			t.Fatalf("the session still names the tenant %q after a transaction", setting)
		}
	}
}

// everything reads by every way, with the identifiers of both tenants.
func everything(ctx context.Context, tx *Tx, ids map[string]outbox.EventID) (string, error) {
	var both []outbox.EventID
	for _, id := range ids {
		both = append(both, id)
	}
	var seen strings.Builder
	note := func(v any, err error) error {
		fmt.Fprintf(&seen, "%+v\n", v)
		return err
	}
	yes := true
	events, err1 := tx.Events(ctx, EventFilter{}, 100, "")
	for _, e := range events.Nodes {
		err1 = errors.Join(err1, note(*e, nil))
	}
	unrouted, err2 := tx.Events(ctx, EventFilter{Unrouted: &yes, OrderingKey: ""}, 100, "")
	byKey, err3 := tx.Events(ctx, EventFilter{OrderingKey: "order/1"}, 100, "")
	byID, err4 := tx.EventsByID(ctx, both)
	payloads, err5 := tx.Payloads(ctx, both)
	deliveries, err6 := tx.DeliveriesOf(ctx, both)
	found, err7 := tx.Search(ctx, "1042", 100, "")
	open, err8 := tx.OpenDeliveries(ctx, OpenFilter{}, 100, "")
	exceptions, err9 := tx.Exceptions(ctx, ExceptionFilter{}, 100, "")
	timeline, err10 := tx.Timeline(ctx, TimelineFilter{}, 100, "")
	held, err11 := tx.Held(ctx, []HeldBy{{Exception: 1, First: 10}, {Exception: 2, First: 10}})
	stories, err12 := tx.EventStories(ctx, []EventStory{{both[0], 10, ""}, {both[1], 10, ""}})
	totals, err13 := tx.Totals(ctx)
	tables, err14 := tx.MappingTables(ctx)
	entries, err15 := tx.MappingEntries(ctx, MappingFilter{Table: "sku"}, 100, "")
	history, err16 := tx.MappingHistory(ctx, HistoryFilter{}, 100, "")
	gaps, err17 := tx.MappingGaps(ctx, GapFilter{}, 100, "")
	mappings := errors.Join(err14, err15, err16, err17)
	if mappings == nil {
		for _, n := range []int{len(tables), len(entries.Nodes), len(history.Nodes), len(gaps.Nodes)} {
			if n != 1 {
				return seen.String(), fmt.Errorf("%d rows of mappings where the tenant has one", n)
			}
		}
		mappings = note(fmt.Sprintf("%+v %+v %+v %+v", *tables[0], *entries.Nodes[0], *history.Nodes[0], *gaps.Nodes[0]), nil)
	}
	err := errors.Join(mappings, err1, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11, err12, err13)
	for _, n := range []int{
		len(unrouted.Nodes), len(byKey.Nodes), len(byID), len(payloads), len(deliveries), len(found.Nodes), len(open.Nodes),
		len(exceptions.Nodes) - 1, len(timeline.Nodes) - 1, len(held[0].Nodes) + len(held[1].Nodes), len(stories[0].Nodes) + len(stories[1].Nodes) - 1,
	} {
		if err == nil && n != 1 {
			return seen.String(), fmt.Errorf("%d rows where the tenant has one", n)
		}
	}
	for _, d := range open.Nodes {
		err = errors.Join(err, note(*d, nil))
	}
	for _, x := range exceptions.Nodes {
		err = errors.Join(err, note(*x, nil))
	}
	return seen.String(), errors.Join(err, note(totals, nil))
}

func settingOf(t *testing.T, h *house) (setting string) {
	t.Helper()
	var events int
	err := h.view.pool.QueryRow(t.Context(), `SELECT coalesce(current_setting('raffsync.tenant', true), ''), (SELECT count(*) FROM events)`).Scan(&setting, &events)
	if err != nil {
		t.Fatal(err)
	}
	if events != 0 {
		t.Fatalf("a session that names no tenant sees %d events", events)
	}
	return setting
}

func TestView_RefusesARoleThatSeesAll(t *testing.T) {
	h := openHouse(t, 1)
	err := New(h.owner).As(t.Context(), "kopi", func(*Tx) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "raffsync_api") {
		t.Errorf("a view over the owner's pool: %v; want a refusal that names the role", err)
	}
	if err := h.view.As(t.Context(), "", func(*Tx) error { return nil }); err == nil {
		t.Error("no tenant was taken for one")
	}
}
