package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// Event is an accepted event, without its payload.
type Event struct {
	AcceptedAt  time.Time
	Seq         outbox.Seq
	EventID     string `db:"id"` // chosen by the source
	Source      string
	Type        string
	OrderingKey string
	OccurredAt  time.Time
	Outlet      string
	ContentType string
	References  map[string]string `db:"refs"`
	Unrouted    bool
	Size        int32 // of the payload, in bytes
}

// Ref names it. Times in names are UTC, so that names can be compared.
func (e *Event) Ref() outbox.EventID {
	return outbox.EventID{AcceptedAt: e.AcceptedAt.UTC(), Seq: e.Seq}
}

// ID is the opaque text that names it for callers.
func (e *Event) ID() string { return FormatEventID(e.Ref()) }

func (e *Event) moment() moment { return moment{e.AcceptedAt, int64(e.Seq)} }

// EventFilter narrows a list of events; what is zero does not.
type EventFilter struct {
	Source, Type, Outlet string
	OrderingKey          string // has a summary that tells where to look
	Unrouted             *bool  // true has an index
	// AcceptedAfter is exclusive and so is AcceptedBefore; both follow the index.
	AcceptedAfter, AcceptedBefore time.Time
}

// isOfKeyOnly tells whether all events of an ordering key match, within the times.
func (f *EventFilter) isOfKeyOnly() bool {
	return f.Source == "" && f.Type == "" && f.Outlet == "" && f.Unrouted == nil
}

// stored are the columns of events that a list passes on. The payload is only
// pointed at until its size is asked for.
const storedColumns = `accepted_at, seq, source, occurred_at, id, type, ordering_key, outlet, content_type, refs, unrouted, payload`

const eventColumns = `e.accepted_at, e.seq, e.id, s.name AS source, e.type, e.ordering_key, e.occurred_at, e.outlet,
  e.content_type, coalesce(e.refs, '{}'::jsonb) AS refs, e.unrouted, octet_length(e.payload) AS size`

// A walk examines rows in the order of an index, newest first, and stops at the
// budget: $1 and $2 are where it goes on from, $3 the lower bound, $4 the budget.
// The time is compared alone too, because partitions are chosen by it.
const (
	walkBounds = `accepted_at <= $1 AND (accepted_at, seq) < ($1, $2) AND accepted_at > $3
      ORDER BY accepted_at DESC, seq DESC`

	walkAll      = ` FROM events WHERE ` + walkBounds
	walkUnrouted = ` FROM events WHERE unrouted AND ` + walkBounds
	walkKey      = ` FROM raffsync_events_of_key($5, $1, $2, $3, $4) AS events`
)

// keyBudget is the budget of a walk through the events of one ordering key, which may lie
// far apart: to examine as many as of others would be to read all that lies between.
const keyBudget = 500

// pickEvents keeps what matches, in the order of the walk.
func pickEvents(walk string) string {
	return `
SELECT ` + eventColumns + `
  FROM (SELECT * FROM (SELECT ` + storedColumns + walk + ` LIMIT $4) AS examined
         WHERE ($5::bigint IS NULL OR ordering_key = $6)
           AND ($7 = '' OR source = (SELECT id FROM sources WHERE name = $7))
           AND ($8 = '' OR type = $8)
           AND ($9 = '' OR outlet = $9)
           AND ($10::boolean IS NULL OR unrouted = $10)
         LIMIT $11) AS e
  JOIN sources s ON s.id = e.source
 ORDER BY e.accepted_at DESC, e.seq DESC`
}

// findLastExamined finds where a walk ran into its budget; no row, where it did not.
func findLastExamined(walk string) string {
	return `SELECT accepted_at AS at, seq AS number` + walk + ` OFFSET $4::bigint - 1 LIMIT 1`
}

type walk struct{ pick, last string }

func registerWalk(name, from string) walk {
	return walk{
		pick: register("events "+name, pickEvents(from)),
		last: register("events "+name+", last examined", findLastExamined(from)),
	}
}

var (
	eventsByTime   = registerWalk("by time", walkAll)
	eventsUnrouted = registerWalk("unrouted", walkUnrouted)
	eventsByKey    = registerWalk("by key", walkKey)
)

