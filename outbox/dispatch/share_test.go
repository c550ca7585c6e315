package dispatch_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// gate is a platform behind HTTP that records when requests came, and how many were
// there at once. A connector of the tests sends to it.
type gate struct {
	*httptest.Server
	status func(n int) int // of the n-th request, from 1
	hold   time.Duration

	mu    sync.Mutex
	came  []time.Time
	there int
	most  int
}

func newGate(t *testing.T) *gate {
	g := &gate{status: func(int) int { return http.StatusOK }}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.came = append(g.came, time.Now())
		status := g.status(len(g.came))
		g.there++
		g.most = max(g.most, g.there)
		g.mu.Unlock()
		hold := time.NewTimer(g.hold)
		defer hold.Stop()
		select {
		case <-hold.C:
		case <-r.Context().Done():
		}
		g.mu.Lock()
		g.there--
		g.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gate) answer(ctx context.Context, s sent) connectors.Outcome {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, nil)
	if err != nil {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Reason: err.Error()}
	}
	response, err := g.Client().Do(request)
	if err != nil {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "no answer", Reason: err.Error()}
	}
	response.Body.Close()
	if response.StatusCode >= 500 {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: response.StatusCode, Reason: "503"}
	}
	return delivered
}

func (g *gate) record() ([]time.Time, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]time.Time(nil), g.came...), g.most
}

// fill appends n events, each of a key of its own, for the destinations.
func (b *bench) fill(from, to int, destinations ...string) {
	b.t.Helper()
	var batch []outbox.Entry
	for i := from; i < to; i++ {
		batch = append(batch, b.entry("sales", fmt.Sprintf("e%04d", i), fmt.Sprintf("order/%d", i), destinations...))
	}
	b.append(batch...)
}

// replicas starts two dispatchers, and waits until they share the lanes.
func (b *bench) replicas() (stop func()) {
	b.t.Helper()
	_, stopOne := b.start()
	_, stopOther := b.start()
	b.until("both share the lanes", `SELECT count(DISTINCT replica) = 2 FROM lanes`)
	return func() { stopOne(); stopOther() }
}

// Slots hold over all replicas together, and each gets some.
func TestDispatcher_SlotsHoldOverReplicas(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 6} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.hold = 5 * time.Millisecond
			b := newBench(t, map[string]*platform{"books": newPlatform(g.answer)})
			b.destination("books").Concurrency = slots
			b.replicas()
			b.fill(0, 300, "books")
			b.untilDrained()
			if came, most := g.record(); most > slots || len(came) != 300 {
				t.Errorf("%d requests, %d of them at once; want 300, and at most %d", len(came), most, slots)
			}
			if n := value[int](b, `SELECT count(*) FROM shares`); n != 2 {
				t.Errorf("%d replicas had a share", n)
			}
		})
	}
}

