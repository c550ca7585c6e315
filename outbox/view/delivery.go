package view

import (
	"cmp"
	"context"
	"slices"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox"
)

// Delivery is one event on its way to one destination, or its end.
type Delivery struct {
	Ref         outbox.DeliveryID
	Destination string
	State       State
	Waiting     *Waiting // why and until when; where State is Waiting

	// Route that chose the destination; empty for a delivery that has ended.
	Route string
	// Version is what a transition must name; 0 for a delivery that has ended.
	Version int32
	Step    int16
	// Requests announced for this step, made or called off, and attempts spent by the retry
	// policy's count; 0 for a delivery that has ended.
	Requests, Spent int32
	// LastKind is what its last attempt came to; unspecified where there is none.
	LastKind raffsyncv1.OutcomeKind
	// Exception that it is listed under, or 0, and all that hold it: it goes on when the
	// last of them lets go of it.
	Exception  int64
	Exceptions []int64
	// SettledAt is when it ended.
	SettledAt *time.Time
	// Reason of its last state, for people; may be empty.
	Reason string
}

// ID is the opaque text that names it for callers.
func (d *Delivery) ID() string { return FormatDeliveryID(d.Ref) }

// open is a row of deliveries.
type open struct {
	Lane        int16
	Destination int32
	Seq         int64
	Event       outbox.Seq
	EventAt     time.Time
	AcceptedAt  time.Time
	KeyHash     int64
	DueAt       *time.Time
	Exception   *int64
	Replay      int32
	Version     int32
	Requests    int32
	Attempts    int32
	Step        int16
	State       outbox.State
	Kind        int16
	Route       string
	Name        string // of the destination
}

func (o *open) ref() outbox.DeliveryID {
	return outbox.DeliveryID{
		Event:       outbox.EventID{AcceptedAt: o.EventAt.UTC(), Seq: o.Event},
		Destination: o.Destination, Replay: o.Replay,
	}
}

const openColumns = `d.lane, d.destination, d.seq, d.event, d.event_at, d.accepted_at, d.key_hash, d.due_at, d.exception, d.replay,
  d.version, d.requests, d.attempts, d.step, d.state, d.kind, d.route, n.name`

// A delivery of an event has the event's position in its lane, so that the primary
// key finds it. That of a replay has its own, and an index.
var openOfEvents = register("open deliveries of events", `
SELECT `+openColumns+`
  FROM unnest($1::timestamptz[], $2::bigint[]) AS k(accepted_at, seq)
  JOIN events e ON e.accepted_at = k.accepted_at AND e.seq = k.seq
  JOIN deliveries d ON d.lane = e.lane AND d.destination = ANY (ARRAY(SELECT id FROM destinations)) AND d.seq = e.seq
  JOIN destinations n ON n.id = d.destination
 WHERE d.replay = 0
UNION ALL
SELECT `+openColumns+`
  FROM unnest($2::bigint[]) AS k(seq)
  JOIN deliveries d ON d.event = k.seq AND d.replay > 0
  JOIN destinations n ON n.id = d.destination`)

// settled is the entry that ended a delivery.
type settled struct {
	Event       outbox.Seq
	EventAt     time.Time
	Destination int32
	Replay      int32
	At          time.Time
	State       string
	Kind        *int16
	Step        *int16
	Reason      *string
	Name        string
}

// The clock of an entry is that of its transaction's start, which may be a little
// before its event's; the time bounds which partitions are looked into.
var settledOfEvents = register("settled deliveries of events", `
SELECT l.event, k.accepted_at AS event_at, l.destination, l.replay, l.at, l.state, l.kind, l.step, l.reason, n.name
  FROM unnest($1::timestamptz[], $2::bigint[]) AS k(accepted_at, seq)
 CROSS JOIN LATERAL (
   SELECT DISTINCT ON (t.destination, coalesce(t.replay, 0))
          t.event, t.destination, coalesce(t.replay, 0) AS replay, t.at, t.state, t.kind, t.step, t.reason
     FROM timeline t
    WHERE t.event = k.seq AND t.at >= k.accepted_at - interval '1 hour'
      AND t.destination IS NOT NULL AND t.state IS NOT NULL
    ORDER BY t.destination, coalesce(t.replay, 0), t.at DESC, t.entry DESC) AS l
  JOIN destinations n ON n.id = l.destination`)

// DeliveriesOf returns the deliveries of each event, open or ended, in the order of
// their destinations' names.
func (t *Tx) DeliveriesOf(ctx context.Context, ids []outbox.EventID) (map[outbox.EventID][]*Delivery, error) {
	at, seqs := eventArrays(ids)
	rows, err := collect[open](ctx, t, "open deliveries", openOfEvents, at, seqs)
	if err != nil {
		return nil, err
	}
	ended, err := collect[settled](ctx, t, "settled deliveries", settledOfEvents, at, seqs)
	if err != nil {
		return nil, err
	}
	found, err := t.describe(ctx, rows)
	if err != nil {
		return nil, err
	}
	isOpen := make(map[outbox.DeliveryID]bool, len(found))
	for _, d := range found {
		isOpen[d.Ref] = true
	}
	for _, s := range ended {
		if d := s.delivery(); !isOpen[d.Ref] && d.State.Terminal() {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *Delivery) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Ref.Replay, b.Ref.Replay))
	})
	of := make(map[outbox.EventID][]*Delivery, len(ids))
	for _, d := range found {
		of[d.Ref.Event] = append(of[d.Ref.Event], d)
	}
	return of, nil
}

// Deliveries returns those that exist of the deliveries named.
func (t *Tx) Deliveries(ctx context.Context, ids []outbox.DeliveryID) (map[outbox.DeliveryID]*Delivery, error) {
	events := make([]outbox.EventID, len(ids))
	for i, id := range ids {
		events[i] = id.Event
	}
	of, err := t.DeliveriesOf(ctx, events)
	byID := make(map[outbox.DeliveryID]*Delivery, len(ids))
	for _, deliveries := range of {
		for _, d := range deliveries {
			byID[d.Ref] = d
		}
	}
	return byID, err
}

func (s *settled) delivery() *Delivery {
	d := &Delivery{
		Ref: outbox.DeliveryID{
			Event:       outbox.EventID{AcceptedAt: s.EventAt.UTC(), Seq: s.Event},
			Destination: s.Destination, Replay: s.Replay,
		},
		Destination: s.Name, State: State(s.State), SettledAt: &s.At,
	}
	if s.Kind != nil {
		d.LastKind = raffsyncv1.OutcomeKind(*s.Kind)
	}
	if s.Step != nil {
		d.Step = *s.Step
	}
	if s.Reason != nil {
		d.Reason = *s.Reason
	}
	return d
}
