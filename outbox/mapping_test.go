package outbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"raffsync/outbox"
)

var (
	skuOfStock = outbox.MappingTable{Name: "sku", Destination: "stock"}
	sharedSKU  = outbox.MappingTable{Name: "sku"}
)

func mappingRequest(id string) outbox.MappingRequest {
	return outbox.MappingRequest{RequestID: id, Reason: "new item"}
}

func setting(id string, table outbox.MappingTable, pairs ...string) outbox.SetMappings {
	q := outbox.SetMappings{MappingRequest: mappingRequest(id), Table: table}
	for _, pair := range pairs {
		value, target, _ := strings.Cut(pair, "=")
		q.Entries = append(q.Entries, outbox.MappingPair{Value: value, Target: target})
	}
	return q
}

func removing(id string, table outbox.MappingTable, values ...string) outbox.RemoveMappings {
	return outbox.RemoveMappings{MappingRequest: mappingRequest(id), Table: table, Values: values}
}

func defaulting(id string, table outbox.MappingTable, target string) outbox.SetMappingDefault {
	return outbox.SetMappingDefault{MappingRequest: mappingRequest(id), Table: table, Target: target}
}

// changed is what a request came to, in a few words.
func changed(c outbox.MappingChange) string {
	return fmt.Sprintf("v%d +%d ~%d -%d =%d", c.Version, c.Added, c.Changed, c.Removed, c.Unchanged)
}

// wantChange fails where a request came to something else.
func wantChange(t testing.TB, want string) func(outbox.MappingChange, error) {
	return func(c outbox.MappingChange, err error) {
		t.Helper()
		if got := changed(c); err != nil || got != want {
			t.Errorf("came to %s (%v), want %s", got, err, want)
		}
	}
}

// wantRefusal fails where a request is not refused in these words.
func wantRefusal(t testing.TB, field, words string) func(outbox.MappingChange, error) {
	return func(_ outbox.MappingChange, err error) {
		t.Helper()
		var refusal *outbox.Refusal
		if !errors.As(err, &refusal) || refusal.Field != field || !strings.Contains(refusal.Message, words) {
			t.Errorf("%v, want a refusal of %q that says %q", err, field, words)
		}
	}
}

// mapped is what is stored of the tenant's mappings, one line each.
func (s *shop) mapped() string {
	s.t.Helper()
	return strings.Join(column[string](s, `SELECT concat_ws(' ', name, destination, value || '=' || target, 'v' || version) FROM mapping_entries WHERE tenant = 'kopi' ORDER BY name, destination, value`), "; ")
}

