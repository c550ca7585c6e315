package view

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

// seedHistory is three weeks of two tenants: key 1 is every twentieth event's, key 2 is of
// few, and others are of three that follow each other.
const seedHistory = `
SELECT raffsync_ensure_partitions(now() - interval '21 days', now());
INSERT INTO events (tenant, accepted_at, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
SELECT CASE WHEN g % 7 = 0 THEN 'teh' ELSE 'kopi' END, now() - interval '21 days' + (g / 2) * interval '60 seconds', (1::bigint << 40) + g,
       CASE WHEN g % 20 = 1 THEN 1 WHEN g % 6000 = 2 THEN 2 ELSE 1000 + g / 3 END, 1, 0, false, now(), 'e' || g, 'order.created', 'order', 'mall', 'application/json', repeat('x', 300)::bytea
  FROM generate_series(0, 60000) g`

const ofKeySQL = `SELECT seq FROM raffsync_events_of_key($1, $2, $3, $4, $5)`

// What is found by the filters, in windows, is what reading everything finds.
func TestEventsOfKey(t *testing.T) {
	h := openHouse(t, 1)
	h.exec(t, seedHistory)
	h.exec(t, `SELECT raffsync_summarize_events()`)
	h.exec(t, `INSERT INTO events SELECT tenant, accepted_at + interval '3 seconds', seq + 100000, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, refs, payload
	             FROM events WHERE seq % 10 = 1`) // out of order, in pages that no filter knows
	newest := h.one(t, `SELECT max(accepted_at) FROM events`)
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.OneOf(rapid.SampledFrom([]int64{1, 2, 77}), rapid.Int64Range(1000, 21_000)).Draw(rt, "key")
		before := newest.Add(-time.Duration(rapid.Int64Range(0, 21*24*60).Draw(rt, "minutes before the newest")) * time.Minute)
		if rapid.Bool().Draw(rt, "from the newest") {
			before = latest
		}
		after := earliest
		if rapid.Bool().Draw(rt, "with an end") {
			after = before.Add(-time.Duration(rapid.Int64Range(-60, 10*24*60).Draw(rt, "minutes")) * time.Minute)
		}
		at := rapid.Int64Range(1<<40, 1<<40+160_000).Draw(rt, "position")
		most := rapid.SampledFrom([]int{1, 2, 7, 101, 5000}).Draw(rt, "most")
		seqs := func(ctx context.Context, tx *Tx, sql string) []int64 {
			rows, _ := tx.tx.Query(ctx, sql, key, before, at, after, most)
			found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				rt.Fatal(err)
			}
			return found
		}
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			got := seqs(ctx, tx, ofKeySQL)
			want := seqs(ctx, tx, `SELECT seq FROM events WHERE key_hash = $1 AND (accepted_at, seq) < ($2, $3) AND accepted_at > $4 ORDER BY accepted_at DESC, seq DESC LIMIT $5`)
			if !slices.Equal(got, want) {
				rt.Errorf("%d events %v, want the %d %v", len(got), got[:min(len(got), 10)], len(want), want[:min(len(want), 10)])
			}
			return nil
		})
	})
}

// A key that few events have, or none, takes reading a small part of them; so do the newest
// of one that has many.
func TestEventsOfKey_ReadsLittle(t *testing.T) {
	h := openHouse(t, 1)
	h.exec(t, seedHistory)
	blocks := func(key int64, most int) (read float64) {
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			var raw []byte
			if err := tx.tx.QueryRow(ctx, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+ofKeySQL, pgx.QueryExecModeSimpleProtocol,
				key, "infinity", 0, "-infinity", most).Scan(&raw); err != nil {
				return err
			}
			var explained []struct {
				Plan struct {
					Hit  float64 `json:"Shared Hit Blocks"`
					Read float64 `json:"Shared Read Blocks"`
				}
			}
			err := json.Unmarshal(raw, &explained)
			read = explained[0].Plan.Hit + explained[0].Plan.Read
			return err
		})
		return read
	}
	all := float64(h.number(t, `SELECT sum(pg_relation_size(inhrelid)) / 8192 FROM pg_inherits WHERE inhparent = 'events'::regclass`))
	if read := blocks(77, 100); read < all {
		t.Errorf("%.0f of %.0f blocks are read before anything is summarized: this does not count what is read", read, all)
	}
	if made := h.number(t, `SELECT raffsync_summarize_events()`); made == 0 {
		t.Error("nothing was there to summarize")
	}
	h.exec(t, `ANALYZE events`)
	for _, c := range []struct {
		name string
		key  int64
		most int
	}{{"a key of nothing", 77, 100}, {"a key of few", 1000 + 9001, 100}, {"the newest of many", 1, 10}} {
		read := blocks(c.key, c.most)
		t.Logf("%s: %.0f of %.0f blocks are read", c.name, read, all)
		if read > all/4 {
			t.Errorf("%s: %.0f of %.0f blocks are read", c.name, read, all)
		}
	}
}
