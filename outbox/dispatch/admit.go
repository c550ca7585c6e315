package dispatch

import (
	"context"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// admit sends off what may go: as many as there are slots, and some ahead of those; as the
// breaker allows, and as the platform has asked for.
func (s *scheduler) admit() {
	now := time.Now()
	var flights []*flight
	for _, id := range s.order {
		t := s.targets[id]
		flights = append(flights, s.admitShadows(t)...)
		t.probe(now)
		if t.restraint.holds(now) {
			continue
		}
		for t.free(now) > 0 {
			l := t.next()
			if l == nil {
				break
			}
			if l.queue.closing {
				t.take(l) // the next owner reads it
				continue
			}
			if !t.may(now) {
				break
			}
			settle, ok := t.allow()
			if !ok {
				break
			}
			t.take(l)
			t.probes = max(t.probes-1, 0)
			d := l.admit()
			t.spend(d, now)
			t.wire++
			s.flying++
			flights = append(flights, &flight{
				line: l, target: t, destination: t.Destination, breaker: t.breaker, gate: t.gate, slots: t.slots,
				outcome: context.Canceled, delivery: d, lease: s.leases[d.Lane], policy: s.policy(s.plan, d), settle: settle,
			})
		}
	}
	s.launches.put(flights...)
}

// landed says that a flight's request is over. Its slot is free then, unless that went to
// another one already.
func (s *scheduler) landed(f *flight) {
	if f.line.waitedFor() {
		s.hurry()
	}
	if f.shadow {
		return
	}
	f.target.wire--
	f.target.behind++
	if f.placed {
		f.target.slots.leave()
	}
	f.target.health.note(f.outcome)
	if f.sent.IsZero() {
		f.target.unsent()
	}
	if f.attempt.Sent && losesDestination(f.attempt.Kind) {
		f.target.lose()
	}
	if f.attempt.Sent {
		answered := f.sent.Add(f.attempt.Duration)
		f.target.restraint.note(f.attempt.Kind, f.attempt.RetryAfter, answered)
		if f.attempt.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
			f.target.trips.note(f.attempt.Duration, answered)
		}
	}
}

// settled says that a flight's transition was to be stored, and whether it is.
func (s *scheduler) settled(f *flight, to string, stored bool) {
	if f.shadow {
		f.target.shadowing--
	} else {
		f.target.behind--
	}
	s.flying--
	if stored {
		f.line.settled(to)
	} else {
		f.line.returned()
	}
}

// returned says that a flight was not sent, since its delivery had changed.
func (s *scheduler) returned(f *flight) {
	f.target.wire--
	f.target.unsent()
	s.flying--
	f.line.returned()
}

// watchBreakers has what changed about breakers and pacing stored.
func (s *scheduler) watchBreakers() {
	now := time.Now()
	for id, t := range s.targets {
		state, reason, probeIn := t.breaker.state()
		row := outbox.BreakerRow{Tenant: t.Tenant, Destination: id, State: state, Reason: reason, ProbeIn: probeIn, PacedFor: max(t.restraint.until.Sub(now), 0)}
		last, known := s.stored[id]
		if known && last.State == row.State && last.PacedFor > 0 == (row.PacedFor > 0) && (row.PacedFor == 0 || !t.restraint.moved()) {
			continue
		}
		if !known && state == "CLOSED" && row.PacedFor == 0 {
			continue
		}
		s.stored[id], t.restraint.told = row, t.restraint.until
		s.breakers.put(row)
	}
}
