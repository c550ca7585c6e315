package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
)

// Outcomes are stored at once after a rest, and in a while where many come that nobody waits
// for.
func TestGather(t *testing.T) {
	many := func(n int, of func() *flight) (flights []*flight) {
		for range n {
			flights = append(flights, of())
		}
		return flights
	}
	plain := func() *flight {
		return &flight{attempt: Attempt{Sent: true}, policy: Policy{Traits: connectors.Traits{Idempotent: true}}}
	}
	asked := func() *flight { return &flight{attempt: Attempt{Sent: true}, policy: Policy{Asks: true}} }
	person := func() *flight { return &flight{attempt: Attempt{Sent: true}} }
	for name, c := range map[string]struct {
		rest  time.Duration // since the last batch
		first []*flight     // there by then
		then  []*flight     // a millisecond after the least time between two
		after time.Duration // they are stored
	}{
		"AfterARest":       {rest: time.Second, first: many(100, plain)},
		"Few":              {first: many(finishSome-1, plain), then: []*flight{person()}, after: finishEvery},
		"Many":             {first: many(finishSome, plain), then: []*flight{asked()}, after: finishWithin},
		"OneIsUrgent":      {first: append(many(finishSome, plain), person()), after: finishEvery},
		"OneComesUrgently": {first: many(finishSome, plain), then: []*flight{person()}, after: finishEvery + time.Millisecond},
		"AStepFollows":     {first: append(many(finishSome, plain), &flight{step: &stepped{}}), after: finishEvery},
		"VeryMany":         {first: many(finishMany-1, plain), then: []*flight{plain()}, after: finishEvery + time.Millisecond},
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
