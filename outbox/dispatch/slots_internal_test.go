package dispatch

import (
	"context"
	"log/slog"
	"slices"
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

// fly puts so many requests on their way, as one batch whose intents are durable, and leaves
// those to the test that have a place.
func (s *scheduler) fly(t *target, flights int) (going, all []*turn) {
	so := &sortie{Context: context.Background(), work: context.Background(), end: func() {}, began: time.Now(), late: time.NewTimer(time.Hour), owed: make([]atomic.Pointer[flight], flights)}
	so.deadline = so.began.Add(t.Timeout)
	so.out.Store(int32(flights))
	for i := range flights {
		t.wire++
		f := &flight{
			line: &line{}, target: t, destination: t.Destination, breaker: t.breaker, gate: t.gate, slots: t.slots,
			delivery: &outbox.Delivery{}, settle: func(error) {}, attempt: Attempt{Sent: true},
		}
		turn := &turn{flight: f, sortie: so, nth: i}
		all = append(all, turn)
		if t.slots.take(turn) {
			going = append(going, turn)
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
		for _, turn := range going {
			s.sending.run(func() { s.ride(turn) })
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
		if s.hear(); target.wire != 0 || target.behind != requests || target.landings.count == 0 {
			t.Errorf("%d are under way and %d behind, want none and %d", target.wire, target.behind, requests)
		}
	})
}

// What was not delivered gives its place to nobody: the scheduler, which has heard of it by
// then, lets the next one go, or withdraws all.
func TestScheduler_TakeTurns(t *testing.T) {
	const places, waiting = 2, 5
	refuses := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Status: 422}
	fails := connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Status: 503}
	for name, c := range map[string]struct {
		answer connectors.Outcome
		then   func(*scheduler, *target)
		goOn   int
	}{
		"Refused":       {answer: refuses, goOn: places},
		"FewerPlaces":   {answer: refuses, then: func(_ *scheduler, t *target) { t.share.slots, t.share.held = 1, 1 }, goOn: 1},
		"MorePlaces":    {answer: refuses, then: func(_ *scheduler, t *target) { t.share.slots, t.share.held = 4, 4 }, goOn: 4},
		"AskedToWait":   {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Status: 429, RetryAfter: time.Minute}},
		"Quota":         {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA, Status: 429}},
		"NoLongerKnown": {answer: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED, Status: 401}},
		"BreakerOpens":  {answer: fails, then: func(_ *scheduler, t *target) { t.breaker = newOpenBreaker("books", t.Breaker, time.Hour, "it fails") }},
		"ForcedOpen":    {answer: refuses, then: func(_ *scheduler, t *target) { t.forced = outbox.ForcedOpen }},
		"OpenForcedShut": {answer: fails, then: func(_ *scheduler, t *target) {
			t.forced, t.breaker = outbox.ForcedClosed, newOpenBreaker("books", t.Breaker, time.Hour, "")
		}, goOn: places},
		"Paused":   {answer: refuses, then: func(_ *scheduler, t *target) { t.paused = true }},
		"Removed":  {answer: refuses, then: func(s *scheduler, _ *target) { s.adopt(&Plan{}) }},
		"Draining": {answer: refuses, then: func(s *scheduler, _ *target) { s.draining = true }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				answer := func() connectors.Outcome { return c.answer }
				s, target := wharf(&platform{answer: func() connectors.Outcome { return answer() }}, places)
				going, all := s.fly(target, places+waiting)
				for _, turn := range going {
					if s.ride(turn); target.slots.taken >= places {
						t.Fatal("a place is not given back")
					}
				}
				s.hear()
				if c.then != nil {
					c.then(s, target)
				}
				answer = func() connectors.Outcome { <-hold; return delivering() }
				s.takeTurns(target, time.Now())
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
				for _, turn := range all[places:] {
					if f := turn.flight; !f.sent.IsZero() || !f.attempt.Ours || f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT || f.attempt.Rule != "turn" {
						t.Errorf("one that was withdrawn is %+v", f.attempt)
					}
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
			if target.slots.taken != 0 {
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
		if target.slots.taken != 0 || all[0].flight.attempt.Rule != "deadline" {
			t.Errorf("%d places are taken by %+v", target.slots.taken, all[0].flight.attempt)
		}
		close(returns)
		s.sending.Wait()
		if target.slots.taken != 0 || len(target.slots.waiting) != 1 {
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
		landings    int // in a hundredth of a second
		but         func(*target)
		want        int
	}{
		"Fast":      {destination: &again, landings: 500, want: 8},
		"Slower":    {destination: &again, landings: 3, want: 3},
		"Slow":      {destination: &again},
		"Asked":     {destination: &askable{}, landings: 500, want: 8},
		"Neither":   {destination: &platform{}, landings: 500},
		"AtARate":   {destination: &again, landings: 500, but: func(t *target) { t.Every = time.Millisecond }},
		"Failing":   {destination: &again, landings: 500, but: func(t *target) { t.health.recent = 1<<healthWindow - 1 }},
		"Recovered": {destination: &again, landings: 500, but: func(t *target) { t.health.recover(time.Now()) }},
		"FewerAreItsOwn": {destination: &again, landings: 500, but: func(t *target) {
			t.wire = 12
			t.granted(&outbox.Ask{}, &outbox.Grant{Slots: 8, Fair: 4}, 1, clocks{now: time.Now()})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, target := wharf(c.destination, 8)
				for range c.landings {
					target.landings.note(time.Now())
				}
				time.Sleep(landingsWindow)
				if c.but != nil {
					c.but(target)
				}
				now := time.Now()
				if got := target.ahead(now, target.places(now, target.share.slots)); got != c.want {
					t.Errorf("%d ahead of 8 places, want %d", got, c.want)
				}
				time.Sleep(2 * landingsWindow)
				if got := target.ahead(time.Now(), 8); got != 0 {
					t.Errorf("%d are ahead though nothing has landed for long", got)
				}
			})
		})
	}
}

