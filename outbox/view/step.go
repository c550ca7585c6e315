package view

import (
	"context"
	"encoding/json"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox"
)

// Step is one step of a delivery, as far as the timeline tells of it: one that is not begun
// is not there.
type Step struct {
	Index int16
	// Name and Effect as the route named them; empty where it named none.
	Name, Effect string
	// Done, by a request or since its effect was there already.
	Done bool
	// Receipt of the last request that was answered with one, or of what was there already.
	Receipt *outbox.Receipt
	// Attempts, the newest first.
	Attempts []*Entry
}

// StepsOf asks for the steps of a delivery.
type StepsOf struct {
	Delivery outbox.DeliveryID
	// Newest bounds how many entries of the timeline are looked at.
	Newest int
}

var stepsOfDeliveries = register("steps of deliveries", `
SELECT (k.ord - 1)::integer AS place, `+entryColumns+`
  FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::integer[], $5::bigint[]) WITH ORDINALITY
       AS k(event, since, destination, replay, most, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline
    WHERE timeline.event = k.event AND timeline.at >= k.since - interval '1 hour' AND timeline.what IN ('attempt', 'effect')
      AND timeline.destination = k.destination AND coalesce(timeline.replay, 0) = k.replay
    ORDER BY timeline.at DESC, timeline.entry DESC LIMIT k.most) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY k.ord, t.at DESC, t.entry DESC`)

// Steps returns the steps of each delivery, the first one first, in the order of the asking.
func (t *Tx) Steps(ctx context.Context, asked []StepsOf) ([][]*Step, error) {
	var events []outbox.Seq
	var since []time.Time
	var destinations, replays []int32
	var most []int
	for _, a := range asked {
		if err := checkFirst(a.Newest); err != nil {
			return nil, err
		}
		events, since = append(events, a.Delivery.Event.Seq), append(since, a.Delivery.Event.AcceptedAt)
		destinations, replays = append(destinations, a.Delivery.Destination), append(replays, a.Delivery.Replay)
		most = append(most, a.Newest)
	}
	rows, err := collect[placed](ctx, t, "steps", stepsOfDeliveries, events, since, destinations, replays, most)
	if err != nil {
		return nil, err
	}
	entries := make([][]*Entry, len(asked))
	for _, r := range rows {
		entries[r.Place] = append(entries[r.Place], &r.Entry)
	}
	steps := make([][]*Step, len(asked))
	for i, of := range entries {
		steps[i] = stepsOf(of)
	}
	return steps, nil
}

// stepsOf sorts a delivery's entries, which come the newest first, by step.
func stepsOf(entries []*Entry) []*Step {
	var steps []*Step
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if e.Step == nil {
			continue
		}
		if n := len(steps); n == 0 || steps[n-1].Index != *e.Step {
			steps = append(steps, &Step{Index: *e.Step})
		}
		steps[len(steps)-1].add(e)
	}
	return steps
}

func (s *Step) add(e *Entry) {
	var detail struct {
		outbox.Receipt
		Step, Effect string
	}
	if len(e.Detail) > 0 && json.Unmarshal(e.Detail, &detail) == nil {
		s.Name, s.Effect = orElse(detail.Step, s.Name), orElse(detail.Effect, s.Effect)
		if r := detail.Receipt; r.ExternalID != "" || r.URL != "" || r.Fields != nil {
			s.Receipt = &r
		}
	}
	if e.Kind != nil && e.State != nil {
		delivered := raffsyncv1.OutcomeKind(*e.Kind) == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
		s.Done = delivered && (*e.State == outbox.StatePending || *e.State == outbox.StateDelivered)
	}
	if e.What == "attempt" {
		s.Attempts = append([]*Entry{e}, s.Attempts...)
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
