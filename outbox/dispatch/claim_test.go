package dispatch_test

import (
	"context"
	"testing"

	"raffsync/outbox"
)

// A delivery that has claimed an effect may find itself behind another of its key, which
// was accepted earlier and committed later. Where that one is about the same effect, it
// cannot wait for the claim to end: whoever has it waits for its turn.
func TestDispatcher_AnEarlierOneOfTheKeyTakesTheClaim(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int  // that requests are answered with at first
		taken  bool // the first of them has its effect all the same
	}{
		"proven to have had none": {status: 503},
		"had it, and nobody knew": {status: hangUp, taken: true},
		"nobody knew":             {status: hangUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, books := newShop(t, outbox.SkipExisting)
			route := b.plan.Routes[salesRoute]
			route.Retry.Attempts = 1000
			b.plan.Routes[salesRoute] = route
			mute := true
			books.answer = func(n int, _ document) (bool, int) { // under the books' lock
				if mute {
					return n == 1 && c.taken, c.status
				}
				return true, 201
			}
			b.destination("books").Connector = muted{bookkeeper{books}, &mute}
			commit := b.appendLate(b.snapshot("sales", "a-late", "key/1", "1", "x"))
			b.start()
			other, err := b.store.OpenWriter(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close(context.Background())
			appendBy(b, other, b.snapshot("sales", "prompt", "key/1", "1", "x"))
			b.until("the prompt one has claimed the order, and waits", `SELECT count(*) = 1 FROM deliveries d JOIN effects e ON e.lane = d.lane AND e.seq = d.seq WHERE d.state = 1`)
			commit()
			b.until("the late one is there", `SELECT count(*) = 2 FROM deliveries`)
			books.mu.Lock()
			mute = false
			books.mu.Unlock()
			b.untilDrained()
			if n := len(books.texts()); n != 2 {
				t.Errorf("%d documents, want an order and its invoice: %q", n, books.texts())
			}
			if n := value[int](b, `SELECT count(*) FROM effect_waits`) + value[int](b, `SELECT count(*) FROM effects WHERE lane IS NOT NULL OR unknown_at IS NOT NULL`); n != 0 {
				t.Errorf("%d waits, claims and doubts are left", n)
			}
		})
	}
}

// appendLate begins a transaction that appends the entry, and returns what lets it commit.
func (b *bench) appendLate(entry outbox.Entry) (commit func()) {
	b.t.Helper()
	// It waits for somebody who holds an id that it is about to insert besides.
	holder, err := b.db.Begin(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { holder.Rollback(context.Background()) })
	const held = `INSERT INTO event_ids (tenant, source, id, hash, seq) VALUES ('kopi', $1, 'z-held', '', 0)`
	if _, err := holder.Exec(b.t.Context(), held, b.applied.Names.Sources["till"]); err != nil {
		b.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.writer.Append(b.t.Context(), []outbox.Entry{entry, b.entry("sales", "z-held", "key/of its own")}) // which nobody wants
		done <- err
	}()
	b.until("the late one waits", `SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND wait_event_type = 'Lock' AND datname = current_database()`)
	return func() {
		b.t.Helper()
		if err := holder.Rollback(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		if err := <-done; err != nil {
			b.t.Fatal(err)
		}
	}
}
