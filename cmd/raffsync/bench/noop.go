package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Kinds of destination that only an engine of the bench has.
const (
	kindNoop = "noop" // takes everything at once
	kindHang = "hang" // never answers
	kindSick = "sick" // fails until it is told to be well, and takes everything from then on
	// takes everything whose SKU it finds in its mapping table
	kindShelf = "shelf"
)

// Kinds makes the bench's destinations, and measures when they were reached.
type Kinds struct {
	arrivals arrivals
	well     atomic.Bool // the sick ones are, by now
}

// Registry of the kinds.
func (k *Kinds) Registry() connectors.Registry {
	return connectors.Registry{
		kindNoop: func(connectors.Options) (connectors.Destination, error) { return &noop{arrivals: &k.arrivals}, nil },
		kindShelf: func(connectors.Options) (connectors.Destination, error) {
			return &shelf{noop{arrivals: &k.arrivals}}, nil
		},
		kindHang: func(connectors.Options) (connectors.Destination, error) { return hang{}, nil },
		kindSick: func(connectors.Options) (connectors.Destination, error) {
			return &sick{noop{arrivals: &k.arrivals}, &k.well}, nil
		},
	}
}

// noop delivers by doing nothing.
type noop struct{ arrivals *arrivals }

func (n *noop) Prepare(s connectors.Step) (connectors.Request, error) { return s.Event.OccurredAt, nil }

func (n *noop) Send(_ context.Context, r connectors.Request) connectors.Outcome {
	n.arrivals.add(r.(time.Time))
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED}
}

func (n *noop) Traits() connectors.Traits { return connectors.Traits{Idempotent: true} }

// shelf is a no-op destination that looks up what each event lacks at first.
type shelf struct{ noop }

func (d *shelf) Prepare(s connectors.Step) (connectors.Request, error) {
	if _, known := s.Lookup("sku", missingSKU); !known {
		return nil, &connectors.PrepareError{Missing: []connectors.Miss{{Table: "sku", Value: missingSKU, Path: "sku"}}}
	}
	return d.noop.Prepare(s)
}

// hang waits for as long as it is let.
type hang struct{}

func (hang) Prepare(connectors.Step) (connectors.Request, error) { return nil, nil }

func (hang) Send(ctx context.Context, _ connectors.Request) connectors.Outcome {
	<-ctx.Done()
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "time-out", Reason: "it never answers"}
}

func (hang) Traits() connectors.Traits { return connectors.Traits{Idempotent: true} }

// sick is a no-op destination with a bad time behind it, or before it.
type sick struct {
	noop
	well *atomic.Bool
}

func (s *sick) Send(ctx context.Context, r connectors.Request) connectors.Outcome {
	if s.well.Load() {
		return s.noop.Send(ctx, r)
	}
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 5xx", Status: 503, Reason: "503 Service Unavailable"}
}

// arrivals are how long after they occurred events reached a destination. They are
// kept only while somebody measures.
type arrivals struct {
	mu        sync.Mutex
	measuring bool
	after     []time.Duration
}

func (a *arrivals) add(occurred time.Time) {
	after := time.Since(occurred)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.measuring {
		a.after = append(a.after, after)
	}
}

// take returns what was measured since the last call, and goes on measuring.
func (a *arrivals) take() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.after
	a.after, a.measuring = nil, true
	return taken
}

// percentile of durations, by nearest rank; 0 where there are none. It sorts them.
func percentile(durations []time.Duration, p float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	return durations[min(int(p*float64(len(durations))), len(durations)-1)]
}
