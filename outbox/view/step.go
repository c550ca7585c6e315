package view

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox"
)

// States of a step.
const (
	StepDone     = "DONE"
	StepCurrent  = "CURRENT"   // it is its turn
	StepNotBegun = "NOT_BEGUN" // those before it are not done
	StepEnded    = "ENDED"     // the delivery ended before it was done
)

// Step is one step of a delivery: as far as the timeline tells of it, and while the delivery
// is open as its route has it today.
type Step struct {
	Index int16
	State string
	// Name and Effect as the route named them; empty where it named none.
	Name, Effect string
	// Done, by a request, since its effect was there already, or since a person found it there.
	Done bool
	// Receipt of the last request that was answered with one, or of what was there already.
	Receipt *outbox.Receipt
	// Attempts, the newest first.
	Attempts []*Entry
}

// StepsOf asks for the steps of a delivery.
type StepsOf struct {
	Delivery outbox.DeliveryID
	// Route of one that is open, and the step that is under way; without a route it has ended.
	Route string
	Step  int16
	// Newest bounds how many entries of the timeline are looked at.
	Newest int
}

var stepsOfDeliveries = register("steps of deliveries", `
SELECT (k.ord - 1)::integer AS place, `+entryColumns+`
  FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::integer[], $5::bigint[]) WITH ORDINALITY
       AS k(event, since, destination, replay, most, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline
    WHERE timeline.event = k.event AND timeline.at >= k.since - interval '1 hour' AND timeline.what IN ('attempt', 'effect', 'found')
      AND timeline.destination = k.destination AND coalesce(timeline.replay, 0) = k.replay
    ORDER BY timeline.at DESC, timeline.entry DESC LIMIT k.most) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY k.ord, t.at DESC, t.entry DESC`)

// StepsOf asks for all the steps of a delivery.
func (d *Delivery) StepsOf() StepsOf {
	return StepsOf{Delivery: d.Ref, Route: d.Route, Step: d.Step, Newest: MaxFirst}
}

// stepsOfRoutes are the names of the steps of routes, as far as they have any: those of
// destinations that drain among them, unless another route has the name by now.
var stepsOfRoutes = register("steps of routes", `
SELECT r->>'name' AS route, s.value->>'name' AS name
  FROM (SELECT document FROM configuration ORDER BY version DESC LIMIT 1) AS c
 CROSS JOIN LATERAL (
   SELECT jsonb_path_query(document, '$.routes[*]')
   UNION ALL SELECT d FROM jsonb_path_query(document, '$.draining[*].routes[*]') AS d
    WHERE NOT jsonb_path_exists(document, '$.routes[*] ? (@.name == $name)', jsonb_build_object('name', d->'name'))) AS routes(r)
 CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(r->'steps') WHEN 'array' THEN r->'steps' ELSE '[]' END) WITH ORDINALITY AS s
 WHERE r->>'name' = ANY ($1)
 ORDER BY route, s.ordinality`)

// routeSteps are the names of the steps of the routes that are asked for.
func (t *Tx) routeSteps(ctx context.Context, asked []StepsOf) (map[string][]string, error) {
	var routes []string
	for _, a := range asked {
		if a.Route != "" && !slices.Contains(routes, a.Route) {
			routes = append(routes, a.Route)
		}
	}
	if len(routes) == 0 {
		return nil, nil
	}
	type row struct{ Route, Name string }
	rows, err := collect[row](ctx, t, "steps of routes", stepsOfRoutes, routes)
	names := make(map[string][]string)
	for _, r := range rows {
		names[r.Route] = append(names[r.Route], r.Name)
	}
	return names, err
}

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
	routes, err := t.routeSteps(ctx, asked)
	if err != nil {
		return nil, err
	}
	steps := make([][]*Step, len(asked))
	for i, of := range entries {
		steps[i] = withState(stepsOf(of), asked[i], routes[asked[i].Route])
	}
	return steps, nil
}

// withState says how each step stands, and adds those of an open delivery that are still to
// come. names are those of its route's steps; none: it has one, without a name.
func withState(steps []*Step, of StepsOf, names []string) []*Step {
	if of.Route != "" {
		if len(names) == 0 {
			names = []string{""}
		}
		for i := int(of.Step); i < len(names); i++ {
			known := slices.ContainsFunc(steps, func(s *Step) bool { return int(s.Index) == i })
			if !known {
				steps = append(steps, &Step{Index: int16(i), Name: names[i]})
			}
		}
	}
	for _, s := range steps {
		switch {
		case s.Done:
			s.State = StepDone
		case of.Route == "":
			s.State = StepEnded
		case s.Index > of.Step:
			s.State = StepNotBegun
		default:
			s.State = StepCurrent
		}
		if s.Name == "" && of.Route != "" && int(s.Index) < len(names) {
			s.Name = names[s.Index] // its first attempt is not over yet
		}
	}
	return steps
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
