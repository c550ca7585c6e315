package outbox

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// State of an open delivery, as stored. What can be computed (sending, paused,
// waiting for a breaker, behind an earlier event) is never stored.
type State int16

const (
	Pending     State = 0
	Retry       State = 1 // its time has not come
	NeedsAction State = 2 // held by an exception
)

// Names of a delivery's states, as the timeline and the API use them.
const (
	StatePending     = "PENDING"
	StateWaiting     = "WAITING"
	StateNeedsAction = "NEEDS_ACTION"
	StateDelivered   = "DELIVERED"
	StateSkipped     = "SKIPPED"
	StateSuperseded  = "SUPERSEDED"
)

// Delivery is an open delivery as the dispatcher reads it: without its event.
type Delivery struct {
	Lane        int16
	Destination int32
	Seq         Seq // position in its lane
	Event       Seq
	EventAt     time.Time
	AcceptedAt  time.Time
	KeyHash     int64
	Tenant      string
	Route       string
	Replay      int32
	Step        int16
	Revision    int16
	State       State
	Requests    int32
	Attempts    int32
	Version     int32
	// UnknownAt is when the first request was made that may have had its effect; nil
	// while every request is known to have had none.
	UnknownAt *time.Time
	// Row is where it was in the table when it was read, by which it is found without a
	// search while nothing has changed it. Only a hint: what it is, its key and version tell.
	Row pgtype.TID
	// TriedAt is when the first request was made that the retry policy counts; nil before
	// it. An operator's retry begins anew.
	TriedAt *time.Time
	// Last is what the last attempt came to that was stored; OUTCOME_KIND_UNSPECIFIED
	// before the first.
	Last raffsyncv1.OutcomeKind
	// Claimed: it has, or had, a claim on an effect.
	Claimed bool
	// Edited: a person has changed something of its payload; [Replica.Load] heeds it.
	Edited bool
}

// Before tells whether d was accepted before o. It orders the deliveries of a key.
func (d *Delivery) Before(o *Delivery) bool {
	if !d.AcceptedAt.Equal(o.AcceptedAt) {
		return d.AcceptedAt.Before(o.AcceptedAt)
	}
	return d.Seq < o.Seq
}

// Class of the exception that an outcome of this kind becomes.
func Class(kind raffsyncv1.OutcomeKind) string {
	const prefix = len("OUTCOME_KIND_")
	return kind.String()[prefix:]
}

// ClassRetriesExhausted is the class of a delivery that spent its attempts, or its
// time, on outcomes that retrying may cure.
const ClassRetriesExhausted = "RETRIES_EXHAUSTED"
