package dispatch

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// platform answers as its tests say, and may be asked or not.
type platform struct {
	traits connectors.Traits
	answer func() connectors.Outcome
}

func (*platform) Prepare(connectors.Step) (connectors.Request, error) { return nil, nil }
func (p *platform) Traits() connectors.Traits                         { return p.traits }
func (p *platform) Send(context.Context, connectors.Request) connectors.Outcome {
	return p.answer()
}

type askable struct{ platform }

func (*askable) Reconcile(context.Context, connectors.Request) (r connectors.Reconciliation) {
	return r
}

var _ connectors.Reconciler = (*askable)(nil)

// wharf is a scheduler with one destination of so many slots, and what its senders need.
func wharf(d connectors.Destination, slots int) (*scheduler, *target) {
	n := &incarnation{
		Dispatcher: &Dispatcher{config: Config{Log: slog.New(slog.DiscardHandler)}},
		news:       newInbox[func(*scheduler)](), outcomes: newInbox[*flight](), urgent: make(chan struct{}, 1), sending: newCrew(),
	}
	s := newScheduler(n)
	s.adopt(&Plan{Destinations: map[int32]*Destination{1: {
		ID: 1, Connector: d, Concurrency: slots, Timeout: 30 * time.Second,
		Breaker: outbox.BreakerConfig{Window: time.Hour, MinRequests: 4, FailureRatio: 0.5, OpenFor: time.Hour, Probes: 1},
	}}})
	t := s.targets[1]
	t.share = unlimited(slots)
	t.slots.bound(slots)
	return s, t
}

// fly has so many requests on their way, as one batch whose intents are durable, and leaves
// those to the test that have a place.
func (s *scheduler) fly(t *target, flights int) (going, all []*rider) {
	so := &sortie{Context: context.Background(), work: context.Background(), end: func() {}, began: time.Now(), late: time.NewTimer(time.Hour), owed: make([]atomic.Pointer[flight], flights)}
	so.deadline = so.began.Add(t.Timeout)
	so.out.Store(int32(flights))
	for i := range flights {
		t.wire++
		f := &flight{
			line: &line{}, target: t, destination: t.Destination, breaker: t.breaker, gate: t.gate, slots: t.slots,
			delivery: &outbox.Delivery{Tenant: "kopi", Route: "sales"}, event: EventName{Tenant: "kopi", Source: "till"}, settle: func(error) {}, attempt: Attempt{Sent: true}, request: "large",
		}
		r := &rider{flight: f, sortie: so, nth: i}
		all = append(all, r)
		if t.slots.take(r) {
			going = append(going, r)
		}
	}
	return going, all
}

func (s *scheduler) hear() {
	for _, apply := range s.news.take(1 << 20) {
		apply(s)
	}
}

func delivering() connectors.Outcome {
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED}
}

// Whoever is delivered gives its place to the next, in their order, and never are more on the
// wire than there are places.
func TestSlots_PassOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, requests = 3, 50
		var now, most, sent atomic.Int32
		s, target := wharf(&platform{answer: func() connectors.Outcome {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			now.Add(-1)
			sent.Add(1)
			return delivering()
		}}, places)
		going, all := s.fly(target, requests)
		if len(going) != places {
			t.Fatalf("%d go at once, want %d", len(going), places)
		}
		for _, r := range going {
			s.sending.run(func() { s.ride(r) })
		}
		s.sending.Wait()
		s.sending.dismiss()
		if most.Load() != places || sent.Load() != requests || target.slots.taken != 0 {
			t.Errorf("%d are sent, %d of them at once, and %d places are taken then; want %d, %d and none", sent.Load(), most.Load(), target.slots.taken, requests, places)
		}
		for i := places + 1; i < requests; i++ {
			if all[i].flight.sent.Before(all[i-1].flight.sent) {
				t.Errorf("number %d goes before the one that came before it", i)
			}
		}
		if s.hear(); target.slots.taken != 0 || target.wire != 0 || target.behind != requests || target.trips.mean != time.Millisecond {
			t.Errorf("%d are under way and %d behind, want none and %d", target.wire, target.behind, requests)
		}
	})
}

