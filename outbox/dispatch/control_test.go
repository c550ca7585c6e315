package dispatch_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// control has an operator hold something, or let go of it, and the dispatchers look.
func (b *bench) control(kind outbox.ControlKind, name string, state outbox.ControlState, look ...func()) {
	b.t.Helper()
	err := b.store.Control(b.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.ControlRequest{
		RequestID: fmt.Sprint(kind, name, state, b.t.Name()), Kind: kind, Name: name, State: state, Reason: "stocktaking",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range look {
		f()
	}
}

// What is paused waits without a trace in its row, in order, over a restart and a
// second replica; what is not goes on; on resume all of it goes, in order.
func TestDispatcher_Pause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind   outbox.ControlKind
		of     string
		passes map[string]int // requests while it is paused
	}{
		"Destination": {outbox.OfDestination, "books", map[string]int{"books": 0, "stock": 80}},
		"Route":       {outbox.OfRoute, "pass", map[string]int{"books": 40, "stock": 40}},
		"Source":      {outbox.OfSource, "till", map[string]int{"books": 0, "stock": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, map[string]*platform{"books": newPlatform(nil), "stock": newPlatform(nil), "canary": newPlatform(nil)})
			b.withRoutes("sales", "pass")
			b.control(c.kind, c.of, outbox.Paused)
			want := make(map[string][]string)
			var batch []outbox.Entry
			for i := range 80 {
				route, key := "sales", fmt.Sprintf("order/%d", i%4)
				if i%2 == 1 {
					route = "pass"
				}
				id := fmt.Sprintf("e%02d", i)
				want[key] = append(want[key], id)
				batch = append(batch, b.entry(route, id, key, "books", "stock"))
			}
			b.append(batch...)
			keys := slices.Collect(maps.Keys(want))
			_, stop := b.start()
			for p, n := range c.passes {
				b.platforms[p].untilSeen(t, n)
			}
			b.untilLooked("one", keys...)
			stop()
			second, _ := b.start()
			third, _ := b.start()
			b.until("both share the lanes", `SELECT count(DISTINCT replica) = 2 FROM lanes`)
			b.untilLooked("two", keys...)
			for p, n := range c.passes {
				if seen := len(b.platforms[p].seen()); seen != n {
					t.Errorf("%s got %d requests while %s %s was paused, want %d", p, seen, c.kind, c.of, n)
				}
			}
			if n := value[int](b, `SELECT count(*) FROM deliveries WHERE version <> 1 OR state <> 0`); n > 0 {
				t.Errorf("%d rows that wait were written to", n)
			}
			b.control(c.kind, c.of, outbox.Automatic, second.LookAtControls, third.LookAtControls)
			b.untilDrained()
			for p := range c.passes {
				for key, ids := range want {
					if diff := cmp.Diff(ids, b.platforms[p].orderOf(key)); diff != "" {
						t.Errorf("%s: order of %s (-want +got):\n%s", p, key, diff)
					}
				}
			}
			if n := value[int](b, `SELECT count(*) FROM timeline WHERE what IN ('pause', 'resume') AND actor = 'ayu' AND reason = 'stocktaking'`); n != 2 {
				t.Errorf("%d entries of it, want one for the pause and one for its end", n)
			}
		})
	}
}

// withRoutes puts routes of these names, and a second source, into the configuration in
// force.
func (b *bench) withRoutes(names ...string) {
	b.t.Helper()
	c := b.applied.Configuration
	c.Sources = append(c.Sources, outbox.SourceConfig{Name: "web"})
	for _, name := range names {
		c.Routes = append(c.Routes, outbox.RouteConfig{Name: name, To: "books"})
	}
	var err error
	if b.applied, err = b.store.Apply(b.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, c, "for a test"); err != nil {
		b.t.Fatal(err)
	}
}

// untilLooked waits until the dispatchers have looked twice at the lanes of these keys:
// events of another source, for a destination of their own, have gone through them.
func (b *bench) untilLooked(round string, keys ...string) {
	b.t.Helper()
	for i := range 2 {
		for _, key := range keys {
			e := b.entry("canary", fmt.Sprint(round, i, key), key, "canary")
			e.Event.Source = b.applied.Names.Sources["web"]
			b.append(e)
		}
		b.until("the canaries are delivered", `SELECT NOT EXISTS (SELECT FROM deliveries WHERE route = 'canary')`)
	}
}

// untilSeen waits until so many requests came.
func (p *platform) untilSeen(t testing.TB, n int) {
	t.Helper()
	for {
		p.mu.Lock()
		seen, changed := len(p.requests), p.changed
		p.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("%d requests came, want %d", seen, n)
		}
	}
}

// A pause lets what is on the wire finish.
func TestDispatcher_PauseLetsWhatIsOnTheWireFinish(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "a" {
			close(begun)
			<-release
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books, "canary": newPlatform(nil)})
	b.withRoutes()
	b.destination("books").Timeout = testLease / 2
	takenUp := make(chan struct{})
	once := sync.OnceFunc(func() { close(takenUp) })
	b.append(b.entry("sales", "a", "order/1", "books"), b.entry("sales", "b", "order/1", "books"))
	d, _ := b.startLogging(func(line string) {
		if strings.Contains(line, "what operators hold is taken up") {
			once()
		}
	})
	<-begun
	b.control(outbox.OfDestination, "books", outbox.Paused)
	d.LookAtControls()
	<-takenUp
	close(release)
	b.until("what was on the wire is delivered", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
	b.untilLooked("one", "order/1")
	if n := len(books.seen()); n != 1 {
		t.Errorf("%d requests, want that the one behind it waits", n)
	}
	b.control(outbox.OfDestination, "books", outbox.Automatic, d.LookAtControls)
	b.untilDrained()
}

// A breaker that is held open lets nothing through; one that is held closed lets all
// through, whatever comes of it; both hold over a restart.
func TestDispatcher_ForcedBreaker(t *testing.T) {
	t.Parallel()
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books, "canary": newPlatform(nil)})
	b.withRoutes()
	b.destination("books").Breaker = outbox.BreakerConfig{Window: 30e9, MinRequests: 1, FailureRatio: 0.01, OpenFor: 3600e9, Probes: 1}
	books.answer = func(_ context.Context, s sent) connectors.Outcome {
		if s.Attempt < 3 {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503"}
		}
		return delivered
	}
	b.control(outbox.OfBreaker, "books", outbox.ForcedOpen)
	for i := range 5 {
		b.append(b.entry("sales", fmt.Sprint(i), fmt.Sprint("order/", i), "books"))
	}
	_, stop := b.start()
	b.untilLooked("one", "order/0", "order/1", "order/2", "order/3", "order/4")
	stop()
	if n := len(books.seen()); n != 0 {
		t.Errorf("%d requests past a breaker that is held open", n)
	}
	b.control(outbox.OfBreaker, "books", outbox.ForcedClosed)
	b.start()
	b.untilDrained() // though by itself it would have opened for an hour at the first failure
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE what = 'breaker' AND actor = 'ayu'`); n != 2 {
		t.Errorf("%d entries of the operator, want 2", n)
	}
}