// Slots that are to be another replica's are kept for what was admitted, and told as they come
// free; they never come back by themselves.
func TestTarget_GivesSlotsUp(t *testing.T) {
	_, target := wharf(&platform{}, 8)
	target.wire = 11 // some of them ahead
	target.granted(&outbox.Ask{}, &outbox.Grant{Slots: 8, Fair: 3}, 1, clocks{now: time.Now()})
	for _, c := range []struct{ wire, held int }{{11, 8}, {8, 8}, {6, 6}, {7, 6}, {2, 3}, {9, 3}} {
		if target.wire = c.wire; target.ask(time.Now()).Slots != c.held {
			t.Errorf("with %d under way it says %d, want %d", c.wire, target.held(), c.held)
		}
		if free := target.free(time.Now()); free > max(3-c.wire, 0) {
			t.Errorf("%d more may go beside %d of 3", free, c.wire)
		}
	}
}

// Outcomes are stored at once after a rest, and in a while where many come that nobody waits
// for.
func TestGather(t *testing.T) {
	plain := func() *flight { return &flight{policy: Policy{Traits: connectors.Traits{Idempotent: true}}} }
	person := func() *flight { return &flight{attempt: Attempt{Sent: true}} }
	for name, c := range map[string]struct {
		rest  time.Duration // since the last batch
		first []*flight     // there by then
		then  []*flight     // a millisecond after the least time between two
		after time.Duration // they are stored
	}{
		"AfterARest":       {rest: time.Second, first: slices.Repeat([]*flight{plain()}, 100)},
		"Few":              {first: slices.Repeat([]*flight{plain()}, finishSome-1), then: []*flight{person()}, after: finishEvery},
		"Many":             {first: slices.Repeat([]*flight{plain()}, finishSome), then: []*flight{plain()}, after: finishWithin},
		"OneIsUrgent":      {first: append(slices.Repeat([]*flight{plain()}, finishSome), person()), after: finishEvery},
		"OneComesUrgently": {first: slices.Repeat([]*flight{plain()}, finishSome), then: []*flight{person()}, after: finishEvery + time.Millisecond},
		"AStepFollows":     {first: append(slices.Repeat([]*flight{plain()}, finishSome), &flight{step: &stepped{}}), after: finishEvery},
		"VeryMany":         {first: slices.Repeat([]*flight{plain()}, finishMany-1), then: []*flight{plain()}, after: finishEvery + time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := wharf(&platform{}, 8)
				last := time.Now()
				time.Sleep(c.rest)
				for _, f := range c.first {
					s.land(f)
				}
				began := time.Now()
				go func() {
					time.Sleep(finishEvery + time.Millisecond)
					for _, f := range c.then {
						s.land(f)
					}
				}()
				s.gather(t.Context(), last)
				if waited := time.Since(began); waited != c.after {
					t.Errorf("stored after %s, want %s", waited, c.after)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// What another delivery of the same key waits for is not left to gather.
func TestLanded_HurriesWhereTheNextOneWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line  line
		hurry bool
	}{
		"Alone":    {},
		"Follower": {line: line{followers: make([]outbox.Delivery, 1)}, hurry: true},
		"InTable":  {line: line{parked: true}, hurry: true},
	} {
		s, target := wharf(&platform{}, 8)
		s.landed(&flight{line: &c.line, target: target})
		if hurries := len(s.urgent) > 0; hurries != c.hurry {
			t.Errorf("%s: it hurries: %t", name, hurries)
		}
	}
}