// What was not delivered gives its place to nobody: once the scheduler has heard of it, it lets
// the next one go, or withdraws those that are not to go.
func TestScheduler_Seat(t *testing.T) {
	const places, waiting = 2, 5
	refuses := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Status: 422}
	fails := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Status: 503}
	paused := func(kind outbox.ControlKind, name string) func(*scheduler, *target) {
		return func(_ *scheduler, t *target) {
			t.controls = controls{{tenant: "kopi", kind: kind, name: name}: {State: outbox.Paused}}
		}
	}
	opens := func(_ *scheduler, t *target) { t.breaker = newOpenBreaker("books", t.Breaker, time.Hour, "it fails") }
	for name, c := range map[string]struct {
		answer connectors.Outcome
		then   func(*scheduler, *target)
		goOn   int // of those that wait; the others wait on, or are withdrawn where none goes on
	}{
		"Refused":       {answer: refuses, goOn: places},
		"Draining":      {answer: refuses, then: func(s *scheduler, _ *target) { s.draining = true }, goOn: places},
		"FewerPlaces":   {answer: refuses, then: func(_ *scheduler, t *target) { t.share.slots, t.share.kept = 1, 1 }, goOn: 1},
		"MorePlaces":    {answer: refuses, then: func(_ *scheduler, t *target) { t.share.slots, t.share.kept = 4, 4 }, goOn: 4},
		"AnotherRoute":  {answer: refuses, then: paused(outbox.OfRoute, "stock"), goOn: places},
		"AskedToWait":   {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Status: 429, RetryAfter: time.Minute}},
		"Quota":         {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA, Status: 429}},
		"NoLongerKnown": {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED, Status: 401}},
		"BreakerOpens":  {answer: fails, then: opens},
		"ForcedClosed": {answer: fails, then: func(s *scheduler, t *target) {
			opens(s, t)
			t.forced = outbox.ForcedClosed
		}, goOn: places},
		"ForcedOpen":   {answer: refuses, then: func(_ *scheduler, t *target) { t.forced = outbox.ForcedOpen }},
		"Paused":       {answer: refuses, then: func(_ *scheduler, t *target) { t.paused = true }},
		"RoutePaused":  {answer: refuses, then: paused(outbox.OfRoute, "sales")},
		"SourcePaused": {answer: refuses, then: paused(outbox.OfSource, "till")},
		"Removed":      {answer: refuses, then: func(s *scheduler, _ *target) { s.adopt(&Plan{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				answer := func() connectors.Outcome { return c.answer }
				s, target := wharf(&platform{answer: func() connectors.Outcome { return answer() }}, places)
				target.Quota = 100
				going, all := s.fly(target, places+waiting)
				for _, r := range going {
					if s.ride(r); target.slots.taken != places {
						t.Fatal("a place is free before the scheduler has heard of what came of it")
					}
				}
				if s.hear(); target.slots.taken != 0 {
					t.Fatalf("%d places are taken by nobody", target.slots.taken)
				}
				if late := (&rider{flight: all[0].flight}); target.slots.take(late) {
					t.Fatal("a newcomer takes the place of those that wait")
				}
				target.slots.waiting = target.slots.waiting[:waiting]
				if c.then != nil {
					c.then(s, target)
				}
				answer = func() connectors.Outcome { <-hold; return delivering() }
				s.seat(target, time.Now())
				synctest.Wait()
				if target.slots.taken != c.goOn || c.goOn > 0 && len(target.slots.waiting) != waiting-c.goOn {
					t.Errorf("%d go on and %d wait, want %d of %d to go on", target.slots.taken, len(target.slots.waiting), c.goOn, waiting)
				}
				close(hold)
				s.sending.Wait()
				s.sending.dismiss()
				s.hear()
				if c.goOn > 0 {
					return
				}
				if target.wire != 0 || len(s.outcomes.take(100)) != places+waiting || all[0].sortie.out.Load() != 0 {
					t.Error("some that were withdrawn have not come to their end")
				}
				if target.share.units != waiting {
					t.Errorf("%d units of the quota are given back for %d requests that were not made", target.share.units, waiting)
				}
				for _, r := range all[places:] {
					if f := r.flight; !f.sent.IsZero() || !f.attempt.NotMade || f.attempt.Rule != "turn" || f.request != nil {
						t.Errorf("one that was withdrawn is %+v", f.attempt)
					}
				}
			})
		})
	}
}