func TestStore_SetMappings(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")
	ctx := t.Context()

	t.Run("KeepsEntriesHistoryAndAudit", func(t *testing.T) {
		s := fresh.emptied(t)
		stock := s.destinations["stock"]
		wantChange(t, "v1 +2 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "LATTE=ITM-1", "latte=ITM-2")))
		wantChange(t, "v2 +1 ~1 -0 =1")(s.SetMappings(ctx, clerk, setting("2", skuOfStock, "LATTE=ITM-9", "latte=ITM-2", " spaced =ITM 3 ")))
		wantChange(t, "v3 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("3", sharedSKU, "TEA=ITM-4")))
		wantChange(t, "v4 +1 ~0 -0 =0")(s.SetMappingDefault(ctx, clerk, defaulting("4", sharedSKU, "MISC")))
		wantChange(t, "v5 +0 ~0 -1 =0")(s.RemoveMappings(ctx, clerk, removing("5", skuOfStock, "latte")))
		wantChange(t, "v5 +0 ~0 -0 =1")(s.SetMappings(ctx, clerk, setting("6", sharedSKU, "TEA=ITM-4"))) // nothing to do
		want := fmt.Sprintf("sku 0 =MISC v4; sku 0 TEA=ITM-4 v3; sku %[1]d  spaced =ITM 3  v2; sku %[1]d LATTE=ITM-9 v2", stock)
		if got := s.mapped(); got != want {
			t.Errorf("stored: %s\nwant:   %s", got, want)
		}
		history := column[string](s, `SELECT concat_ws(' ', 'v' || version, value, coalesce(was, '-') || '>' || coalesce(becomes, '-')) FROM mapping_history ORDER BY version, value`)
		if got := strings.Join(history, "; "); got != "v1 LATTE ->ITM-1; v1 latte ->ITM-2; v2  spaced  ->ITM 3 ; v2 LATTE ITM-1>ITM-9; v3 TEA ->ITM-4; v4  ->MISC; v5 latte ITM-2>-" {
			t.Errorf("history: %s", got)
		}
		if got := one[string](s, `SELECT string_agg(concat_ws(' ', version, actor, reason), '; ' ORDER BY version) FROM mapping_changes`); got != "1 ayu new item; 2 ayu new item; 3 ayu new item; 4 ayu new item; 5 ayu new item" {
			t.Errorf("changes: %s", got)
		}
		audit := column[string](s, `SELECT concat_ws(' ', coalesce(destination, 0), actor, reason, detail::text) FROM timeline WHERE what = 'mapping' ORDER BY entry`)
		for i, want := range []string{
			fmt.Sprintf(`%d ayu new item {"added": 2, "table": "sku", "changed": 0, "removed": 0, "version": 1, "destination": "stock"}`, stock),
			fmt.Sprintf(`%d ayu new item {"added": 1, "table": "sku", "changed": 1, "removed": 0, "version": 2, "destination": "stock"}`, stock),
			`0 ayu new item {"to": "ITM-4", "from": null, "added": 1, "table": "sku", "value": "TEA", "changed": 0, "removed": 0, "version": 3}`,
			`0 ayu new item {"to": "MISC", "from": null, "added": 1, "table": "sku", "changed": 0, "default": true, "removed": 0, "version": 4}`,
			fmt.Sprintf(`%d ayu new item {"to": null, "from": "ITM-2", "added": 0, "table": "sku", "value": "latte", "changed": 0, "removed": 1, "version": 5, "destination": "stock"}`, stock),
		} {
			if i >= len(audit) || audit[i] != want {
				t.Fatalf("the timeline says\n%s\nwant entry %d to be\n%s", strings.Join(audit, "\n"), i, want)
			}
		}
		if len(audit) != 5 {
			t.Errorf("%d entries, want one a change", len(audit))
		}
		if got := strings.Join(column[string](s, `SELECT concat_ws(' ', name, destination = 0, entries, version) FROM mapping_tables ORDER BY destination`), "; "); got != "sku t 1 4; sku f 2 5" {
			t.Errorf("tables: %s", got)
		}
	})

	t.Run("AnswersARepeatAsTheFirst", func(t *testing.T) {
		s := fresh.emptied(t)
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1")))
		wantChange(t, "v2 +0 ~1 -0 =0")(s.SetMappings(ctx, clerk, setting("2", skuOfStock, "A=2")))
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1")))
		wantRefusal(t, "requestId", "choose a new one")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=3")))
		wantRefusal(t, "requestId", "choose a new one")(s.SetMappings(ctx, clerk, setting("1", sharedSKU, "A=1")))
		if got := s.mapped(); !strings.Contains(got, "A=2 v2") || strings.Contains(got, ";") {
			t.Errorf("stored: %s", got)
		}
	})

	t.Run("ConflictsOnlyWhereAnEntryHasChangedSince", func(t *testing.T) {
		s := fresh.emptied(t)
		expecting := func(q outbox.SetMappings, version int64) outbox.SetMappings {
			q.ExpectedVersion = &version
			return q
		}
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, expecting(setting("1", skuOfStock, "A=1"), 0)))
		wantChange(t, "v2 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("2", skuOfStock, "B=1")))
		wantChange(t, "v3 +0 ~1 -0 =0")(s.SetMappings(ctx, clerk, expecting(setting("3", skuOfStock, "A=2"), 1))) // B is not its business
		for id, q := range map[string]outbox.SetMappings{"4": setting("4", skuOfStock, "A=3"), "5": setting("5", skuOfStock, "B=1", "A=3")} {
			if _, err := s.SetMappings(ctx, clerk, expecting(q, 2)); !errors.Is(err, outbox.ErrConflict) {
				t.Errorf("request %s: %v, want a conflict", id, err)
			}
		}
		wantChange(t, "v4 +0 ~0 -1 =0")(s.RemoveMappings(ctx, clerk, removing("6", skuOfStock, "A")))
		if _, err := s.SetMappings(ctx, clerk, expecting(setting("7", skuOfStock, "A=3"), 3)); !errors.Is(err, outbox.ErrConflict) {
			t.Errorf("what was removed since: %v, want a conflict", err)
		}
	})

	t.Run("Refuses", func(t *testing.T) {
		s := fresh.emptied(t)
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("0", skuOfStock, "A=1")))
		long := strings.Repeat("x", 501)
		for name, c := range map[string]struct {
			outbox.SetMappings
			field, words string
		}{
			"no entries":     {setting("1", skuOfStock), "entries", "nothing to set"},
			"no request id":  {setting("", skuOfStock, "A=1"), "requestId", "must be one line"},
			"no reason":      {outbox.SetMappings{MappingRequest: outbox.MappingRequest{RequestID: "1"}, Table: skuOfStock, Entries: []outbox.MappingPair{{Value: "A", Target: "1"}}}, "reason", "must be one line"},
			"a table's name": {setting("1", outbox.MappingTable{Name: "SKU"}, "A=1"), "table", `"SKU" cannot name a table`},
			"no destination": {setting("1", outbox.MappingTable{Name: "sku", Destination: "stok"}, "A=1"), "destination", `no destination "stok"`},
			"no value":       {setting("1", skuOfStock, "B=1", "=1"), "entries", "entry 2: the value is empty"},
			"no target":      {setting("1", skuOfStock, "A="), "entries", "entry 1: the target is empty"},
			"a long value":   {setting("1", skuOfStock, long+"=1"), "entries", "501 bytes, and may have 500"},
			"a long target":  {setting("1", skuOfStock, "A="+long), "entries", "the target has 501 bytes"},
			"U+0000":         {setting("1", skuOfStock, "A\x00=1"), "entries", "U+0000"},
			"no UTF-8":       {setting("1", skuOfStock, "A\xff=1"), "entries", "not UTF-8"},
			"two targets":    {setting("1", skuOfStock, "B=1", "A=1", "B=2", "B=1"), "entries", `entries 1, 3 and 4 give "B" different targets ("1", "2")`},
		} {
			t.Run(name, func(t *testing.T) { wantRefusal(t, c.field, c.words)(s.SetMappings(ctx, clerk, c.SetMappings)) })
		}
		wantRefusal(t, "values", `no entry for "B", "a"; nothing was removed`)(s.RemoveMappings(ctx, clerk, removing("1", skuOfStock, "A", "B", "a")))
		wantRefusal(t, "values", "at least one value")(s.RemoveMappings(ctx, clerk, removing("1", skuOfStock)))
		wantRefusal(t, "table", "the shared table sku has no entries")(s.RemoveMappings(ctx, clerk, outbox.RemoveMappings{MappingRequest: mappingRequest("1"), Table: sharedSKU, All: true}))
		wantRefusal(t, "target", "table sku of stock has no default")(s.SetMappingDefault(ctx, clerk, defaulting("1", skuOfStock, "")))
		wantRefusal(t, "target", "501 bytes")(s.SetMappingDefault(ctx, clerk, defaulting("1", skuOfStock, long)))
		// The longest there may be fits the keys of every index.
		wantChange(t, "v2 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("2", outbox.MappingTable{Name: strings.Repeat("n", 63)}, strings.Repeat("é", 250)+"="+strings.Repeat("ü", 250))))
	})

	t.Run("RemovesAllButTheDefault", func(t *testing.T) {
		s := fresh.emptied(t)
		wantChange(t, "v1 +2 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1", "B=2")))
		wantChange(t, "v2 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("2", sharedSKU, "A=1")))
		wantChange(t, "v3 +1 ~0 -0 =0")(s.SetMappingDefault(ctx, clerk, defaulting("3", skuOfStock, "MISC")))
		s.configure("books") // and stock is gone: what is left of it may be removed, and nothing added
		wantRefusal(t, "destination", "no destination")(s.SetMappings(ctx, clerk, setting("4", skuOfStock, "C=1")))
		wantChange(t, "v4 +0 ~0 -2 =0")(s.RemoveMappings(ctx, clerk, outbox.RemoveMappings{MappingRequest: mappingRequest("5"), Table: skuOfStock, All: true}))
		if got := s.mapped(); !strings.HasPrefix(got, "sku 0 A=1 v2; ") || !strings.HasSuffix(got, " =MISC v3") {
			t.Errorf("stored: %s", got)
		}
		s.configure("books", "stock")
	})

	t.Run("SeesItsTenantOnly", func(t *testing.T) {
		s := fresh.emptied(t)
		s.apply(configuration("teh", "stock"))
		budi := outbox.Actor{Tenant: "teh", Name: "budi"}
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1")))
		wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, budi, setting("1", skuOfStock, "A=2")))
		wantRefusal(t, "values", "no entry")(s.RemoveMappings(ctx, budi, removing("2", skuOfStock, "B")))
		wantChange(t, "v2 +0 ~0 -1 =0")(s.RemoveMappings(ctx, budi, outbox.RemoveMappings{MappingRequest: mappingRequest("3"), Table: skuOfStock, All: true}))
		if got := s.mapped(); !strings.HasSuffix(got, "A=1 v1") {
			t.Errorf("stored: %s", got)
		}
	})

	t.Run("ConcurrentChangesLineUp", func(t *testing.T) {
		s := fresh.emptied(t)
		const setters, each = 4, 15
		failed := make(chan error, setters+1)
		for n := range setters {
			go func() {
				var err error
				for i := range each {
					id := fmt.Sprint(n, " ", i)
					_, e := s.SetMappings(ctx, clerk, setting(id, skuOfStock, "both="+id, fmt.Sprintf("own %d=%d", n, i)))
					err = errors.Join(err, e)
				}
				failed <- err
			}()
		}
		go func() { // an import that replaces all of it, again and again
			var err error
			for i := range each {
				q := importing(fmt.Sprint("import ", i), skuOfStock, fmt.Sprintf("value,target\nboth,import %d\nfile,%d\n", i, i))
				q.Replace = true
				_, e := s.ImportMappings(ctx, clerk, q)
				err = errors.Join(err, e)
			}
			failed <- err
		}()
		for range setters + 1 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		changes := int64((setters + 1) * each)
		if v := one[int64](s, `SELECT version FROM mapping_versions WHERE tenant = 'kopi'`); v != changes {
			t.Errorf("version %d after %d changes", v, changes)
		}
		// Each change began with what the one before it left.
		if n := one[int](s, `
SELECT count(*) FROM (SELECT was, lag(becomes) OVER (PARTITION BY name, destination, value ORDER BY version) AS before FROM mapping_history) AS h
 WHERE was IS DISTINCT FROM before`); n != 0 {
			t.Errorf("%d changes did not begin with what was there", n)
		}
		if n := one[int](s, `
SELECT count(*) FROM mapping_entries e FULL JOIN (
  SELECT DISTINCT ON (value) value, becomes, version FROM mapping_history ORDER BY value, version DESC) AS h ON h.value = e.value
 WHERE (e.target, e.version) IS DISTINCT FROM (h.becomes, h.version) AND h.becomes IS NOT NULL OR h.becomes IS NULL AND e.value IS NOT NULL`); n != 0 {
			t.Errorf("%d entries are not what the history says", n)
		}
		if stored, counted := one[int](s, `SELECT count(*) FROM mapping_entries`), one[int](s, `SELECT sum(entries) FROM mapping_tables`); stored != counted {
			t.Errorf("%d entries are counted as %d", stored, counted)
		}
	})
}

// The engine share-locks the version while it stores what it made of it.
func TestStore_SetMappingsWaitsForWhoHoldsTheVersion(t *testing.T) {
	t.Parallel()
	s := newShop(t, "stock")
	ctx := t.Context()
	wantChange(t, "v1 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "A=1")))
	tx, err := s.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, `SET LOCAL ROLE raffsync_engine`); err != nil {
		t.Fatal(err)
	}
	var version int64
	if err := tx.QueryRow(ctx, `SELECT version FROM mapping_versions WHERE tenant = 'kopi' FOR SHARE`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantChange(t, "v2 +0 ~1 -0 =0")(s.SetMappings(ctx, clerk, setting("2", skuOfStock, "A=2")))
	}()
	s.until(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%mapping_versions%')`)
	select {
	case <-done:
		t.Error("it did not wait")
	default:
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	<-done
}
