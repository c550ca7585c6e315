package dispatch

import (
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// restraint is until when a platform is left alone, since it asked for that. It is pure:
// times are of the local monotonic clock.
type restraint struct {
	until time.Time
	// refusals that came one after another and did not say until when.
	refusals int
	told     time.Time // the end that others were told of
	shared   time.Time // an end that all replicas know of
}

// How long a platform is left alone that says of too many requests only that they are:
// the first time, and at most. Each time after another it is twice as long.
const (
	firstRestraint = time.Second
	mostRestraint  = time.Minute
)

// note takes up what came of a request.
//
//	RATE_LIMITED, QUOTA     → as long as asked, or else a back-off
//	TRANSIENT               → as long as asked
//	DELIVERED               → the back-off begins anew
//	anything else           → it is about that delivery alone
func (r *restraint) note(kind raffsyncv1.OutcomeKind, asked time.Duration, now time.Time) {
	switch kind {
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, raffsyncv1.OutcomeKind_OUTCOME_KIND_QUOTA:
		if asked <= 0 {
			if now.Before(r.until) {
				return // it was on the wire already, and says nothing new
			}
			asked = min(firstRestraint<<min(r.refusals, 16), mostRestraint)
			r.refusals++
		}
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT:
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		r.refusals = 0
		return
	default:
		return
	}
	if until := now.Add(asked); asked > 0 && until.After(r.until) {
		r.until = until
	}
}

// holds tells whether the platform is left alone.
func (r *restraint) holds(now time.Time) bool { return now.Before(r.until) }

// share takes up what all replicas were told: by this one, or by the platform.
func (r *restraint) share(until time.Time) {
	if until.After(r.until) {
		r.until = until
	}
	r.shared = until.Add(outbox.PacedGrain)
}

// news tells whether the other replicas do not know yet.
func (r *restraint) news(now time.Time) bool { return r.until.After(r.shared) && r.until.After(now) }

// restraintMoved is how far its end must have moved for others to be told.
const restraintMoved = time.Second

// moved tells whether others were told of another end.
func (r *restraint) moved() bool { return r.until.Sub(r.told).Abs() > restraintMoved }