// So they do while replicas come and go and some requests fail, so that places change hands by
// way of the scheduler; and what is taken from one replica is used by another.
func TestDispatcher_SlotsHoldWhileReplicasComeAndGo(t *testing.T) {
	t.Parallel()
	const slots, n, failing = 6, 600, 20
	g := newGate(t)
	g.hold = 5 * time.Millisecond
	g.status = func(n int) int {
		if n%failing == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	p := newPlatform(g.answer)
	b := newBench(t, map[string]*platform{"books": p})
	b.destination("books").Concurrency = slots
	_, stopOne := b.start()
	defer stopOne()
	b.fill(0, n, "books")
	p.untilSeen(t, n/6)
	_, stopOther := b.start()
	b.until("both have slots", `SELECT count(*) = 2 AND min(slots) > 0 FROM shares`)
	if shared := value[int](b, `SELECT sum(slots)::int FROM shares`); shared > slots {
		t.Errorf("%d slots are shared out, want %d at most", shared, slots)
	}
	stopOther()
	b.untilDrained()
	if came, most := g.record(); most > slots || len(came) < n {
		t.Errorf("%d requests, %d of them at once; want %d at least, and at most %d", len(came), most, n, slots)
	}
	p.checkOneEffectEach(t, n)
}

// The rate holds over all replicas together, and is used.
func TestDispatcher_RateHoldsOverReplicas(t *testing.T) {
	t.Parallel()
	const every, burst, n = 20 * time.Millisecond, 10, 150
	g := newGate(t)
	b := newBench(t, map[string]*platform{"books": newPlatform(g.answer)})
	d := b.destination("books")
	d.Every, d.Burst = every, burst
	b.replicas()
	b.fill(0, n, "books")
	b.until("the wait for the rate is known", `SELECT rate_free_at > now() FROM throttles`)
	b.untilDrained()
	came, _ := g.record()
	if len(came) != n {
		t.Fatalf("%d requests, want %d", len(came), n)
	}
	// Over any stretch; a request may come late by what a block is good for, so that those
	// behind it seem too close.
	const late = 600 * time.Millisecond
	for i := range came {
		for j := i + 1; j < len(came); j++ {
			if most := burst + 1 + int((came[j].Sub(came[i])+late)/every); j-i+1 > most {
				t.Fatalf("%d requests within %s, want at most %d", j-i+1, came[j].Sub(came[i]), most)
			}
		}
	}
	if took := came[n-1].Sub(came[0]); took < (n-burst-1)*every-late {
		t.Errorf("%d requests took %s, less than the rate allows", n, took)
	}
}

// A quota holds over all replicas together; the rest waits for its reset.
func TestDispatcher_QuotaHoldsOverReplicas(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	b := newBench(t, map[string]*platform{"books": newPlatform(g.answer)})
	d := b.destination("books")
	d.Quota, d.Period = 70, "month"
	b.replicas()
	b.fill(0, 200, "books")
	b.until("the quota is used up", `SELECT quota_used = 70 FROM throttles`)
	b.until("it was made use of", `SELECT count(*) >= 70 - 2 * 32 FROM timeline WHERE state = 'DELIVERED'`)
	if came, _ := g.record(); len(came) > 70 {
		t.Errorf("%d requests of a quota of 70", len(came))
	}
	b.db.Exec(t.Context(), `UPDATE throttles SET quota_until = now(), quota_limit = 70`) // the month is over
	b.until("more come with the next month", `SELECT count(*) > 70 FROM timeline WHERE state = 'DELIVERED'`)
	if came, _ := g.record(); len(came) > 140 {
		t.Errorf("%d requests of two months", len(came))
	}
}

// While a platform fails, all replicas together send it a few probes an interval, however
// busy they are and however long the breaker was open before they started; when it is back,
// all of it is delivered.
func TestDispatcher_ReplicasShareABreaker(t *testing.T) {
	t.Parallel()
	const openFor, probes, intervals = 300 * time.Millisecond, 2, 5
	g := newGate(t)
	failing := true
	g.status = func(int) int { // under the lock
		if failing {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	b := newBench(t, map[string]*platform{"books": newPlatform(g.answer)})
	b.destination("books").Breaker = outbox.BreakerConfig{Window: 30 * time.Second, MinRequests: 5, FailureRatio: 0.5, OpenFor: openFor, Probes: probes}
	route := b.plan.Routes[salesRoute]
	route.Retry.Attempts = 1000
	b.plan.Routes[salesRoute] = route
	turns := func(to string) int {
		return value[int](b, `SELECT count(*) FROM timeline WHERE what = 'breaker' AND reason LIKE $1 || ':%'`, to)
	}
	stop := b.replicas()
	b.fill(0, 200, "books")
	b.until("the breaker is open", `SELECT breaker = 'OPEN' FROM throttles`)
	b.until("both have heard of it", `SELECT count(*) = 2 FROM breakers WHERE state <> 'CLOSED'`)
	stop() // so that nothing is on its way that was admitted before
	if _, err := b.db.Exec(t.Context(), `UPDATE throttles SET probe_at = now() - interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	openedBefore, triedBefore := turns("open"), turns("half_open")
	before, _ := g.record()
	for range 3 { // that have seen nothing of it
		b.start()
	}
	b.until("the lanes are shared by three", `SELECT count(DISTINCT replica) = 3 FROM lanes`)
	shared := value[int](b, `SELECT turn FROM throttles`)
	b.until("it was probed", `SELECT turn >= $1 FROM throttles`, shared+2*intervals) // half-open and open again, each time
	opened := turns("open") - openedBefore                                           // each by a probe that failed
	after, _ := g.record()
	tried := turns("half_open") - triedBefore
	if n := len(after) - len(before); n < opened || n > tried*probes {
		t.Errorf("%d requests while three replicas tried it %d times, want at most %d each time, and %d at least", n, tried, probes, opened)
	}
	g.mu.Lock()
	failing = false
	g.mu.Unlock()
	b.untilDrained()
	b.until("the breaker is closed", `SELECT breaker = 'CLOSED' FROM throttles`)
	states := values[string](b, `SELECT split_part(reason, ':', 1) FROM timeline WHERE what = 'breaker' ORDER BY at, entry`)
	if n := value[int](b, `SELECT turn FROM throttles`); len(states) != n || states[0] != "open" || states[n-1] != "closed" {
		t.Errorf("%d entries of %d turns, from %q", len(states), n, states[:1])
	}
}

// While a destination fails, but not so much that the breaker opens, its retries keep to
// their budget, and first attempts go on.
func TestDispatcher_RetriesKeepToTheirBudget(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	well := false
	g.status = func(int) int {
		if well {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable
	}
	b := newBench(t, map[string]*platform{"books": newPlatform(g.answer)})
	b.destination("books").Breaker = outbox.BreakerConfig{Window: time.Minute, MinRequests: 100_000, FailureRatio: 0.5, OpenFor: time.Second, Probes: 1}
	route := b.plan.Routes[salesRoute]
	route.Retry = outbox.RetryConfig{Initial: time.Millisecond, Factor: 1, Cap: time.Millisecond, Attempts: 1000, Age: time.Hour}
	b.plan.Routes[salesRoute] = route
	b.replicas()
	begin := time.Now()
	b.fill(0, 1000, "books")
	b.until("every first attempt was made", `SELECT NOT EXISTS (SELECT FROM deliveries WHERE requests = 0)`)
	b.until("some were tried again", `SELECT count(*) > 20 FROM deliveries WHERE requests > 1`)
	came, _ := g.record()
	// Before it is known to fail, a few retries go by: of what was in flight.
	if most := 1000/10 + int(time.Since(begin)/time.Second) + 2*16*2; len(came)-1000 > most {
		t.Errorf("%d retries of 1000 first attempts, want at most %d", len(came)-1000, most)
	}
	g.mu.Lock()
	well = true
	g.mu.Unlock()
	b.untilDrained() // once it is well, nothing of the budget holds it back
}

// A destination that hangs, with every slot of it taken, costs another nothing.
func TestDispatcher_AHangingDestinationCostsOthersNothing(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hangs := newPlatform(func(ctx context.Context, _ sent) connectors.Outcome {
		select {
		case <-ctx.Done():
		case <-release:
		}
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "time-out", Reason: "no answer in time"}
	})
	defer close(release)
	b := newBench(t, map[string]*platform{"hangs": hangs, "books": newPlatform(nil)})
	b.destination("hangs").Timeout = testLease / 2
	b.start()
	b.fill(0, 1500, "hangs", "books")
	b.until("the healthy one has everything", `SELECT NOT EXISTS (SELECT FROM deliveries WHERE destination = $1)`, b.applied.Names.Destinations["books"])
	b.until("the other one waits for slots", `SELECT count(*) = 1 FROM shares WHERE destination = $1 AND busy`, b.applied.Names.Destinations["hangs"])
	if n := len(hangs.seen()); n > 16*20 {
		t.Errorf("the hanging one was sent %d requests meanwhile: the healthy one waited for it", n)
	}
}

// What a platform asks of one replica, all keep, and so does one that starts.
func TestDispatcher_ReplicasLeaveAPlatformAlone(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	books := newPlatform(func(context.Context, sent) connectors.Outcome {
		if asked.CompareAndSwap(false, true) {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Rule: "status 429", Status: 429, RetryAfter: time.Hour, Reason: "429"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.destination("books").Concurrency = 1
	b.replicas()
	b.fill(0, 60, "books")
	b.until("both leave it alone", `SELECT count(*) = 2 FROM breakers WHERE paced_until > now() + interval '59 minutes'`)
	before := len(books.seen())
	b.start()
	b.until("so does one that starts", `SELECT count(*) = 3 FROM breakers WHERE paced_until > now() + interval '59 minutes'`)
	b.fill(60, 90, "books")
	b.until("its lanes are looked at", `SELECT count(DISTINCT replica) = 3 FROM lanes`)
	if after := len(books.seen()); after != before {
		t.Errorf("%d requests came meanwhile", after-before)
	}
}