// Events lists events, the newest first.
func (t *Tx) Events(ctx context.Context, f EventFilter, first int, after string) (Page[*Event], error) {
	var page Page[*Event]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := momentBefore(listEvents, after)
	if err != nil {
		return page, err
	}
	if !f.AcceptedBefore.IsZero() && f.AcceptedBefore.Before(from.at) {
		from = moment{f.AcceptedBefore, -1 << 63}
	}
	if err := t.checkSource(ctx, f.Source); err != nil {
		return page, err
	}
	until := earliest
	if f.AcceptedAfter.After(until) {
		until = f.AcceptedAfter
	}
	w, budget := eventsByTime, Budget
	var keyHash *int64
	switch {
	case f.OrderingKey != "":
		hash := outbox.KeyHash(t.tenant, f.OrderingKey)
		w, keyHash = eventsByKey, &hash
		if budget = keyBudget; f.isOfKeyOnly() {
			budget = first + 1
		}
	case f.Unrouted != nil && *f.Unrouted:
		w = eventsUnrouted
	}
	args := []any{from.at, from.number, until, budget}
	page.Nodes, err = collect[Event](ctx, t, "events", w.pick,
		append(args, keyHash, f.OrderingKey, f.Source, f.Type, f.Outlet, f.Unrouted, first+1)...)
	if err != nil {
		return page, err
	}
	page.cut(first, func(e *Event) string { return e.moment().cursor(listEvents) })
	if page.HasNext {
		return page, nil
	}
	if w == eventsByKey {
		args = append(args, keyHash)
	}
	end, err := t.lastExamined(ctx, w.last, args...)
	if end != nil {
		page.HasNext, page.EndCursor = true, end.cursor(listEvents)
	}
	return page, err
}

// lastExamined tells where a page ends that found fewer rows than asked for: at the
// budget, if the walk ran into it; nil at the end of the list.
func (t *Tx) lastExamined(ctx context.Context, sql string, args ...any) (*moment, error) {
	type row struct {
		At     time.Time
		Number int64
	}
	rows, err := collect[row](ctx, t, "the end of the page", sql, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &moment{rows[0].At, rows[0].Number}, nil
}

var eventsByID = register("events by id", `
SELECT `+eventColumns+`
  FROM unnest($1::timestamptz[], $2::bigint[]) AS k(accepted_at, seq)
  JOIN events e ON e.accepted_at = k.accepted_at AND e.seq = k.seq
  JOIN sources s ON s.id = e.source`)

// EventsByID returns the events that exist of those named.
func (t *Tx) EventsByID(ctx context.Context, ids []outbox.EventID) (map[outbox.EventID]*Event, error) {
	at, seqs := eventArrays(ids)
	found, err := collect[Event](ctx, t, "events", eventsByID, at, seqs)
	byID := make(map[outbox.EventID]*Event, len(found))
	for _, e := range found {
		byID[e.Ref()] = e
	}
	return byID, err
}

var payloadsByID = register("payloads by id", `
SELECT e.accepted_at, e.seq, e.payload
  FROM unnest($1::timestamptz[], $2::bigint[]) AS k(accepted_at, seq)
  JOIN events e ON e.accepted_at = k.accepted_at AND e.seq = k.seq`)

// Payloads returns the payloads of events, as they came.
func (t *Tx) Payloads(ctx context.Context, ids []outbox.EventID) (map[outbox.EventID][]byte, error) {
	at, seqs := eventArrays(ids)
	type row struct {
		AcceptedAt time.Time
		Seq        outbox.Seq
		Payload    []byte
	}
	found, err := collect[row](ctx, t, "payloads", payloadsByID, at, seqs)
	byID := make(map[outbox.EventID][]byte, len(found))
	for _, r := range found {
		byID[outbox.EventID{AcceptedAt: r.AcceptedAt.UTC(), Seq: r.Seq}] = r.Payload
	}
	return byID, err
}

func eventArrays(ids []outbox.EventID) (at []time.Time, seqs []outbox.Seq) {
	for _, id := range ids {
		at, seqs = append(at, id.AcceptedAt), append(seqs, id.Seq)
	}
	return at, seqs
}
