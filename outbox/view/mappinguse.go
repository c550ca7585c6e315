package view

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// MappingUse is a request that was made with an entry of a mapping table, and what became of
// it.
type MappingUse struct {
	At      time.Time // of its intent
	Ref     outbox.DeliveryID
	Route   string
	Step    int16
	Attempt int32
	// Target is what the value was called in it, by an entry of that version; Shared and
	// Default as in [outbox.MappingEntry].
	Target          string
	Version         int64
	Shared, Default bool
	// EventID and Source name the event; empty where it is gone.
	EventID, Source string
	// Kind is what it came to; unspecified while that is not known. Of one whose outcome was
	// unknown it is what the platform said when it was asked.
	Kind raffsyncv1.OutcomeKind
	// StepName and Effect, where the route names them, and the receipt.
	StepName, Effect, ExternalID, URL string
}

// MappingUses is one page of them, the newest first, and what the value is called today:
// empty where nothing answers it any more.
type MappingUses struct {
	Page[*MappingUse]
	Now string
}

var (
	mappingNow = register("what a value is called today", `
SELECT target FROM (
  SELECT target, 1 AS turn FROM mapping_entries WHERE name = $1 AND destination = `+destinationOrShared("$2")+` AND value = $3
  UNION ALL SELECT target, 2 FROM mapping_entries WHERE name = $1 AND destination = 0 AND value = $3
  UNION ALL SELECT target, 3 FROM mapping_entries WHERE name = $1 AND destination = `+destinationOrShared("$2")+` AND value = ''
  UNION ALL SELECT target, 4 FROM mapping_entries WHERE name = $1 AND destination = 0 AND value = '') AS answers
 ORDER BY turn LIMIT 1`)

	// Rows are walked back in time: each has the requests of a moment, and those of one
	// moment are examined together.
	walkUses = ` FROM mapping_used WHERE destination = ` + destinationOrShared("$1") + ` AND at >= $2 AND at <= $3 ORDER BY at DESC`

	// The entry of the attempt says what became of it; where that was unknown, so does the
	// answer to a question that came after it.
	mappingUses = register("uses of a mapping entry", `
SELECT u.at, u.event, u.event_at, u.destination, u.replay, u.route, u.step, u.attempt, u.target, u.version, u.shared, u.fallback,
       coalesce(e.id, '') AS event_id, coalesce(s.name, '') AS source, coalesce(t.kind, 0) AS kind, t.detail
  FROM (
    SELECT r.destination, r.at, r.events[x.request] AS event, r.event_ats[x.request] AS event_at, r.replays[x.request] AS replay, r.steps[x.request] AS step,
           r.attempts[x.request] AS attempt, r.routes[x.request] AS route, l.target, l.version, l.shared, l.fallback
      FROM (SELECT * FROM (SELECT *`+walkUses+` FETCH FIRST $4 ROWS WITH TIES) AS examined WHERE $6 = ANY (looked)) AS r
     CROSS JOIN LATERAL unnest(r.names, r.looked, r.targets, r.versions, r.shared, r.fallback) WITH ORDINALITY AS l(name, looked, target, version, shared, fallback, entry)
     CROSS JOIN LATERAL unnest(r.requests, r.entries) AS x(request, entry)
     WHERE l.name = $5 AND l.looked = $6 AND ($7 = '' OR l.target = $7) AND x.entry = l.entry
       AND (r.at, r.events[x.request], r.replays[x.request], r.steps[x.request], r.attempts[x.request]) < ($3, $8, $9, $10, $11)
     ORDER BY 2 DESC, 3 DESC, 5 DESC, 6 DESC, 7 DESC LIMIT $12) AS u
  LEFT JOIN events e ON e.accepted_at = u.event_at AND e.seq = u.event
  LEFT JOIN sources s ON s.id = e.source
  LEFT JOIN LATERAL (
    SELECT l.kind, l.detail FROM timeline l
     WHERE l.event = u.event AND l.at >= u.event_at - interval '1 hour' AND l.destination = u.destination AND coalesce(l.replay, 0) = u.replay
       AND l.step = u.step AND (l.attempt = u.attempt OR l.attempt > u.attempt AND l.kind = 1 AND (l.detail->>'asked')::boolean)
     ORDER BY (l.attempt = u.attempt AND l.kind NOT IN (2, 3)) DESC, (l.kind = 1) DESC, l.at DESC LIMIT 1) AS t ON true
 ORDER BY u.at DESC, u.event DESC, u.replay DESC, u.step DESC, u.attempt DESC`)

	mappingUsesLast = register("uses of a mapping entry, last examined", `SELECT at`+walkUses+` OFFSET $4::bigint - 1 LIMIT 1`)
)