// Whatever becomes of a request, its place is free once, and given away only where it was
// delivered, and work goes on.
func TestRide_FreesThePlace(t *testing.T) {
	unknown := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		answer func() connectors.Outcome
		but    func(*rider)
		passes bool
	}{
		"Delivered": {answer: delivering, passes: true},
		"Panics":    {answer: func() connectors.Outcome { panic("at the platform") }},
		"NoRepeats": {answer: delivering, but: func(r *rider) {
			r.flight.delivery.UnknownAt, r.flight.delivery.Last = &unknown, raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
		}},
		"OutOfTime": {answer: delivering, but: func(r *rider) { r.sortie.deadline = time.Now() }},
		"WorkIsOver": {answer: delivering, but: func(r *rider) {
			over, end := context.WithCancel(context.Background())
			end()
			r.sortie.work = over
		}},
		"TimeIsOver": {answer: delivering, but: func(r *rider) {
			over, end := context.WithCancel(context.Background())
			end()
			r.sortie.Context = over
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, target := wharf(&platform{answer: c.answer}, 1)
				going, _ := s.fly(target, 1)
				_, next := s.fly(target, 1)
				if c.but != nil {
					c.but(going[0])
				}
				s.ride(going[0])
				if sent := !next[0].flight.sent.IsZero(); sent != c.passes {
					t.Errorf("the next one is sent: %t", sent)
				}
				if s.hear(); target.slots.taken != 0 || going[0].sortie.out.Load() != 0 {
					t.Errorf("%d places are taken, and %d of a batch are out", target.slots.taken, going[0].sortie.out.Load())
				}
			})
		})
	}
}

// A request that had to wait for a place is not begun when half of its time is over: it would
// be cut off, and nobody would know what came of it.
func TestRide_NotInTheSecondHalfOfItsTime(t *testing.T) {
	for waited, want := range map[time.Duration]string{14 * time.Second: "", 16 * time.Second: "turn"} {
		synctest.Test(t, func(t *testing.T) {
			s, target := wharf(&platform{answer: func() connectors.Outcome { time.Sleep(waited); return delivering() }}, 1)
			going, all := s.fly(target, 2)
			s.ride(going[0])
			if rule := all[1].flight.attempt.Rule; rule != want || (all[1].flight.attempt.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED) != (want == "") {
				t.Errorf("after %s of 30 s it is %+v", waited, all[1].flight.attempt)
			}
			if s.hear(); target.slots.taken != 0 {
				t.Error("the place stays taken")
			}
		})
	}
}

// A connector that does not return in time loses its place, once, and to nobody.
func TestGiveUp_FreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returns := make(chan struct{})
		s, target := wharf(&platform{answer: func() connectors.Outcome { <-returns; return delivering() }}, 1)
		going, all := s.fly(target, 2)
		s.sending.run(func() { s.ride(going[0]) })
		synctest.Wait()
		s.giveUp(all[0].sortie)
		if s.hear(); target.slots.taken != 0 || all[0].flight.attempt.Rule != "deadline" {
			t.Errorf("%d places are taken by %+v", target.slots.taken, all[0].flight.attempt)
		}
		close(returns)
		s.sending.Wait()
		if s.hear(); target.slots.taken != 0 || len(target.slots.waiting) != 1 {
			t.Error("the late return frees the place again, or gives it away")
		}
		s.sending.dismiss()
	})
}

