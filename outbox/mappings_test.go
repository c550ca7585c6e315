package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

func newMappings(s *shop, every time.Duration) *outbox.Mappings {
	s.t.Helper()
	m, err := outbox.NewMappings(outbox.MappingsConfig{Store: s.Store, Every: every})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.Refresh(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func TestMappings_Lookup(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	ctx := t.Context()
	books, stock := s.destinations["books"], s.destinations["stock"]
	m := newMappings(s, time.Hour)
	if v := m.Version("kopi"); v != 0 {
		t.Errorf("version %d of nothing", v)
	}
	empty := m.Snapshot("kopi")
	wantChange(t, "v1 +3 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("1", skuOfStock, "LATTE=S1", "latte=S2", " LATTE=S3")))
	wantChange(t, "v2 +2 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("2", sharedSKU, "LATTE=C1", "TEA=C2")))
	wantChange(t, "v3 +1 ~0 -0 =0")(s.SetMappingDefault(ctx, clerk, defaulting("3", sharedSKU, "CD")))
	wantChange(t, "v4 +1 ~0 -0 =0")(s.SetMappingDefault(ctx, clerk, defaulting("4", skuOfStock, "SD")))
	wantChange(t, "v5 +1 ~0 -0 =0")(s.SetMappings(ctx, clerk, setting("5", outbox.MappingTable{Name: "tax", Destination: "books"}, "VAT=T1")))
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what         string
		tenant       string
		destination  int32
		table, value string
		want         string
	}{
		{"its own entry", "kopi", stock, "sku", "LATTE", "S1 v1"},
		{"letter case counts", "kopi", stock, "sku", "latte", "S2 v1"},
		{"spaces count", "kopi", stock, "sku", " LATTE", "S3 v1"},
		{"the shared entry before its own default", "kopi", stock, "sku", "TEA", "C2 v2 shared"},
		{"its own default before the shared one", "kopi", stock, "sku", "CAKE", "SD v4 default"},
		{"the shared entry of another", "kopi", books, "sku", "LATTE", "C1 v2 shared"},
		{"the shared default", "kopi", books, "sku", "CAKE", "CD v3 shared default"},
		{"an empty value gets the defaults only", "kopi", stock, "sku", "", "SD v4 default"},
		{"no entry and no default", "kopi", books, "tax", "GST", ""},
		{"a table of another destination", "kopi", stock, "tax", "VAT", ""},
		{"no table", "kopi", stock, "skus", "LATTE", ""},
		{"another tenant", "teh", stock, "sku", "LATTE", ""},
	} {
		got := ""
		if e, ok := m.Lookup(c.tenant, c.destination, c.table, c.value); ok {
			got = fmt.Sprintf("%s v%d", e.Target, e.Version)
			if e.Shared {
				got += " shared"
			}
			if e.Default {
				got += " default"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	if _, ok := empty.Lookup(stock, "sku", "LATTE"); ok || empty.Version() != 0 {
		t.Error("a snapshot has changed in a reader's hands")
	}
}

// However it is refreshed, it is what the table says: in small steps and large ones, by
// what has changed since and from the beginning.
func TestMappings_RefreshFollowsTheTables(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock")
	ctx := t.Context()
	seed := [2]uint64{rand.Uint64(), rand.Uint64()}
	t.Logf("seed %v", seed)
	random := rand.New(rand.NewPCG(seed[0], seed[1]))
	tables := []outbox.MappingTable{skuOfStock, sharedSKU, {Name: "tax", Destination: "books"}}
	m := newMappings(s, time.Hour)
	for i := range 40 {
		table := tables[random.IntN(len(tables))]
		var file strings.Builder
		file.WriteString("value,target\n")
		rows := 1 + random.IntN(40)
		if random.IntN(8) == 0 {
			rows = 3_000 // more than a layer takes
		}
		from := random.IntN(1000)
		for n := range rows {
			fmt.Fprintf(&file, "v%d,t%d\n", from+n, random.IntN(3))
		}
		q := importing(fmt.Sprint(i), table, file.String())
		q.Replace = random.IntN(4) == 0
		if _, err := s.ImportMappings(ctx, clerk, q); err != nil {
			t.Fatal(err)
		}
		if random.IntN(3) == 0 {
			if _, err := s.SetMappingDefault(ctx, clerk, defaulting(fmt.Sprint("default ", i), table, fmt.Sprint("d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if random.IntN(3) > 0 {
			continue // and several changes are read at once
		}
		if err := m.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		s.wantSnapshot(m.Snapshot("kopi"))
		s.wantSnapshot(newMappings(s, time.Hour).Snapshot("kopi"))
	}
}

// wantSnapshot holds a snapshot against the rows.
func (s *shop) wantSnapshot(snapshot *outbox.MappingSnapshot) {
	s.t.Helper()
	if v := one[int64](s, `SELECT version FROM mapping_versions WHERE tenant = 'kopi'`); v != snapshot.Version() {
		s.t.Fatalf("version %d, want %d", snapshot.Version(), v)
	}
	want := make(map[string]string)
	for _, row := range column[string](s, `SELECT concat_ws(E'\t', name, destination, value, target, version) FROM mapping_entries WHERE tenant = 'kopi'`) {
		parts := strings.SplitN(row, "\t", 4)
		want[strings.Join(parts[:3], "\t")] = parts[3]
	}
	got := snapshot.All()
	if len(got) != len(want) {
		s.t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for key, entry := range want {
		if got[key] != entry {
			s.t.Fatalf("%q is %q, want %q", key, got[key], entry)
		}
	}
}

func TestMappings_Run(t *testing.T) {
	t.Parallel()
	s := newShop(t, "stock")
	stock := s.destinations["stock"]
	for name, c := range map[string]struct {
		every time.Duration
		hints bool
	}{"ByPollingAlone": {5 * time.Millisecond, false}, "ByHints": {time.Hour, true}} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			m := newMappings(s, c.every)
			ended := make(chan error, 2)
			go func() { ended <- m.Run(ctx) }()
			go func() {
				if !c.hints {
					ended <- nil
					return
				}
				ended <- s.RunHints(ctx, slog.New(slog.DiscardHandler), func(h outbox.Hint) {
					if h.Mappings {
						m.Poke()
					}
				})
			}()
			if c.hints { // told of before it listens, it would be found by polling only
				s.untilListening(1)
			}
			if _, err := s.SetMappings(ctx, clerk, setting(name, skuOfStock, "A="+name)); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
				if e, _ := m.Lookup("kopi", stock, "sku", "A"); e.Target == name {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the change has not come")
				}
			}
			stop()
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// manyEntries fills the tables of a shop behind the API's back, for benchmarks.
func (s *shop) manyEntries(n int) {
	s.t.Helper()
	s.exec(`INSERT INTO mapping_versions (tenant, version) VALUES ('kopi', 1)`)
	s.exec(`INSERT INTO mapping_entries SELECT 'kopi', 'sku', $2::integer, 'SKU-' || lpad(g::text, 7, '0') || '-OAT', 'ITM-' || g, 1 FROM generate_series(1, $1::integer) AS g`, n, s.destinations["stock"])
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMappings_MemoryStaysSmall(t *testing.T) {
	s := newShop(t, "stock")
	const entries = 50_000
	s.manyEntries(entries)
	before := heap()
	m := newMappings(s, time.Hour)
	if used := heap() - before; used > entries*200 {
		t.Errorf("%d entries take %d bytes", entries, used)
	}
	if _, ok := m.Lookup("kopi", s.destinations["stock"], "sku", fmt.Sprintf("SKU-%07d-OAT", entries)); !ok {
		t.Error("the last is not there")
	}
}

func BenchmarkMappings_Refresh(b *testing.B) {
	s := newShop(b, "stock")
	s.manyEntries(200_000)
	b.Run("FromTheBeginning", func(b *testing.B) {
		before := heap()
		var m *outbox.Mappings
		for range b.N {
			m = newMappings(s, time.Hour)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		runtime.KeepAlive(m)
	})
	b.Run("OneChange", func(b *testing.B) {
		m := newMappings(s, time.Hour)
		for i := range b.N {
			if _, err := s.SetMappings(b.Context(), clerk, setting(fmt.Sprint(rand.Uint64()), skuOfStock, fmt.Sprintf("X%d=1", i))); err != nil {
				b.Fatal(err)
			}
			if err := m.Refresh(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMappings_Lookup(b *testing.B) {
	s := newShop(b, "stock")
	s.manyEntries(200_000)
	m := newMappings(s, time.Hour)
	stock := s.destinations["stock"]
	values := make([]string, 1024)
	for i := range values {
		values[i] = fmt.Sprintf("SKU-%07d-OAT", 1+rand.IntN(200_000))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Lookup("kopi", stock, "sku", values[i%len(values)])
	}
}
