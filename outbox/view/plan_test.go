package view

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// large are the tables that grow with history, or with a backlog; their partitions
// begin with the name.
var large = []string{"events", "timeline", "deliveries", "event_references", "event_ids", "exceptions", "holds", "late", "conflicts", "quarantined", "mapping_entries", "mapping_history", "mapping_used", "effects", "effect_waits"}

const seedLarge = `
SELECT raffsync_ensure_partitions(now() - interval '40 days', now() + interval '1 month');
INSERT INTO sources (tenant, name) SELECT t, 's' || g FROM unnest(ARRAY['kopi', 'teh']) t, generate_series(1, 3) g;
INSERT INTO destinations (tenant, name) SELECT t, 'd' || g FROM unnest(ARRAY['kopi', 'teh']) t, generate_series(1, 3) g;
INSERT INTO events (tenant, accepted_at, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, payload)
SELECT s.tenant, now() - interval '35 days' + g * interval '30 seconds', (1::bigint << 40) + g, hashint8extended(g % 5000, 7), s.id,
       abs(hashint8extended(g % 5000, 7) % 64), g % 50 = 0, now(), 'e' || g, CASE WHEN g % 3 = 0 THEN 'order.created' ELSE 'stock.moved' END,
       'order/' || g % 5000, 'mall', 'application/json', '\x7b7d'
  FROM generate_series(1, 100000) g
  JOIN sources s ON s.tenant = CASE WHEN g % 4 = 0 THEN 'teh' ELSE 'kopi' END AND s.name = 's' || 1 + g % 3;
INSERT INTO event_ids (tenant, source, id, hash, seq, accepted_at) SELECT tenant, source, id, '\x00', seq, accepted_at FROM events;
INSERT INTO event_references (tenant, value, accepted_at, seq, name) SELECT tenant, 'INV-' || seq % 30000, accepted_at, seq, 'invoice' FROM events;
INSERT INTO timeline (tenant, at, event, event_at, destination, replay, attempt, step, kind, what, state)
SELECT e.tenant, accepted_at + interval '1 second', seq, accepted_at, d.id, 0, 1, 0, 1, 'attempt', 'DELIVERED'
  FROM events e JOIN destinations d ON d.tenant = e.tenant AND d.name = 'd2' WHERE NOT unrouted;
INSERT INTO deliveries (seq, event, event_at, accepted_at, key_hash, due_at, exception, destination, lane, state, tenant, route)
SELECT seq, seq, accepted_at, accepted_at, key_hash, CASE WHEN seq % 10 = 1 THEN now() + interval '1 minute' END,
       CASE WHEN seq % 10 = 2 THEN 1 + seq % 50 END, d.id, lane, CASE seq % 10 WHEN 1 THEN 1 WHEN 2 THEN 2 ELSE 0 END, e.tenant, 'sales'
  FROM events e JOIN destinations d ON d.tenant = e.tenant AND d.name = 'd3' WHERE NOT unrouted;
INSERT INTO exceptions (tenant, class, destination, code, opened_at, status, closed_at)
SELECT 'kopi', 'VALIDATION', 3, g::text, now() - g * interval '20 seconds', CASE WHEN g % 2 = 0 THEN 'NEEDS_ACTION' ELSE 'RESOLVED' END, CASE WHEN g % 2 = 1 THEN now() END
  FROM generate_series(1, 25000) g;
INSERT INTO timeline (tenant, at, exception, what) SELECT tenant, opened_at, id, 'exception' FROM exceptions;
INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE exception IS NOT NULL;
INSERT INTO late (exception, lane, destination, seq, tenant) SELECT 1 + seq % 50, lane, destination, seq, tenant FROM deliveries;
INSERT INTO quarantined (tenant, source, id, exception, code, reason, content_type, query, body_bytes, body_sha256, body)
SELECT 'kopi', 1, 'q' || g, 1 + g % 50, 'EVENT_ID', '', '', '', 0, '', '' FROM generate_series(1, 20000) g;
INSERT INTO conflicts (tenant, source, id, hash, first_seq, first_at, exception, occurred_at, type, ordering_key, outlet, content_type, payload)
SELECT tenant, source, id, '\x01', seq, accepted_at, 1 + seq % 1000, now(), type, ordering_key, outlet, content_type, payload FROM events WHERE seq % 10 = 0;
INSERT INTO effects (tenant, destination, effect, lane, seq, claimed_at) SELECT tenant, destination, 'order/' || seq - (1::bigint << 40), lane, seq, now() FROM deliveries;
INSERT INTO effect_waits (tenant, destination, effect, lane, seq, key_hash) SELECT tenant, destination, 'order/' || seq - (1::bigint << 40), lane, seq, key_hash FROM deliveries;
INSERT INTO tallies (tenant, destination, shard, accepted) SELECT tenant, d.id, g, 10 FROM destinations d, generate_series(0, 7) g;
INSERT INTO configuration (tenant, version, document, digest, actor, reason) VALUES ('kopi', 1, '{"routes": [{"name": "sales", "on_exception": "pass"}]}', '\x00', 'a', 'r');
INSERT INTO intents (replica, batch, lanes, destinations, seqs, steps, attempts, revisions)
SELECT 1, g, ARRAY[lane], ARRAY[destination], ARRAY[seq], ARRAY[0::smallint], ARRAY[1], ARRAY[0::smallint]
  FROM (SELECT row_number() OVER () AS g, * FROM deliveries LIMIT 100) d;
INSERT INTO exceptions (tenant, class, destination, rule, code, field, held) SELECT 'kopi', 'SKU_UNMAPPED', 3, 'look-up', 'SKU-' || g, 'sku', g % 100 FROM generate_series(1, 15000) g;
INSERT INTO mapping_changes (tenant, version, actor, reason) SELECT 'kopi', g, 'a', 'r' FROM generate_series(1, 1000) g;
INSERT INTO mapping_versions (tenant, version) VALUES ('kopi', 1000);
INSERT INTO mapping_tables (tenant, name, destination, entries, version) VALUES ('kopi', 'sku', 0, 20000, 900), ('kopi', 'sku', 3, 20000, 1000);
INSERT INTO mapping_entries (tenant, name, destination, value, target, version)
SELECT 'kopi', 'sku', d, 'SKU-' || g, 'ITM-' || g, 1 + g % 1000 FROM generate_series(1, 20000) g, unnest(ARRAY[0, 3]) d;
INSERT INTO mapping_used (tenant, destination, at, events, event_ats, replays, steps, attempts, routes, names, looked, targets, versions, shared, fallback, requests, entries)
SELECT 'kopi', (SELECT id FROM destinations WHERE tenant = 'kopi' AND name = 'd3'), now() - g * interval '1 second', ARRAY[g], ARRAY[now()], ARRAY[0], ARRAY[0::smallint], ARRAY[1], ARRAY['r'],
       ARRAY['sku'], ARRAY['SKU-' || g % 100], ARRAY['T'], ARRAY[7], ARRAY[false], ARRAY[false], ARRAY[1], ARRAY[1] FROM generate_series(1, 20000) g;
INSERT INTO mapping_history (tenant, name, destination, value, version, was, becomes)
SELECT 'kopi', 'sku', d, 'SKU-' || g, v + g % 500, 'ITM-' || v, 'ITM-' || v + 1 FROM generate_series(1, 20000) g, unnest(ARRAY[0, 3]) d, unnest(ARRAY[1, 501]) v;
ANALYZE`