// Requests are on their way ahead of the places as far as places come free meanwhile, and
// only where a crash then costs nobody's time.
func TestTarget_Ahead(t *testing.T) {
	again := platform{traits: connectors.Traits{Idempotent: true}}
	for name, c := range map[string]struct {
		destination connectors.Destination
		takes       time.Duration // a request
		but         func(*target)
		want        int
	}{
		"Fast":      {destination: &again, takes: time.Millisecond, want: 8},
		"AtOnce":    {destination: &again, want: 8},
		"Slower":    {destination: &again, takes: 25 * time.Millisecond, want: 3},
		"Slow":      {destination: &again, takes: 100 * time.Millisecond},
		"Asked":     {destination: &askable{}, takes: time.Millisecond, want: 8},
		"Neither":   {destination: &platform{}, takes: time.Millisecond},
		"AtARate":   {destination: &again, takes: time.Millisecond, but: func(t *target) { t.Every = time.Millisecond }},
		"Counted":   {destination: &again, takes: time.Millisecond, but: func(t *target) { t.Quota = 5000 }},
		"Failing":   {destination: &again, takes: time.Millisecond, but: func(t *target) { t.health.recent = 1<<healthWindow - 1 }},
		"Recovered": {destination: &again, takes: time.Millisecond, but: func(t *target) { t.health.recover(time.Now()) }},
		"FewerAreItsOwn": {destination: &again, takes: time.Millisecond, but: func(t *target) {
			t.wire = 12
			t.granted(&outbox.Ask{}, &outbox.Grant{Slots: 8, Fair: 4}, 1, clocks{now: time.Now()})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, target := wharf(c.destination, 8)
				target.slots.taken = 100
				for range 100 {
					target.wire++
					f := &flight{line: &line{}, target: target, placed: true, sent: time.Now(), attempt: Attempt{Sent: true, Duration: c.takes, Outcome: delivering()}}
					s.landed(f)
				}
				// What was there already took no time on the wire.
				s.landed(&flight{line: &line{}, target: target, attempt: Attempt{Outcome: delivering()}})
				time.Sleep(c.takes)
				if c.but != nil {
					c.but(target)
				}
				now := time.Now()
				if got := target.ahead(now, target.places(now, target.share.slots)); got != c.want {
					t.Errorf("%d ahead of 8 places, want %d", got, c.want)
				}
				time.Sleep(6 * onTheWay)
				if got := target.ahead(time.Now(), 8); got != 0 {
					t.Errorf("%d are ahead though nothing has landed for long", got)
				}
			})
		})
	}
}

// Of a destination whose authorisation is lost one request is tried, and only where it has a
// place: it would be withdrawn otherwise, and the next one comes much later.
func TestTarget_ProbesInItsPlace(t *testing.T) {
	t.Parallel()
	_, target := wharf(&platform{}, 1)
	target.lost, target.probes = true, 1
	if free := target.free(time.Now()); free != 1 {
		t.Errorf("%d may go, want one", free)
	}
	target.share.slots = 0 // another replica's turn
	if free := target.free(time.Now()); free > 0 {
		t.Errorf("%d may go without a place", free)
	}
}

// Slots that are to be another replica's are kept for what was admitted, and told as they come
// free; they never come back by themselves.
func TestTarget_GivesSlotsUp(t *testing.T) {
	_, target := wharf(&platform{}, 8)
	target.wire = 11 // some of them ahead
	target.granted(&outbox.Ask{}, &outbox.Grant{Slots: 8, Fair: 3}, 1, clocks{now: time.Now()})
	for _, c := range []struct{ wire, kept int }{{11, 8}, {8, 8}, {6, 6}, {7, 6}, {2, 3}, {9, 3}} {
		if target.wire = c.wire; target.ask(time.Now()).Slots != c.kept {
			t.Errorf("with %d under way it says %d, want %d", c.wire, target.keeps(), c.kept)
		}
		if free := target.free(time.Now()); free > max(3-c.wire, 0) {
			t.Errorf("%d more may go beside %d of 3", free, c.wire)
		}
	}
}
