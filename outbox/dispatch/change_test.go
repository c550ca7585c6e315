package dispatch_test

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// altered is the bench's plan with something changed.
func (b *bench) altered(change func(*dispatch.Plan)) *dispatch.Plan {
	p := &dispatch.Plan{Destinations: make(map[int32]*dispatch.Destination), Routes: maps.Clone(b.plan.Routes)}
	for id, d := range b.plan.Destinations {
		same := *d
		p.Destinations[id] = &same
	}
	change(p)
	return p
}

var refused = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "422"}

func TestDispatcher_TakesUpANewPlan(t *testing.T) {
	t.Parallel()

	t.Run("InTheMiddleOfTraffic", func(t *testing.T) {
		t.Parallel()
		books := newPlatform(nil)
		b := newBench(t, map[string]*platform{"books": books})
		d, _ := b.start()
		want := make(map[string][]string)
		for i := range 300 {
			key, id := fmt.Sprintf("order/%d", i%7), fmt.Sprintf("e%03d", i)
			want[key] = append(want[key], id)
			b.append(b.entry("sales", id, key, "books"))
			d.SetPlan(b.altered(func(p *dispatch.Plan) {
				for _, d := range p.Destinations {
					d.Concurrency, d.Breaker.Probes = 1+i%5, 1+i%3
				}
				route := p.Routes[salesRoute]
				route.Pass = i%2 == 0
				p.Routes[salesRoute] = route
			}))
		}
		b.untilDrained()
		for key, ids := range want {
			if diff := cmp.Diff(ids, books.orderOf(key)); diff != "" {
				t.Errorf("order of %s (-want +got):\n%s", key, diff)
			}
		}
	})

	t.Run("ADestinationThatIsGoneAndComesBack", func(t *testing.T) {
		t.Parallel()
		onWire, release := make(chan struct{}), make(chan struct{})
		books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
			if s.ID == "a" {
				close(onWire) // panics where it is sent twice
				<-release
			}
			return delivered
		})
		stock := newPlatform(nil)
		b := newBench(t, map[string]*platform{"books": books, "stock": stock})
		b.destination("books").Timeout = time.Minute
		d, _ := b.start()
		b.append(b.entry("sales", "a", "order/1", "books"), b.entry("sales", "b", "order/1", "books"))
		<-onWire
		gone := b.altered(func(p *dispatch.Plan) { delete(p.Destinations, b.applied.Names.Destinations["books"]) })
		d.SetPlan(gone)
		b.append(b.entry("sales", "c", "order/2", "books"), b.entry("sales", "d", "order/2", "stock"))
		b.until("the plan is taken up, and serves another destination", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
		d.SetPlan(b.plan)
		b.append(b.entry("sales", "e", "order/3", "books"))
		b.until("it is served again", `SELECT count(*) = 3 FROM timeline WHERE state = 'DELIVERED'`)
		d.SetPlan(gone)
		close(release)
		b.until("what was on the wire has its outcome", `SELECT count(*) = 4 FROM timeline WHERE state = 'DELIVERED'`)
		d.SetPlan(b.plan)
		b.untilDrained()
		if diff := cmp.Diff([]string{"a", "b"}, books.orderOf("order/1")); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		if n := len(books.seen()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})

	t.Run("ADestinationThatRests", func(t *testing.T) {
		t.Parallel()
		books, stock := newPlatform(nil), newPlatform(nil)
		b := newBench(t, map[string]*platform{"books": books, "stock": stock})
		d, _ := b.start()
		resting := b.altered(func(p *dispatch.Plan) { p.Destinations[b.applied.Names.Destinations["books"]].Rests = true })
		d.SetPlan(resting)
		b.append(b.entry("sales", "a", "order/1", "stock")) // so that the plan is taken up before
		b.until("the plan is taken up", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
		b.append(b.entry("sales", "b", "order/1", "books", "stock"), b.entry("sales", "c", "order/2", "stock"))
		b.until("the other destination goes on", `SELECT count(*) = 3 FROM timeline WHERE state = 'DELIVERED'`)
		if n := len(books.seen()); n != 0 {
			t.Errorf("%d requests to a destination that rests", n)
		}
		d.SetPlan(b.plan)
		b.untilDrained()
		if n := len(books.seen()); n != 1 {
			t.Errorf("%d requests once it rests no more, want 1", n)
		}
	})

	t.Run("ARouteThatLetsPassFromNowOn", func(t *testing.T) {
		t.Parallel()
		books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
			if s.ID == "held" {
				return refused
			}
			return delivered
		})
		b := newBench(t, map[string]*platform{"books": books})
		passing := func(pass bool) *dispatch.Plan {
			return b.altered(func(p *dispatch.Plan) {
				route := p.Routes[salesRoute]
				route.Pass = pass
				p.Routes[salesRoute] = route
			})
		}
		d, _ := b.start()
		b.append(b.entry("sales", "held", "order/1", "books"), b.entry("sales", "a", "order/1", "books"))
		b.until("one is held", `SELECT count(*) = 1 FROM deliveries WHERE state = 2`)
		d.SetPlan(passing(true))
		b.until("the other one passes it", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
		d.SetPlan(passing(false))
		b.append(b.entry("sales", "b", "order/1", "books"), b.entry("sales", "c", "order/2", "books"))
		b.until("another key goes on", `SELECT count(*) = 2 FROM timeline WHERE state = 'DELIVERED'`)
		if diff := cmp.Diff([]string{"a"}, books.orderOf("order/1")); diff != "" {
			t.Errorf("of the key that is blocked again (-want +got):\n%s", diff)
		}
	})
}

