package view

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	words "raffsync/outbox/explain"
)

// Exposure is what an exception has at stake in one currency.
type Exposure struct {
	Exception int64
	Currency  *string // nil for units without money
	Amount    string  // a decimal
	Units     string
}

var exposuresOf = register("exposures", `
SELECT e.exception, nullif(e.currency, '') AS currency, trim_scale(e.amount)::text AS amount, trim_scale(e.units)::text AS units
  FROM unnest($1::bigint[]) AS k(id)
  JOIN exposures e ON e.exception = k.id
 ORDER BY e.exception, e.currency`)

// Exposures returns what each exception has at stake, by currency.
func (t *Tx) Exposures(ctx context.Context, exceptions []int64) (map[int64][]*Exposure, error) {
	found, err := collect[Exposure](ctx, t, "exposures", exposuresOf, exceptions)
	of := make(map[int64][]*Exposure)
	for _, e := range found {
		of[e.Exception] = append(of[e.Exception], e)
	}
	return of, err
}

// mostSteps are told of one exception: the last ones.
const mostSteps = 100

// LifeStep is what a person, or the engine, did with an exception.
type LifeStep struct {
	Exception int64
	At        time.Time
	Action    string // "exception" when it was raised, "acknowledge", "comment", …
	Actor     *string
	Reason    *string
	Detail    json.RawMessage
}

var stepsOfExceptions = register("steps of exceptions", `
SELECT k.id AS exception, t.at, t.what AS action, t.actor, t.reason, t.detail
  FROM unnest($1::bigint[]) AS k(id)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline WHERE timeline.exception = k.id AND timeline.event IS NULL ORDER BY timeline.at DESC, timeline.entry DESC LIMIT $2) AS t
 ORDER BY k.id, t.at, t.entry`)

// LifeSteps returns the last steps of each exception, in the order of time. What happened
// to the deliveries that it holds is in their own stories.
func (t *Tx) LifeSteps(ctx context.Context, exceptions []int64) (map[int64][]*LifeStep, error) {
	found, err := collect[LifeStep](ctx, t, "the timeline", stepsOfExceptions, exceptions, mostSteps)
	of := make(map[int64][]*LifeStep)
	for _, s := range found {
		of[s.Exception] = append(of[s.Exception], s)
	}
	return of, err
}

// Explain says in words for a shop what the exception is.
func (e *Exception) Explain(in words.Language) words.Explanation {
	s := words.Subject{Class: e.Class, Rule: e.Rule, Code: e.Code, Field: e.Field, Held: e.HeldCount}
	if e.Destination != nil {
		s.Destination = *e.Destination
	}
	if e.Source != nil {
		s.Source = *e.Source
	}
	if g := e.Gap(); g != nil {
		s.Table, s.Value = g.Table, g.Value
	}
	return words.Explain(s, in)
}

// Suggestions are what each gap may be meant to have, in the order of the asking: none for
// what is no gap.
func (t *Tx) Suggestions(ctx context.Context, asked []*Exception) ([][]MappingSuggestion, error) {
	var gaps []*MappingGap
	of := make([][]MappingSuggestion, len(asked))
	place := make([]int, 0, len(asked))
	names := make(map[string]int32)
	for i, x := range asked {
		g := x.Gap()
		if g == nil || x.Destination == nil {
			continue
		}
		if _, known := names[*x.Destination]; !known {
			ids, err := t.destinationsNamed(ctx, *x.Destination)
			if err != nil {
				return nil, err
			}
			names[*x.Destination] = slices.MaxFunc(ids, cmp.Compare[int32])
		}
		gaps, place = append(gaps, &MappingGap{Table: g.Table, Value: g.Value, DestinationNumber: names[*x.Destination]}), append(place, i)
	}
	err := t.suggest(ctx, gaps)
	for i, g := range gaps {
		of[place[i]] = g.Suggestions
	}
	return of, err
}
