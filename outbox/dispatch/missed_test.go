package dispatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// mappings are the table sku of one tenant as a process knows it.
type mappings struct {
	mu      sync.Mutex
	version int64
	known   map[string]bool
}

func (m *mappings) Version(string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

func (m *mappings) Lookup(_ string, _ int32, table, value string) (e outbox.MappingEntry, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return outbox.MappingEntry{Target: "T"}, table == "sku" && m.known[value]
}

// lacks are the values among those that are not known.
func (m *mappings) lacks(values []string) (missing []connectors.Miss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, value := range values {
		if !m.known[value] {
			missing = append(missing, connectors.Miss{Table: "sku", Value: value, Path: fmt.Sprintf("lines[%d].sku", i)})
		}
	}
	return missing
}

// learn is what this process hears of a change, a moment after it.
func (m *mappings) learn(version int64, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version = version
	for _, value := range values {
		m.known[value] = true
	}
}

// mapValues changes the mapping tables, releases what that answers, and lets the process
// know.
func (b *bench) mapValues(m *mappings, values ...string) outbox.Released {
	b.t.Helper()
	var done outbox.Released
	var version int64
	err := pgx.BeginFunc(b.t.Context(), b.db, func(tx pgx.Tx) error {
		_, err := tx.Exec(b.t.Context(), `INSERT INTO mapping_entries (tenant, name, value, target, version) SELECT 'kopi', 'sku', v, 'T', 1 FROM unnest($1::text[]) v`, values)
		if err != nil {
			return err
		}
		err = tx.QueryRow(b.t.Context(), `INSERT INTO mapping_versions (tenant, version) VALUES ('kopi', 1)
			ON CONFLICT (tenant) DO UPDATE SET version = mapping_versions.version + 1 RETURNING version`).Scan(&version)
		if err != nil {
			return err
		}
		done, err = outbox.ReleaseAnswered(b.t.Context(), tx, outbox.Answer{Tenant: "kopi", Version: version, Actor: "ayu", Reason: "mapped it", Tables: []string{"sku"}, Values: values})
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	m.learn(version, values...)
	return done
}

// catalogue is a platform whose Prepare looks up what an event names in its reference
// "skus", one a name.
func catalogue(m *mappings) *platform {
	p := newPlatform(nil)
	p.missing = func(e *connectors.Event) []connectors.Miss {
		var values []string
		for _, name := range []string{"a", "b", "c"} {
			if value := e.References[name]; value != "" {
				values = append(values, value)
			}
		}
		return m.lacks(values)
	}
	return p
}

func (b *bench) startWith(m *mappings) {
	b.t.Helper()
	b.configure = func(c *dispatch.Config) { c.Mappings = m }
	b.start()
}

func (b *bench) selling(id, key string, skus ...string) outbox.Entry {
	e := b.entry("sales", id, key, "books")
	e.Event.References = make(map[string]string)
	for i, sku := range skus {
		e.Event.References[string(rune('a'+i))] = sku
	}
	return e
}

// Orders lack one SKU: one exception holds them all, and those behind them in line wait.
// One mapping sets them free, in order, each once; one that lacks another SKU besides
// stays until that comes too.
func TestDispatcher_ReleasesWhatAMappingAnswers(t *testing.T) {
	t.Parallel()
	m := &mappings{known: map[string]bool{"TEA": true}}
	books := catalogue(m)
	b := newBench(t, map[string]*platform{"books": books})
	const keys = 60
	var batch []outbox.Entry
	for i := range keys {
		key := fmt.Sprint("order/", i)
		batch = append(batch, b.selling(key+" created", key, "TEA", "ICE"), b.selling(key+" paid", key))
	}
	batch = append(batch, b.selling("both", "order/both", "ICE", "MILK"), b.selling("good", "order/good", "TEA"))
	b.append(batch...)
	b.startWith(m)
	b.until("those that lack it are held", `SELECT (SELECT count(*) FROM deliveries WHERE state = 2) = $1 AND (SELECT count(*) FROM timeline WHERE state = 'DELIVERED') = 1`, keys+1)
	held := values[string](b, `SELECT concat_ws(' ', class, rule, field, code, held) FROM exceptions ORDER BY code`)
	if diff := cmp.Diff([]string{"SKU_UNMAPPED look-up sku ICE 61", "SKU_UNMAPPED look-up sku MILK 1"}, held); diff != "" {
		t.Errorf("exceptions (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT sum(requests + attempts)::int FROM deliveries`); n != 0 {
		t.Errorf("look-ups have spent %d requests and attempts", n)
	}

	if done := b.mapValues(m, "ICE"); done != (outbox.Released{Exceptions: 1, Deliveries: 61}) {
		t.Errorf("released %+v", done)
	}
	b.until("all but one are delivered", `SELECT count(*) = 1 FROM deliveries`)
	for i := range keys {
		key := fmt.Sprint("order/", i)
		if got := books.orderOf(key); !slices.Equal(got, []string{key + " created", key + " paid"}) {
			t.Errorf("%s was sent as %v", key, got)
		}
	}
	b.mapValues(m, "MILK")
	b.untilDrained()
	if got := books.orderOf("order/both"); !slices.Equal(got, []string{"both"}) {
		t.Errorf("the one with two causes was sent as %v", got)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL OR held <> 0`) + value[int](b, `SELECT count(*) FROM releases`) + value[int](b, `SELECT count(*) FROM holds`); n != 0 {
		t.Error("something is left of what held them")
	}
}

// A mapping is made at the very moment of Prepare, a thousand times: after its look-up has
// failed and before that is stored, while it is stored, or right after. Nothing stays stuck,
// whatever was known where.
func TestDispatcher_NoMappingComesInVain(t *testing.T) {
	t.Parallel()
	const n, atOnce = 1000, 10 // so few that a slow machine has them within a minute
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books})
	m, err := outbox.NewMappings(outbox.MappingsConfig{Store: b.store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var dispatcher *dispatch.Dispatcher
	set := func(value string) {
		_, err := b.store.SetMappings(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.SetMappings{
			MappingRequest: outbox.MappingRequest{RequestID: value, Reason: "new item"},
			Table:          outbox.MappingTable{Name: "sku", Destination: "books"}, Entries: []outbox.MappingPair{{Value: value, Target: "T"}},
		})
		if err != nil {
			t.Errorf("%s is not mapped: %v", value, err)
		}
		m.Poke() // as the hint does
		dispatcher.LookAtReleases()
	}
	during := make(chan string, n)
	var told sync.Map
	books.missing = func(e *connectors.Event) []connectors.Miss {
		value := e.References["a"]
		if _, ok := m.Lookup("kopi", b.destination("books").ID, "sku", value); ok {
			return nil
		}
		if _, again := told.LoadOrStore(value, true); !again {
			if e.References["when"] == "before" {
				set(value)
			} else {
				during <- value
			}
		}
		return []connectors.Miss{{Table: "sku", Value: value, Path: "sku"}}
	}
	b.configure = func(c *dispatch.Config) { c.Mappings = m }
	dispatcher, _ = b.start()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	running.Go(func() { _ = m.Run(ctx) })
	for range 3 { // people at once
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case value := <-during:
					set(value)
				}
			}
		})
	}
	for first := 0; first < n; first += atOnce {
		var batch []outbox.Entry
		for i := first; i < first+atOnce; i++ {
			e := b.selling(fmt.Sprint("e", i), fmt.Sprint("order/", i), fmt.Sprint("sku ", i))
			e.Event.References["when"] = []string{"before", "during", "during"}[i%3]
			batch = append(batch, e)
		}
		b.append(batch...)
		b.untilDrained()
	}
	held := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'NEEDS_ACTION'`)
	t.Logf("%d were held first", held)
	if held == 0 || held > n*2/3 {
		t.Errorf("%d were held first: want some, and none whose mapping was there before that was stored", held)
	}
	if got := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); got != n {
		t.Errorf("%d are delivered, want %d", got, n)
	}
	if got := value[int](b, `SELECT count(*) FROM exceptions WHERE closed_at IS NULL OR held > 0`); got != 0 {
		t.Errorf("%d exceptions are open, or hold something", got)
	}
}

// Replicas, one of which leaves in the middle, release what one mapping answers: each of them
// its own lanes, and all of it.
func TestDispatcher_ReplicasReleaseTogether(t *testing.T) {
	t.Parallel()
	m := &mappings{known: make(map[string]bool)}
	books := catalogue(m)
	b := newBench(t, map[string]*platform{"books": books})
	const n = 3000
	var batch []outbox.Entry
	for i := range n {
		batch = append(batch, b.selling(fmt.Sprint("e", i), fmt.Sprint("order/", i), "ICE"))
	}
	for page := range slices.Chunk(batch, 500) {
		b.append(page...)
	}
	b.configure = func(c *dispatch.Config) { c.Mappings = m }
	_, stop := b.start()
	b.start()
	b.until("all are held", `SELECT count(*) = $1 FROM deliveries WHERE state = 2`, n)
	b.mapValues(m, "ICE")
	stop()
	b.start()
	b.untilDrained()
	books.mu.Lock()
	defer books.mu.Unlock()
	if len(books.effects) != n || len(books.requests) != n {
		t.Errorf("%d effects of %d requests, want %d of as many", len(books.effects), len(books.requests), n)
	}
}