// UseFilter narrows the uses of an entry.
type UseFilter struct {
	// Table and Value that was looked up, and the destination that it was sent to.
	Table, Value, Destination string
	Since                     time.Time // zero: ever
	Target                    string    // only where the value was called this; empty: anything
}

// MappingUses lists requests that were made with what a table said of a value, the newest
// first. Those of routes in shadow, and previews, are none. It examines the rows of
// [Budget] batches of requests to the destination a page.
func (t *Tx) MappingUses(ctx context.Context, f UseFilter, first int, after string) (MappingUses, error) {
	var page MappingUses
	if err := checkFirst(first); err != nil {
		return page, err
	}
	if f.Table == "" || f.Value == "" || f.Destination == "" {
		return page, errors.New("uses are of a table, a value and a destination")
	}
	from, err := parseUse(after)
	if err != nil {
		return page, err
	}
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return page, err
	}
	type target struct{ Target string }
	now, err := collect[target](ctx, t, "what a value is called", mappingNow, f.Table, f.Destination, f.Value)
	if err != nil {
		return page, err
	}
	if len(now) > 0 {
		page.Now = now[0].Target
	}
	if f.Since.IsZero() {
		f.Since = earliest
	}
	for budget := min(usesAtFirst, Budget); ; budget = Budget {
		page.Nodes, err = t.usesFrom(ctx, f, from, first, budget)
		if err != nil || len(page.Nodes) > first {
			break
		}
		type row struct{ At time.Time }
		end, err := collect[row](ctx, t, "uses of a mapping", mappingUsesLast, f.Destination, f.Since, from.at, budget)
		if err != nil {
			return page, err
		}
		if len(end) == 0 {
			break // all of them were examined
		}
		if budget == Budget {
			page.HasNext, page.EndCursor = true, use{at: end[0].At}.cursor()
			return page, nil
		}
	}
	if err != nil {
		return page, err
	}
	page.cut(first, func(u *MappingUse) string {
		return use{u.At, int64(u.Ref.Event.Seq), u.Ref.Replay, u.Step, u.Attempt}.cursor()
	})
	return page, nil
}

// usesAtFirst is how many rows are examined before it is known that they are not enough:
// what is looked for is in most of them, or in few.
const usesAtFirst = 256

// usesFrom are the uses that so many rows have of an entry, one more than asked for where
// there are as many.
func (t *Tx) usesFrom(ctx context.Context, f UseFilter, from use, first, budget int) (nodes []*MappingUse, err error) {
	type row struct {
		At, EventAt         time.Time
		Event               outbox.Seq
		Destination, Replay int32
		Route               string
		Step                int16
		Attempt             int32
		Target              string
		Version             int64
		Shared, Fallback    bool
		EventID, Source     string
		Kind                int16
		Detail              json.RawMessage
	}
	rows, err := collect[row](ctx, t, "uses of a mapping", mappingUses, f.Destination, f.Since, from.at, budget, f.Table, f.Value, f.Target,
		from.event, from.replay, from.step, from.attempt, first+1)
	for _, r := range rows {
		u := &MappingUse{
			At: r.At.UTC(), Ref: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: r.EventAt.UTC(), Seq: r.Event}, Destination: r.Destination, Replay: r.Replay},
			Route: r.Route, Step: r.Step, Attempt: r.Attempt, Target: r.Target, Version: r.Version, Shared: r.Shared, Default: r.Fallback,
			EventID: r.EventID, Source: r.Source, Kind: raffsyncv1.OutcomeKind(r.Kind),
		}
		var detail outbox.Detail
		if json.Unmarshal(r.Detail, &detail) == nil { // none, otherwise
			u.StepName, u.Effect, u.ExternalID, u.URL = detail.Step, detail.Effect, detail.ExternalID, detail.URL
		}
		nodes = append(nodes, u)
	}
	return nodes, err
}

// use is a place in the list.
type use struct {
	at      time.Time
	event   int64
	replay  int32
	step    int16
	attempt int32
}

func (u use) cursor() string {
	return newCursor(listUses).time(u.at).int64(u.event).int32(u.replay).int16(u.step).int32(u.attempt).String()
}

func parseUse(text string) (use, error) {
	if text == "" {
		return use{latest, math.MaxInt64, math.MaxInt32, math.MaxInt16, math.MaxInt32}, nil
	}
	d := openCursor(listUses, text)
	u := use{d.time(), d.int64(), d.int32(), d.int16(), d.int32()}
	if !d.done() {
		return use{}, ErrCursor
	}
	return u, nil
}

// MayHaveDocument tells whether the platform has, or may have, what the request was for. An
// answer that refuses it proves that it has not.
func (u *MappingUse) MayHaveDocument() bool {
	switch u.Kind {
	case raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED, raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE, raffsyncv1.OutcomeKind_OUTCOME_KIND_PARTIAL, raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON,
		raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED:
		return true
	}
	return false
}
