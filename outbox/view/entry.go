package view

import (
	"context"
	"encoding/json"
	"time"

	"raffsync/outbox"
)

// Entry is one line of the timeline.
type Entry struct {
	At          time.Time
	Number      int64  `db:"entry"`
	What        string // "accepted", "attempt", …: the kinds stand in the migration
	EventSeq    *outbox.Seq
	EventAt     *time.Time
	StartedAt   *time.Time // an attempt's intent
	NextAt      *time.Time // until when it waits
	Exception   *int64
	Destination *int32
	Name        *string // of the destination
	Replay      *int32
	Attempt     *int32
	DurationUS  *int32
	Step        *int16
	Kind        *int16
	State       *string
	Reason      *string
	Actor       *string
	// Detail is what else is known: status, code, field, receipt, excerpt.
	Detail json.RawMessage
}

// Ref names it.
func (e *Entry) Ref() EntryID { return EntryID{At: e.At.UTC(), Entry: e.Number} }

// ID is the opaque text that names it for callers.
func (e *Entry) ID() string { return FormatEntryID(e.Ref()) }

// Event that it is about, or nil.
func (e *Entry) Event() *outbox.EventID {
	if e.EventSeq == nil || e.EventAt == nil {
		return nil
	}
	return &outbox.EventID{AcceptedAt: e.EventAt.UTC(), Seq: *e.EventSeq}
}

// Delivery that it is about, or nil.
func (e *Entry) Delivery() *outbox.DeliveryID {
	event := e.Event()
	if event == nil || e.Destination == nil {
		return nil
	}
	id := &outbox.DeliveryID{Event: *event, Destination: *e.Destination}
	if e.Replay != nil {
		id.Replay = *e.Replay
	}
	return id
}

func (e *Entry) moment() moment { return moment{e.At, e.Number} }

const entryColumns = `t.at, t.entry, t.what, t.event AS event_seq, t.event_at, t.started_at, t.next_at, t.exception, t.destination,
  n.name, t.replay, t.attempt, t.duration_us, t.step, t.kind, t.state, t.reason, t.actor, t.detail`

// TimelineFilter narrows the tenant's timeline; what is zero does not.
type TimelineFilter struct {
	What        []string
	Destination string
	After       time.Time // exclusive
	Before      time.Time // exclusive
}

// That an event was accepted is told by the event: see migration 19. $4 bounds how many
// entries are looked through.
const (
	entryBounds    = ` WHERE at <= $1 AND (at, entry) < ($1, $2) AND at > $3 ORDER BY at DESC, entry DESC LIMIT $4`
	timelineBounds = ` FROM ((SELECT * FROM timeline` + entryBounds + `) UNION ALL (SELECT * FROM accepted` + entryBounds + `)) AS both_kinds ORDER BY at DESC, entry DESC`
)

var (
	timelineOfTenant = register("timeline of the tenant", `
SELECT `+entryColumns+`
  FROM (SELECT * FROM (SELECT *`+timelineBounds+` LIMIT $4) AS examined
         WHERE ($5::text[] IS NULL OR what = ANY ($5))
           AND ($6 = '' OR destination = (SELECT id FROM destinations WHERE name = $6))
         LIMIT $7) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY t.at DESC, t.entry DESC`)

	timelineLastExamined = register("timeline of the tenant, last examined",
		`SELECT at, entry AS number`+timelineBounds+` OFFSET $4::bigint - 1 LIMIT 1`)
)

// Timeline lists what happened, the newest first.
func (t *Tx) Timeline(ctx context.Context, f TimelineFilter, first int, after string) (Page[*Entry], error) {
	var page Page[*Entry]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := momentBefore(listTimeline, after)
	if err != nil {
		return page, err
	}
	if !f.Before.IsZero() && f.Before.Before(from.at) {
		from = moment{f.Before, -1 << 63}
	}
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return page, err
	}
	until := earliest
	if f.After.After(until) {
		until = f.After
	}
	args := []any{from.at, from.number, until, Budget}
	page.Nodes, err = collect[Entry](ctx, t, "the timeline", timelineOfTenant, append(args, f.What, f.Destination, first+1)...)
	if err != nil {
		return page, err
	}
	page.cut(first, func(e *Entry) string { return e.moment().cursor(listTimeline) })
	if page.HasNext {
		return page, nil
	}
	end, err := t.lastExamined(ctx, timelineLastExamined, args...)
	if end != nil {
		page.HasNext, page.EndCursor = true, end.cursor(listTimeline)
	}
	return page, err
}
