package view

import (
	"cmp"
	"context"
	"slices"
	"time"

	"raffsync/outbox"
)

// BreakerState is what a destination's breaker does with new requests.
type BreakerState string

// The states of a breaker.
const (
	BreakerClosed   BreakerState = "CLOSED"    // lets them through
	BreakerOpen     BreakerState = "OPEN"      // lets nothing through
	BreakerHalfOpen BreakerState = "HALF_OPEN" // lets a few through to try
)

// Breaker sums up what the breakers of one destination say, the one that all replicas
// share and each replica's own: the worst of them.
type Breaker struct {
	State BreakerState
	// Reason for people, and since when; empty while closed.
	Reason string
	Since  *time.Time
	// ProbeAt is when the first of those that are open tries again.
	ProbeAt *time.Time
	// PacedUntil is until when the platform asked to be left alone; it may be past.
	PacedUntil *time.Time
	// Forced: an operator holds it in this state.
	Forced *Control
}

// Destination is a system that receives, with its counts.
type Destination struct {
	Number    int32 `db:"id"`
	Name      string
	RemovedAt *time.Time
	// Accepted deliveries, and what became of them.
	Accepted, Delivered, Skipped, Superseded, NeedsAction int64
	// Late is how many have not ended by the time that their routes give them.
	Late    int64
	Breaker Breaker `db:"-"`
	// Paused by an operator; nil where it runs.
	Paused *Control `db:"-"`
	// Unauthorised: its platform has taken the authorisation away, or suspended the account.
	Unauthorised *Control `db:"-"`
	// Fault: it is not used as configured; nil where it is.
	Fault *Fault `db:"-"`
	// Connection to its platform; nil where nothing is kept for it.
	Connection *Connection `db:"-"`
}

// Depth is how many deliveries have not ended.
func (d *Destination) Depth() int64 { return max(0, d.Accepted-d.Delivered-d.Skipped-d.Superseded) }

// The counts are kept as deltas, a few rows a destination.
var destinationsWithCounts = register("destinations", `
SELECT d.id, d.name, d.removed_at,
       coalesce(c.accepted, 0) AS accepted, coalesce(c.delivered, 0) AS delivered,
       coalesce(c.skipped, 0) AS skipped, coalesce(c.superseded, 0) AS superseded, coalesce(c.needs_action, 0) AS needs_action, coalesce(x.held, 0) AS late
  FROM destinations d
  LEFT JOIN exceptions x ON x.class = 'LATE' AND x.destination = d.id AND x.closed_at IS NULL
  LEFT JOIN (SELECT destination, sum(accepted)::bigint AS accepted, sum(delivered)::bigint AS delivered,
                    sum(skipped)::bigint AS skipped, sum(superseded)::bigint AS superseded, sum(needs_action)::bigint AS needs_action
               FROM tallies GROUP BY destination) AS c ON c.destination = d.id
 ORDER BY d.name`)

// Destinations returns all of the tenant's destinations by name, those that were
// removed too.
func (t *Tx) Destinations(ctx context.Context) ([]*Destination, error) {
	found, err := collect[Destination](ctx, t, "destinations", destinationsWithCounts)
	if err != nil {
		return nil, err
	}
	breakers, err := t.breakers(ctx)
	if err != nil {
		return nil, err
	}
	held, err := t.held(ctx)
	if err != nil {
		return nil, err
	}
	faults, err := t.faults(ctx)
	if err != nil {
		return nil, err
	}
	connections, err := t.connections(ctx)
	for _, d := range found {
		d.Connection = connections[d.Number]
		d.Fault = faults.of(d.Number)
		d.Breaker = held.breaker(d.Name, breakers[d.Number])
		d.Breaker.State = cmp.Or(d.Breaker.State, BreakerClosed)
		d.Paused = held[heldThing{outbox.OfDestination, d.Name}]
		d.Unauthorised = held[heldThing{outbox.OfAuthorisation, d.Name}]
	}
	return found, err
}

// DestinationByName returns one destination, or nil.
func (t *Tx) DestinationByName(ctx context.Context, name string) (*Destination, error) {
	all, err := t.Destinations(ctx)
	if i := slices.IndexFunc(all, func(d *Destination) bool { return d.Name == name }); i >= 0 {
		return all[i], err
	}
	return nil, err
}

