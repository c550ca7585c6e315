package dispatch

import (
	"slices"
	"sync"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// slots are a destination's places on the wire. A request that finds none waits behind the
// others; its intent is durable, so it goes the moment there is one.
type slots struct {
	mu      sync.Mutex
	limit   int
	taken   int
	waiting []*rider
}

// rider is a request whose intent is durable, on its way to the wire.
type rider struct {
	flight *flight
	sortie *sortie
	nth    int // of the sortie
	waited bool
}

// take tells whether r may go at once. Otherwise it waits, as it does where others do.
func (s *slots) take(r *rider) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit || len(s.waiting) > 0 {
		r.waited = true
		s.waiting = append(s.waiting, r)
		return false
	}
	s.taken++
	return true
}

// pass gives a place to the first of those that wait, which is returned; where none does, it
// is free.
func (s *slots) pass() *rider {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	return s.takeNext()
}

// leave frees a place.
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
func (s *slots) fill() (riders []*rider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := s.takeNext(); r != nil; r = s.takeNext() {
		riders = append(riders, r)
	}
	return riders
}

// takeNext takes a place for the first of those that wait. The lock is held.
func (s *slots) takeNext() *rider {
	if s.taken >= s.limit || len(s.waiting) == 0 {
		return nil
	}
	r := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	s.taken++
	return r
}

// withdraw takes out those that wait and are not to go.
func (s *slots) withdraw(which func(*flight) bool) (riders []*rider) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(r *rider) bool {
		out := which(r.flight)
		if out {
			riders = append(riders, r)
		}
		return out
	})
	return riders
}

// seat lets those go that wait for a place and may have one, and withdraws those that are
// not to go now.
func (s *scheduler) seat(t *target, now time.Time) {
	if !t.slots.bound(t.places(now, t.keeps())) {
		return
	}
	all := t.shuns(now)
	for _, r := range t.slots.withdraw(func(f *flight) bool { return all || t.holds(f) }) {
		r.flight.notMade("turn", "not sent: sending was stopped before its turn came")
		s.unsent(r.flight)
		r.sortie.ended()
	}
	for _, r := range t.slots.fill() {
		s.sending.run(func() { s.ride(r) })
	}
}

// holds tells whether the route or the source of a flight is paused.
func (t *target) holds(f *flight) bool {
	return t.rests(f.delivery) || len(t.controls) > 0 && t.controls.paused(f.event.Tenant, outbox.OfSource, f.event.Source)
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

// ahead is how many requests may be on their way to the wire beside those that are to fill
// it: as many as find a place in the time that this takes, and at most as many again. They are
// doubtful after a crash, as those on the wire are; so there are none where a doubt takes a
// person to settle. Nor are there where each has its time or is counted, while slots are given
// up, or where the platform is not well.
func (t *target) ahead(now time.Time, places int) int {
	_, asks := t.Connector.(connectors.Reconciler)
	if !asks && !t.Connector.Traits().Idempotent || t.Every > 0 || t.Quota > 0 || places < t.keeps() || t.failing() {
		return 0
	}
	return min(places, t.trips.within(onTheWay, places, now))
}

// onTheWay is about the time between admission and the wire, on a busy machine.
const onTheWay = 10 * time.Millisecond

// trips are how long requests take that are delivered. It is pure. Only the scheduler's
// goroutine uses it.
type trips struct {
	mean time.Duration
	last time.Time // when one ended
}

func (r *trips) note(took time.Duration, end time.Time) {
	if r.last.IsZero() {
		r.mean = took
	}
	r.mean += (took - r.mean) / 16
	r.last = end
}

// within is how many end within d on so many places (Little's law): none where it is long
// that one did.
func (r *trips) within(d time.Duration, places int, now time.Time) int {
	if now.Sub(r.last) > 5*d {
		return 0
	}
	return int(time.Duration(places) * d / max(r.mean, time.Microsecond))
}
