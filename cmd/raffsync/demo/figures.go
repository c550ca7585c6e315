package demo

import (
	"context"
	"time"

	"raffsync/connectors/simulator"
)

// Figures is where the screen's numbers come from.
type Figures interface {
	// Snapshot is asked for about once a second.
	Snapshot(context.Context) (Snapshot, error)
}

// Ledgers is the other side's count; [Platforms] has it.
type Ledgers interface {
	Ledgers(context.Context) ([]simulator.Summary, error)
}

// Counts are events and deliveries since the database began.
type Counts struct {
	Delivered, Waiting, NeedsAction int64
}

// Snapshot is the state of the broker at one moment.
type Snapshot struct {
	// Accepted counts the deliveries made of accepted events: each is delivered, waits
	// or needs action.
	Accepted int64
	Counts
	Destinations []Destination
	// Exceptions are open ones, the largest first; a screenful is enough.
	Exceptions []Exception
}

// Destination is one row of a snapshot.
type Destination struct {
	Name string
	Counts
	Breaker Breaker
}

// Breaker is the state of a destination's breaker.
type Breaker struct {
	State BreakerState
	// Reason says why it opened, in a few words: "503 ×5".
	Reason string
	// NextProbeAt is when an open breaker tries again.
	NextProbeAt time.Time
}

// BreakerState is one of a circuit breaker's three.
type BreakerState string

const (
	BreakerClosed   BreakerState = "closed"
	BreakerOpen     BreakerState = "open"
	BreakerHalfOpen BreakerState = "half-open"
)

// Exception is an open exception.
type Exception struct {
	ID, Destination string
	// Title says what it is, in a line: "422 unknown_sku, lines[0].sku".
	Title string
	// Held counts its deliveries.
	Held int64
	// Worth is what is at stake: "IDR 312000"; "" where that is not known.
	Worth string
}
