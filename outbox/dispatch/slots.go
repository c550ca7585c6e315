package dispatch

import (
	"sync"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// slots are a destination's places on the wire. A request that finds none waits behind the
// others; its intent is durable, so it goes the moment there is one.
type slots struct {
	mu      sync.Mutex
	limit   int
	taken   int
	waiting []*turn
}

// turn is a request whose intent is durable, on its way to the wire.
type turn struct {
	flight *flight
	sortie *sortie
	nth    int // of the sortie
	waited bool
}

// take tells whether t may go at once. Otherwise it has to wait.
func (s *slots) take(t *turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		t.waited = true
		s.waiting = append(s.waiting, t)
		return false
	}
	s.taken++
	return true
}

// pass gives a place to the first of those that wait, which is returned; where none does, it
// is free.
func (s *slots) pass() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	return s.first()
}

// leave frees a place. The scheduler, which is to be told, says who gets it.
func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// bound says how many places there are, and tells whether anybody waits.
func (s *slots) bound(limit int) (crowded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	return len(s.waiting) > 0
}

// fill gives the places that are free to those that wait, and returns who got one.
func (s *slots) fill() (turns []*turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := s.first(); t != nil; t = s.first() {
		turns = append(turns, t)
	}
	return turns
}

func (s *slots) first() *turn {
	if s.taken >= s.limit || len(s.waiting) == 0 {
		return nil
	}
	t := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.taken++
	return t
}

// withdraw returns those that wait, which are not to go.
func (s *slots) withdraw() []*turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns := s.waiting
	s.waiting = nil
	return turns
}

// takeTurns lets those go that wait for a place and may have one, or withdraws them where
// nothing is to be sent now.
func (s *scheduler) takeTurns(t *target, now time.Time) {
	if !t.slots.bound(t.places(now, t.held())) {
		return
	}
	if s.draining || t.shuns(now) {
		for _, turn := range t.slots.withdraw() {
			turn.flight.notSent("turn", "not sent: sending was stopped before its turn came")
			s.unsent(turn.flight)
			turn.sortie.over()
		}
		return
	}
	for _, turn := range t.slots.fill() {
		s.sending.run(func() { s.ride(turn) })
	}
}

// shuns tells whether nothing more is to go to the platform, whatever it is.
func (t *target) shuns(now time.Time) bool {
	if t.stopped() || t.restraint.holds(now) || t.forced == outbox.ForcedOpen {
		return true
	}
	if t.forced == outbox.ForcedClosed || mutant.On(mutant.BreakerIgnored) {
		return false
	}
	state, _, _ := t.breaker.state()
	return state == outbox.BreakerOpen
}

// places is how many of so many slots may be in use now.
func (t *target) places(now time.Time, slots int) int {
	return t.health.ramp(now, t.Breaker.Probes, slots)
}

// ahead is how many requests may be under way to the wire beside those that are to fill it:
// as many as find a place in the time that it takes to get there, and at most as many again.
// They are doubtful after a crash, as those on the wire are; so there are none where a doubt
// takes a person to settle. Nor are there where each has its time, while slots are given up,
// or where the platform is not well.
func (t *target) ahead(now time.Time, places int) int {
	_, asks := t.Connector.(connectors.Reconciler)
	if !asks && !t.Connector.Traits().Idempotent || t.Every > 0 || places < t.held() || t.failing() {
		return 0
	}
	return min(places, t.landings.rate(now))
}

// landings count what was delivered lately. It is pure. Only the scheduler's goroutine uses
// it.
type landings struct {
	began       time.Time // of the window
	count, last int       // in it, and in the one before
}

// landingsWindow is about the time between admission and the wire, on a busy machine.
const landingsWindow = 10 * time.Millisecond

func (l *landings) note(now time.Time) {
	l.turn(now)
	l.count++
}

// rate is how many came in the last whole window.
func (l *landings) rate(now time.Time) int {
	l.turn(now)
	return l.last
}

func (l *landings) turn(now time.Time) {
	age := now.Sub(l.began)
	if age < landingsWindow {
		return
	}
	l.last = l.count
	if age >= 2*landingsWindow {
		l.last = 0
	}
	l.began, l.count = now, 0
}

// notSent says of a flight whose intent is durable that its request was not made after all.
// It spends no attempt.
func (f *flight) notSent(rule, reason string) {
	f.attempt.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: rule, Reason: reason}
	f.attempt.Ours = true
}