var breakersOfReplicas = register("breakers", `
SELECT destination, state, reason, since, probe_at, paced_until FROM breakers
UNION ALL
SELECT destination, breaker, reason, since, CASE breaker WHEN 'OPEN' THEN probe_at END, NULL FROM throttles`)

type breakerRow struct {
	Destination int32
	State       BreakerState
	Reason      string
	Since       time.Time
	ProbeAt     *time.Time
	PacedUntil  *time.Time
}

func (t *Tx) breakers(ctx context.Context) (map[int32]Breaker, error) {
	rows, err := collect[breakerRow](ctx, t, "breakers", breakersOfReplicas)
	return worstBreakers(rows), err
}

var severity = map[BreakerState]int{BreakerClosed: 0, BreakerHalfOpen: 1, BreakerOpen: 2}

// worstBreakers sums up the rows of each destination.
func worstBreakers(rows []*breakerRow) map[int32]Breaker {
	worst := make(map[int32]Breaker)
	for _, r := range rows {
		b, known := worst[r.Destination]
		paced := latestOf(b.PacedUntil, r.PacedUntil)
		switch {
		case !known || severity[r.State] > severity[b.State]:
			b = Breaker{State: r.State, ProbeAt: r.ProbeAt}
			if r.State != BreakerClosed {
				b.Reason, b.Since = r.Reason, &r.Since
			}
		case r.State == BreakerOpen && b.State == BreakerOpen:
			if b.ProbeAt == nil || (r.ProbeAt != nil && r.ProbeAt.Before(*b.ProbeAt)) {
				b.ProbeAt = r.ProbeAt
			}
			if r.Since.Before(*b.Since) {
				b.Reason, b.Since = r.Reason, &r.Since
			}
		}
		b.PacedUntil = paced
		worst[r.Destination] = b
	}
	return worst
}

func latestOf(a, b *time.Time) *time.Time {
	if a == nil || (b != nil && b.After(*a)) {
		return b
	}
	return a
}

// Within a lane and a writer, positions follow the time of acceptance: so the first
// of each writer is looked at, by jumping from writer to writer (2^40 positions).
var oldestOpen = register("oldest open deliveries", `
WITH RECURSIVE heads AS (
  SELECT l.lane, w.destination, h.seq, h.event, h.event_at, h.replay, h.accepted_at
    FROM installation i
   CROSS JOIN LATERAL generate_series(0, i.lanes - 1) AS l(lane)
   CROSS JOIN unnest($1::integer[]) AS w(destination)
   CROSS JOIN LATERAL (
     SELECT d.seq, d.event, d.event_at, d.replay, d.accepted_at FROM deliveries d
      WHERE d.lane = l.lane::smallint AND d.destination = w.destination ORDER BY d.seq LIMIT 1) AS h
  UNION ALL
  SELECT p.lane, p.destination, h.seq, h.event, h.event_at, h.replay, h.accepted_at
    FROM heads p
   CROSS JOIN LATERAL (
     SELECT d.seq, d.event, d.event_at, d.replay, d.accepted_at FROM deliveries d
      WHERE d.lane = p.lane::smallint AND d.destination = p.destination AND d.seq >= ((p.seq >> 40) + 1) << 40
      ORDER BY d.seq LIMIT 1) AS h
)
SELECT DISTINCT ON (destination) destination, event, event_at, replay, accepted_at
  FROM heads
 ORDER BY destination, accepted_at, seq`)

// Oldest is the delivery of a destination that has been open for longest.
type Oldest struct {
	Ref        outbox.DeliveryID
	AcceptedAt time.Time
}

// OldestOpen returns the oldest open delivery of each destination that has any.
func (t *Tx) OldestOpen(ctx context.Context, destinations []int32) (map[int32]Oldest, error) {
	type row struct {
		Destination int32
		Event       outbox.Seq
		EventAt     time.Time
		Replay      int32
		AcceptedAt  time.Time
	}
	rows, err := collect[row](ctx, t, "the oldest open deliveries", oldestOpen, destinations)
	oldest := make(map[int32]Oldest, len(rows))
	for _, r := range rows {
		oldest[r.Destination] = Oldest{
			Ref: outbox.DeliveryID{
				Event:       outbox.EventID{AcceptedAt: r.EventAt.UTC(), Seq: r.Event},
				Destination: r.Destination, Replay: r.Replay,
			},
			AcceptedAt: r.AcceptedAt,
		}
	}
	return oldest, err
}