// sampleArgs are arguments like those of a real page, for each statement.
func (h *house) sampleArgs(t *testing.T) map[string][]any {
	seq := int64(1<<40 + 77777)
	at := h.one(t, `SELECT accepted_at FROM events WHERE seq = $1`, seq)
	newest, oldest, now := int64(1<<62), earliest, time.Now()
	d3 := int32(h.number(t, `SELECT id FROM destinations WHERE tenant = 'kopi' AND name = 'd3'`))
	lane := int16(h.number(t, `SELECT lane FROM events WHERE seq = $1`, seq))
	key := h.number(t, `SELECT key_hash FROM events WHERE seq = $1`, seq)
	exception := int64(1 + (1<<40+2)%50)
	ats, seqs := []time.Time{at}, []int64{seq}
	one := []int64{51}
	events := func(key *int64, unrouted *bool) []any {
		return []any{now, newest, oldest, Budget, key, "order/2777", "s3", "order.created", "mall", unrouted, 51}
	}
	var lanes []int16
	var destinations []int32
	for lane := range int16(64) {
		for d := range int32(20) { // most of them have nothing open
			lanes, destinations = append(lanes, lane), append(destinations, d3+1000*d)
		}
	}
	yes := true
	exceptions := []any{now, newest, Budget, &yes, "NOT_THERE", "d3", "s3", "LOW", "ayu", "IN_PROGRESS", "mall", "catalogue", 51}
	ranked := func(order string) []any {
		return []any{order, Budget, "1e30", &yes, "", "", "", "", "", "", "", "", 0, 0, 0, 51}
	}
	return map[string][]any{
		"connections":                            {},
		"enter a tenant":                         {"kopi"},
		"events by time":                         events(nil, nil),
		"events by time, last examined":          {now, newest, oldest, Budget},
		"events unrouted":                        events(nil, &yes),
		"events unrouted, last examined":         {now, newest, oldest, Budget},
		"events by key":                          events(&key, nil),
		"events by key, last examined":           {now, newest, oldest, Budget, key},
		"events by id":                           {ats, seqs},
		"payloads by id":                         {ats, seqs},
		"search by event id":                     {"e77777", latest, newest, 51},
		"search by reference":                    {"INV-17777", latest, newest, 51},
		"search by ordering key":                 {"order/2777", latest, newest, 51, key, Budget},
		"open deliveries of events":              {ats, seqs},
		"settled deliveries of events":           {ats, seqs},
		"standings":                              {[]int16{lane}, []int32{d3}, seqs, []int64{key}, ats, []int32{0}, lineBudget, []int16{0}},
		"open deliveries":                        {[]int16{lane}, []int32{d3}, seqs},
		"keys of open deliveries":                {lanes, destinations, make([]int64, len(lanes)), 3},
		"lanes":                                  {},
		"destinations named":                     {""},
		"sources named":                          {"s3"},
		"open exceptions in order":               {oldest, 0, causesAtOnce},
		"timeline of the tenant":                 {now, newest, oldest, Budget, []string{"breaker"}, "d3", 51},
		"timeline of the tenant, last examined":  {now, newest, oldest, Budget},
		"stories of events":                      {seqs, ats, []time.Time{oldest}, []int64{0}, one},
		"stories of exceptions":                  {[]int64{exception}, []time.Time{oldest}, []int64{0}, one},
		"attempts of deliveries":                 {seqs, ats, []int32{d3 - 1}, []int32{0}, one},
		"steps of deliveries":                    {seqs, ats, []int32{d3 - 1}, []int32{0}, one},
		"steps of routes":                        {[]string{"sales"}},
		"an effect by its name":                  {"d3", "order/77777"},
		"claims that are waited for":             {[]int16{lane}, []int32{d3}, seqs},
		"exceptions by time":                     exceptions,
		"exceptions by time, last examined":      {now, newest, Budget},
		"exceptions open":                        exceptions,
		"exceptions open, last examined":         {now, newest, Budget},
		"exceptions by id":                       {[]int64{exception}},
		"exceptions by rank":                     ranked("EXPOSURE_DESC"),
		"exposures":                              {[]int64{exception}},
		"steps of exceptions":                    {[]int64{exception}, mostSteps},
		"held deliveries":                        {[]int64{exception}, []int16{-1}, []int32{0}, []int64{0}, one},
		"causes of deliveries":                   {[]int16{lane}, []int32{d3}, seqs},
		"conflicts of an exception":              {exception, oldest, 0, []byte{}, "", 51},
		"quarantined of an exception":            {exception, 0, 51},
		"destinations":                           {},
		"jobs going":                             {},
		"breakers":                               {},
		"limits":                                 {},
		"controls":                               {},
		"sources that are held":                  {[]time.Time{now}, []int64{1}, []string{"till"}},
		"faults of the configuration":            {},
		"oldest open deliveries":                 {[]int32{d3}},
		"totals":                                 {},
		"sources":                                {},
		"horizon":                                {},
		"entries since a time":                   {now.Add(-24 * time.Hour), int64(math.MinInt64), 1000},
		"mapping tables":                         {},
		"mapping table":                          {"sku", "d3"},
		"mapping version":                        {},
		"mapping entries":                        {"sku", "d3", "SKU-5", Budget, "not there", 51},
		"mapping entries, last examined":         {"sku", "d3", "SKU-1", Budget},
		"mapping history":                        {1000, "sku", 4, "", Budget, "tax", "d3", 51},
		"mapping history, last examined":         {1000, "sku", 4, "", Budget},
		"mapping history of a value":             {"sku", "d3", "SKU-17777", newest, 51},
		"what a value is called today":           {"sku", "d3", "SKU-17777"},
		"uses of a mapping entry":                {"d3", earliest, latest, usesAtFirst, "sku", "SKU-77", "", newest, 1, 1, 9, 51},
		"uses of a mapping entry, last examined": {"d3", earliest, latest, Budget},
		"mapping gaps":                           {Budget, 50, 0, "sku", "d3", 51},
		"mapping neighbours":                     {[]int32{d3, d3}, []string{"sku", "sku"}, []string{"SKU-17", "SKU-9x"}, neighbours},
		"today":                                  {},
		"drains":                                 {[]int32{d3}},
		"entries by id": {
			[]time.Time{at, at.Add(time.Second)},
			[]int64{h.number(t, `SELECT entry FROM accepted WHERE at = $1`, at), h.number(t, `SELECT entry FROM timeline WHERE at = $1`, at.Add(time.Second))},
		},
	}
}