// Without a plan it would take every unknown outcome for a case for people.
func TestDispatcher_WaitsForAPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
	d, err := dispatch.New(dispatch.Config{Store: b.store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.Wake([]int16{1})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := value[int64](b, `SELECT last_value FROM replica_ids`); n != 1 || value[bool](b, `SELECT is_called FROM replica_ids`) {
		t.Error("it joined")
	}
}

func TestNew_RefusesAnotherLeaseThanTheStores(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]*platform{})
	if _, err := dispatch.New(dispatch.Config{Store: b.store, Lease: testLease + 1}); err == nil {
		t.Error("it was taken")
	}
	if _, err := dispatch.New(dispatch.Config{}); err == nil {
		t.Error("it was made without a store")
	}
}

// Replicas come and go while events flow: lanes change hands, and every event is sent
// once and in order.
func TestDispatcher_ReplicasComeAndGoInTraffic(t *testing.T) {
	t.Parallel()
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books})
	want := make(map[string][]string)
	made := 0
	flow := func(until func() bool) {
		t.Helper()
		for more := true; more; more = !until() {
			var batch []outbox.Entry
			for range 20 {
				key, id := fmt.Sprintf("order/%d", made%50), fmt.Sprintf("e%05d", made)
				want[key] = append(want[key], id)
				batch = append(batch, b.entry("sales", id, key, "books"))
				made++
			}
			b.append(batch...)
		}
	}
	shares := func(of ...int) func() bool {
		return func() bool {
			return cmp.Equal(of, values[int](b, `SELECT count(*)::int FROM lanes WHERE replica IS NOT NULL GROUP BY replica ORDER BY 1`))
		}
	}
	_, stopFirst := b.start()
	flow(shares(64))
	b.start()
	flow(shares(32, 32))
	b.start()
	flow(shares(21, 21, 22))
	stopFirst()
	flow(shares(32, 32))
	b.untilDrained()
	for key, ids := range want {
		if diff := cmp.Diff(ids, books.orderOf(key)); diff != "" {
			t.Errorf("order of %s (-want +got):\n%s", key, diff)
		}
	}
	if n := len(books.seen()); n != made {
		t.Errorf("%d requests for %d deliveries", n, made)
	}
}
