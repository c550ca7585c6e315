package view

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mapped seeds an entry as a change of its own.
func (h *house) mapped(t testing.TB, version int, table string, destination int32, value, target string) {
	t.Helper()
	h.exec(t, `INSERT INTO mapping_changes (tenant, version, actor, reason) VALUES ('kopi', $1::bigint, 'ayu', 'change ' || $1::bigint) ON CONFLICT DO NOTHING`, version)
	h.exec(t, `INSERT INTO mapping_versions (tenant, version) VALUES ('kopi', $1) ON CONFLICT (tenant) DO UPDATE SET version = excluded.version`, version)
	h.exec(t, `INSERT INTO mapping_history (tenant, name, destination, value, version, was, becomes)
		SELECT 'kopi', $2::text, $3::integer, $4::text, $1::bigint, (SELECT target FROM mapping_entries WHERE name = $2 AND destination = $3 AND value = $4), $5::text`, version, table, destination, value, target)
	h.exec(t, `INSERT INTO mapping_entries (tenant, version, name, destination, value, target) VALUES ('kopi', $1, $2, $3, $4, $5)
		ON CONFLICT (tenant, name, destination, value) DO UPDATE SET target = excluded.target, version = excluded.version`, version, table, destination, value, target)
	h.exec(t, `INSERT INTO mapping_tables (tenant, version, name, destination, entries)
		SELECT 'kopi', $1::bigint, $2::text, $3::integer, (SELECT count(*) FROM mapping_entries WHERE name = $2 AND destination = $3 AND value <> '')
		ON CONFLICT (tenant, name, destination) DO UPDATE SET entries = excluded.entries, version = excluded.version`, version, table, destination)
}