func (h *house) one(t *testing.T, sql string, args ...any) (at time.Time) {
	t.Helper()
	if err := h.owner.QueryRow(t.Context(), sql, args...).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

// node is what matters of a plan.
type node struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Plans   []node  `json:"Plans"`
}

func (n node) walk(f func(node)) {
	f(n)
	for _, p := range n.Plans {
		p.walk(f)
	}
}

func TestStatements_FollowIndexes(t *testing.T) {
	h := openHouse(t, 2)
	h.exec(t, seedLarge)
	samples := h.sampleArgs(t)
	for _, s := range statements {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			args, ok := samples[s.name]
			if !ok {
				t.Fatal("no arguments to look at its plan with; add some to sampleArgs")
			}
			h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
				plan, err := explain(ctx, tx.tx, s.sql, args)
				if err != nil {
					return err
				}
				judge(t, plan)
				return nil
			})
		})
	}
}

// Every statement is one that the API's role may run, on an empty database too.
func TestStatements_Prepare(t *testing.T) {
	h := openHouse(t, 1)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		for _, s := range statements {
			if _, err := tx.tx.Prepare(ctx, s.name, s.sql); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		return nil
	})
}

func judge(t *testing.T, plan node) {
	t.Helper()
	plan.walk(func(n node) {
		isLarge := false
		for _, table := range large {
			isLarge = isLarge || n.Table == table || strings.HasPrefix(n.Table, table+"_2")
		}
		if !isLarge {
			return
		}
		switch n.Type {
		case "Index Scan", "Index Only Scan", "Bitmap Heap Scan":
		default:
			t.Errorf("%s on %s", n.Type, n.Table)
		}
		if read := (n.Rows + n.Removed) * n.Loops; read > Budget+100 {
			t.Errorf("%s on %s reads %.0f rows", n.Type, n.Table, read)
		}
	})
}

