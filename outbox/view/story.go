package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// EventStory asks for a page of what happened to one event, in the order of time.
type EventStory struct {
	Event outbox.EventID
	First int
	After string
}

// ExceptionStory asks for a page of what happened to one exception.
type ExceptionStory struct {
	Exception int64
	First     int
	After     string
}

// AttemptsOf asks for the newest attempts of a delivery.
type AttemptsOf struct {
	Delivery outbox.DeliveryID
	First    int
}

// Each parent's page is read along the index of its own. $2 bounds the partitions.
var (
	storiesOfEvents = register("stories of events", `
SELECT (k.ord - 1)::integer AS place, `+entryColumns+`
  FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
       AS k(event, since, at, entry, most, ord)
 CROSS JOIN LATERAL (
   (SELECT * FROM accepted a
     WHERE a.event = k.event AND a.at = k.since AND (a.at, a.entry) > (k.at, k.entry))
   UNION ALL
   (SELECT * FROM timeline
     WHERE timeline.event = k.event AND timeline.at >= k.since - interval '1 hour'
       AND (timeline.at, timeline.entry) > (k.at, k.entry)
     ORDER BY timeline.at, timeline.entry LIMIT k.most)
   ORDER BY at, entry LIMIT k.most) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY k.ord, t.at, t.entry`)

	storiesOfExceptions = register("stories of exceptions", `
SELECT (k.ord - 1)::integer AS place, `+entryColumns+`
  FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS k(exception, at, entry, most, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline
    WHERE timeline.exception = k.exception AND (timeline.at, timeline.entry) > (k.at, k.entry)
    ORDER BY timeline.at, timeline.entry LIMIT k.most) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY k.ord, t.at, t.entry`)

	attemptsOfDeliveries = register("attempts of deliveries", `
SELECT (k.ord - 1)::integer AS place, `+entryColumns+`
  FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::integer[], $5::bigint[]) WITH ORDINALITY
       AS k(event, since, destination, replay, most, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM timeline
    WHERE timeline.event = k.event AND timeline.at >= k.since - interval '1 hour' AND timeline.what = 'attempt'
      AND timeline.destination = k.destination AND coalesce(timeline.replay, 0) = k.replay
    ORDER BY timeline.at DESC, timeline.entry DESC LIMIT k.most) AS t
  LEFT JOIN destinations n ON n.id = t.destination
 ORDER BY k.ord, t.at DESC, t.entry DESC`)
)

type placed struct {
	Place int32
	Entry
}

// EventStories returns a page for each event, in the order of the asking.
func (t *Tx) EventStories(ctx context.Context, asked []EventStory) ([]Page[*Entry], error) {
	var events []outbox.Seq
	var since, at []time.Time
	var entries []int64
	var most []int
	for _, a := range asked {
		from, err := storyFrom(a.First, a.After)
		if err != nil {
			return nil, err
		}
		events, since = append(events, a.Event.Seq), append(since, a.Event.AcceptedAt)
		at, entries, most = append(at, from.at), append(entries, from.number), append(most, a.First+1)
	}
	rows, err := collect[placed](ctx, t, "stories of events", storiesOfEvents, events, since, at, entries, most)
	return storyPages(rows, most), err
}

// ExceptionStories returns a page for each exception, in the order of the asking.
func (t *Tx) ExceptionStories(ctx context.Context, asked []ExceptionStory) ([]Page[*Entry], error) {
	var exceptions, entries []int64
	var at []time.Time
	var most []int
	for _, a := range asked {
		from, err := storyFrom(a.First, a.After)
		if err != nil {
			return nil, err
		}
		exceptions, at = append(exceptions, a.Exception), append(at, from.at)
		entries, most = append(entries, from.number), append(most, a.First+1)
	}
	rows, err := collect[placed](ctx, t, "stories of exceptions", storiesOfExceptions, exceptions, at, entries, most)
	return storyPages(rows, most), err
}

func storyFrom(first int, after string) (moment, error) {
	if err := checkFirst(first); err != nil {
		return moment{}, err
	}
	return momentAfter(listTimeline, after)
}

func storyPages(rows []*placed, most []int) []Page[*Entry] {
	pages := make([]Page[*Entry], len(most))
	for _, r := range rows {
		pages[r.Place].Nodes = append(pages[r.Place].Nodes, &r.Entry)
	}
	for i := range pages {
		pages[i].cut(most[i]-1, func(e *Entry) string { return e.moment().cursor(listTimeline) })
	}
	return pages
}

// Attempts returns the newest attempts of each delivery, the newest first, in the
// order of the asking.
func (t *Tx) Attempts(ctx context.Context, asked []AttemptsOf) ([][]*Entry, error) {
	var events []outbox.Seq
	var since []time.Time
	var destinations, replays []int32
	var most []int
	for _, a := range asked {
		if err := checkFirst(a.First); err != nil {
			return nil, err
		}
		events, since = append(events, a.Delivery.Event.Seq), append(since, a.Delivery.Event.AcceptedAt)
		destinations, replays = append(destinations, a.Delivery.Destination), append(replays, a.Delivery.Replay)
		most = append(most, a.First)
	}
	rows, err := collect[placed](ctx, t, "attempts", attemptsOfDeliveries, events, since, destinations, replays, most)
	attempts := make([][]*Entry, len(asked))
	for _, r := range rows {
		attempts[r.Place] = append(attempts[r.Place], &r.Entry)
	}
	return attempts, err
}