// missed seeds the exception of a look-up.
func (h *house) missed(t testing.TB, table string, destination int32, value string, held int) {
	t.Helper()
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, held) VALUES ('kopi', 'SKU_UNMAPPED', $1, 'look-up', $2, $3, $4)`, destination, table, value, held)
}

func TestTx_Mappings(t *testing.T) {
	h := openHouse(t, 1)
	stock, books := h.destination(t, "kopi", "stock"), h.destination(t, "kopi", "books")
	for i, value := range []string{"LATTE", "latte", "TEA", "MOCHA"} {
		h.mapped(t, 1+i, "sku", stock, value, fmt.Sprint("ITM-", i))
	}
	h.mapped(t, 5, "sku", stock, "LATTE", "ITM-9")
	h.mapped(t, 6, "sku", 0, "", "MISC")
	h.mapped(t, 7, "tax", books, "VAT", "T1")
	h.exec(t, `INSERT INTO mapping_tables (tenant, version, name, destination) VALUES ('kopi', 3, 'emptied', 0)`)
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		tables, err := tx.MappingTables(ctx)
		if err != nil {
			return err
		}
		var got []string
		for _, table := range tables {
			destination, fallback := "-", "-"
			if table.Destination != nil {
				destination = *table.Destination
			}
			if table.Default != nil {
				fallback = *table.Default
			}
			got = append(got, fmt.Sprintf("%s %s %d %s v%d %s %s", table.Name, destination, table.Entries, fallback, table.Version, table.Actor, table.Reason))
		}
		if diff := cmp.Diff([]string{"sku - 0 MISC v6 ayu change 6", "sku stock 4 - v5 ayu change 5", "tax books 1 - v7 ayu change 7"}, got); diff != "" {
			t.Errorf("tables (-want +got):\n%s", diff)
		}
		if v, err := tx.MappingVersion(ctx); v != 7 || err != nil {
			t.Errorf("version %d, %v", v, err)
		}
		if table, err := tx.MappingTable(ctx, "sku", "stock"); err != nil || table == nil || table.Entries != 4 {
			t.Errorf("one of them: %+v, %v", table, err)
		}
		if table, err := tx.MappingTable(ctx, "tax", "stock"); table != nil || err != nil {
			t.Errorf("none of them: %+v, %v", table, err)
		}
		var input *InputError
		if _, err := tx.MappingTable(ctx, "sku", "shelf"); !errors.As(err, &input) {
			t.Errorf("of no destination: %v", err)
		}
		return nil
	})
	value := func(e *MappingEntry) string {
		return fmt.Sprintf("%s=%s v%d %s", e.Value, e.Target, e.Version, e.Reason)
	}
	for first := 1; first <= 5; first++ {
		got := walkAllPages(h, t, func() {}, value, func(ctx context.Context, tx *Tx, after string) (Page[*MappingEntry], error) {
			return tx.MappingEntries(ctx, MappingFilter{Table: "sku", Destination: "stock"}, first, after)
		})
		if diff := cmp.Diff([]string{"LATTE=ITM-9 v5 change 5", "MOCHA=ITM-3 v4 change 4", "TEA=ITM-2 v3 change 3", "latte=ITM-1 v2 change 2"}, got); diff != "" {
			t.Errorf("entries by %d (-want +got):\n%s", first, diff)
		}
		got = walkAllPages(h, t, func() {}, func(r *MappingRevision) string { return fmt.Sprintf("v%d %s", r.Version, r.Value) },
			func(ctx context.Context, tx *Tx, after string) (Page[*MappingRevision], error) {
				return tx.MappingHistory(ctx, HistoryFilter{Table: "sku", Destination: "stock"}, first, after)
			})
		if diff := cmp.Diff([]string{"v5 LATTE", "v4 MOCHA", "v3 TEA", "v2 latte", "v1 LATTE"}, got); diff != "" {
			t.Errorf("history by %d (-want +got):\n%s", first, diff)
		}
	}
	for search, want := range map[string]string{"latte": "LATTE latte", "itm-2": "TEA", "a": "LATTE MOCHA TEA latte", "%": "", "_": ""} {
		h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
			page, err := tx.MappingEntries(ctx, MappingFilter{Table: "sku", Destination: "stock", Search: search}, 100, "")
			var got []string
			for _, e := range page.Nodes {
				got = append(got, e.Value)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%q finds %v, want %s", search, got, want)
			}
			return err
		})
	}
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		page, err := tx.MappingHistory(ctx, HistoryFilter{Table: "sku", Destination: "stock", Value: "LATTE"}, 100, "")
		if err != nil {
			return err
		}
		var got []string
		for _, r := range page.Nodes {
			from := "-"
			if r.From != nil {
				from = *r.From
			}
			got = append(got, fmt.Sprintf("v%d %s>%s %s %s", r.Version, from, *r.To, r.Actor, r.Reason))
		}
		if diff := cmp.Diff([]string{"v5 ITM-0>ITM-9 ayu change 5", "v1 ->ITM-0 ayu change 1"}, got); diff != "" {
			t.Errorf("the history of a value (-want +got):\n%s", diff)
		}
		all, err := tx.MappingHistory(ctx, HistoryFilter{}, 100, "")
		if len(all.Nodes) != 7 || all.Nodes[1].Value != "" || all.Nodes[1].Destination != nil {
			t.Errorf("all history: %d, %+v", len(all.Nodes), all.Nodes)
		}
		return err
	})
}

func TestTx_MappingGaps(t *testing.T) {
	h := openHouse(t, 1)
	stock, books := h.destination(t, "kopi", "stock"), h.destination(t, "kopi", "books")
	h.mapped(t, 1, "sku", stock, "LATTE-OATS", "ITM-42")
	h.mapped(t, 2, "sku", 0, "LATTE-SOY", "ITM-43")
	h.mapped(t, 3, "sku", stock, "MOCHA", "ITM-44")
	h.mapped(t, 4, "sku", stock, "", "MISC")
	h.missed(t, "sku", stock, "LATTE-OAT", 6)
	h.missed(t, "sku", stock, "NOTHING LIKE IT", 2)
	h.missed(t, "sku", books, "mocha", 2)
	h.missed(t, "tax", books, "VAT", 9)
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, held, status, closed_at) VALUES ('kopi', 'SKU_UNMAPPED', $1, 'look-up', 'sku', 'FILLED', 0, 'RESOLVED', now())`, stock)
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, rule, field, code, held) VALUES ('kopi', 'VALIDATION', $1, 'unknown item', 'sku', 'X', 50)`, stock)
	tell := func(g *MappingGap) string {
		var near []string
		for _, s := range g.Suggestions {
			near = append(near, s.Value+"="+s.Target)
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %s %d %s", *g.Destination, g.Table, g.Value, g.HeldCount, strings.Join(near, ",")))
	}
	for first := 1; first <= 5; first++ {
		got := walkAllPages(h, t, func() {}, tell, func(ctx context.Context, tx *Tx, after string) (Page[*MappingGap], error) {
			return tx.MappingGaps(ctx, GapFilter{}, first, after)
		})
		want := []string{"books tax VAT 9", "stock sku LATTE-OAT 6 LATTE-OATS=ITM-42,LATTE-SOY=ITM-43", "stock sku NOTHING LIKE IT 2", "books sku mocha 2"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %d (-want +got):\n%s", first, diff)
		}
	}
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		page, err := tx.MappingGaps(ctx, GapFilter{Table: "sku", Destination: "books"}, 10, "")
		if len(page.Nodes) != 1 || page.Nodes[0].Value != "mocha" {
			t.Errorf("of a table and destination: %+v", page.Nodes)
		}
		return err
	})
}

func TestLikeliest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", comparable+1)
	for _, c := range []struct {
		value      string
		candidates []MappingSuggestion
		want       string
	}{
		{"LATTE", nil, ""},
		{"LATTE", []MappingSuggestion{{"1", "LATTE2"}, {"2", "LATE"}, {"3", "TEA"}}, "2 1"}, // as near, by value
		{"LATTE", []MappingSuggestion{{"1", "MATTE"}, {"1", "LATTES"}, {"2", "latte"}}, "2 1"},
		{"LATTE", []MappingSuggestion{{"LATTE-1", "L9"}, {"9", "M9"}}, ""},
		{"LATTE-OAT", []MappingSuggestion{{"LATTE-OAT", "internal 7"}}, "LATTE-OAT"}, // the platform's own code
		{"LATTE", []MappingSuggestion{{"1", "LATTA"}, {"2", "LATTB"}, {"3", "LATTC"}, {"4", "LATTD"}}, "1 2 3"},
		{"AB", []MappingSuggestion{{"1", "AC"}, {"2", "ab"}}, "2"}, // of short codes, each character says all
		{long, []MappingSuggestion{{"1", long}}, ""},
		{"LATTE", []MappingSuggestion{{"1", long}}, ""},
		{"クッキー", []MappingSuggestion{{"1", "クッキ"}}, "1"},
	} {
		var got []string
		for _, s := range likeliest(c.value, c.candidates) {
			got = append(got, s.Target)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q among %v: %v, want %s", c.value, c.candidates, got, c.want)
		}
	}
}