// explain runs SQL as it runs in the view: with the generic plan.
func explain(ctx context.Context, tx pgx.Tx, sql string, args []any) (node, error) {
	described, err := tx.Prepare(ctx, "", sql)
	if err != nil {
		return node{}, err
	}
	texts := make([]string, len(args))
	for i, arg := range args {
		text, err := tx.Conn().TypeMap().Encode(described.ParamOIDs[i], pgx.TextFormatCode, arg, nil)
		if err != nil {
			return node{}, fmt.Errorf("argument %d: %w", i+1, err)
		}
		if texts[i] = "NULL"; text != nil {
			texts[i] = "'" + strings.ReplaceAll(string(text), "'", "''") + "'"
		}
	}
	if _, err := tx.Exec(ctx, "PREPARE looked_at AS "+sql); err != nil {
		return node{}, err
	}
	execute := "EXECUTE looked_at"
	if len(texts) > 0 {
		execute += "(" + strings.Join(texts, ", ") + ")"
	}
	var raw []byte
	err = tx.QueryRow(ctx, "EXPLAIN (ANALYZE, FORMAT JSON) "+execute, pgx.QueryExecModeSimpleProtocol).Scan(&raw)
	if err != nil {
		return node{}, err
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(raw, &plans); err != nil {
		return node{}, err
	}
	_, err = tx.Exec(ctx, "DEALLOCATE looked_at")
	return plans[0].Plan, err
}
