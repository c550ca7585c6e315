package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// JobFilter says which deliveries. What is zero does not narrow it; only what waits for a
// retry or is held is ever among them.
type JobFilter struct {
	// Deliveries names them one by one, at most [MostNamed]; nothing else narrows it then.
	Deliveries  []DeliveryID `json:"deliveries,omitempty"`
	Destination string       `json:"destination,omitempty"`
	Exception   int64        `json:"exception,omitempty"` // that holds them
	Class       string       `json:"class,omitempty"`     // of an open exception that holds them
	// State is [StateNeedsAction] or [StateWaiting]: for a retry.
	State  string `json:"state,omitempty"`
	Source string `json:"source,omitempty"`
	Type   string `json:"type,omitempty"` // exact
	Outlet string `json:"outlet,omitempty"`
	// Acceptance of the event, and when it was held: from the first time, before the second.
	AcceptedFrom  time.Time `json:"acceptedFrom,omitzero"`
	AcceptedUntil time.Time `json:"acceptedUntil,omitzero"`
	HeldFrom      time.Time `json:"heldFrom,omitzero"`
	HeldUntil     time.Time `json:"heldUntil,omitzero"`
	// Everything is the word that a filter needs which narrows nothing.
	Everything bool `json:"everything,omitempty"`
}

// MostNamed is how many deliveries one request may name.
const MostNamed = 1000

var errNothingMatches = &Refusal{Field: "filter", Message: "nothing that waits for a retry or needs action matches"}

func (f *JobFilter) validate() error {
	wrong := func(message string) error { return &Refusal{Field: "filter", Message: message} }
	if len(f.Deliveries) > 0 {
		only := JobFilter{Deliveries: f.Deliveries}
		switch {
		case len(f.Deliveries) > MostNamed:
			return wrong(fmt.Sprintf("at most %d deliveries can be named; use a filter", MostNamed))
		case !f.equal(&only):
			return wrong("deliveries are named one by one, or by a filter, not both")
		}
		return nil
	}
	narrows := !f.equal(&JobFilter{Everything: f.Everything})
	if narrows == f.Everything {
		if narrows {
			return wrong("everything is all that has failed: leave it out where the filter narrows that")
		}
		return wrong("this is everything that has failed, of every destination: narrow it, or say everything")
	}
	for _, text := range []string{f.Destination, f.Class, f.Source, f.Type, f.Outlet} {
		if storable(text) != text {
			return wrong("a text of the filter is too long, or none that an event could have")
		}
	}
	if f.State != "" && f.State != StateNeedsAction && f.State != StateWaiting {
		return wrong("state is NEEDS_ACTION or WAITING: only what has failed can be taken")
	}
	for _, between := range [][2]time.Time{{f.AcceptedFrom, f.AcceptedUntil}, {f.HeldFrom, f.HeldUntil}} {
		if !between[0].IsZero() && !between[1].IsZero() && !between[0].Before(between[1]) {
			return wrong("the time from must be before the time until")
		}
	}
	return nil
}

func (f *JobFilter) equal(o *JobFilter) bool {
	a, b := *f, *o
	named := slices.Equal(a.Deliveries, b.Deliveries)
	a.Deliveries, b.Deliveries = nil, nil
	return named && fmt.Sprint(a) == fmt.Sprint(b)
}

// JobPreview is what a job would do now.
type JobPreview struct {
	Total int64 // deliveries
	// NeedsAction are held by exceptions; the others wait for a retry.
	NeedsAction int64
	// Unknown may have had their effect: a retry asks about that first, where it can. Where it
	// cannot, and repeats are not recognised, what is of unknown outcome is not sent.
	Unknown int64
	// Taken belong to other jobs that are not done.
	Taken int64
	// First and Last acceptance of the events; nil where there is none.
	First, Last *time.Time
}

// PreviewJob counts what a job would take, and stores nothing.
func (s *Store) PreviewJob(ctx context.Context, tenant string, f JobFilter) (p JobPreview, err error) {
	if err := f.validate(); err != nil {
		return p, err
	}
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		m, err := f.matcher(ctx, tx, tenant)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, m.countSQL, m.arguments...).Scan(&p.Total, &p.NeedsAction, &p.Unknown, &p.Taken, &p.First, &p.Last)
	})
	return p, err
}
