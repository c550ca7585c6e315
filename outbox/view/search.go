package view

import (
	"context"
	"math"

	"raffsync/outbox"
)

// Hit is one result of a search: one of its fields is set.
type Hit struct {
	Destination *Destination
	Event       *Event
}

// The order of results: what names one thing comes before what names many.
const (
	rankDestination byte = iota // its name
	rankEventID
	rankReference
	rankOrderingKey
)

// Of each rank a page of events, the newest first: $2 and $3 are where it goes on
// from, $4 how many. An event appears once, where it ranks highest.
var (
	searchEventID = register("search by event id", `
SELECT `+eventColumns+`
  FROM sources k
  JOIN event_ids i ON i.source = k.id AND i.id = $1
  JOIN events e ON e.accepted_at = i.accepted_at AND e.seq = i.seq
  JOIN sources s ON s.id = e.source
 WHERE (e.accepted_at, e.seq) < ($2, $3)
 ORDER BY e.accepted_at DESC, e.seq DESC
 LIMIT $4`)

	// No more events are left out for their id than there are sources.
	searchReference = register("search by reference", `
SELECT `+eventColumns+`
  FROM (SELECT DISTINCT accepted_at, seq FROM event_references
         WHERE value = $1 AND (accepted_at, seq) < ($2, $3)
         ORDER BY accepted_at DESC, seq DESC LIMIT $4 + (SELECT count(*) FROM sources)) AS k
  JOIN events e ON e.accepted_at = k.accepted_at AND e.seq = k.seq
  JOIN sources s ON s.id = e.source
 WHERE e.id <> $1
 ORDER BY e.accepted_at DESC, e.seq DESC
 LIMIT $4`)

	searchOrderingKey = register("search by ordering key", `
SELECT `+eventColumns+`
  FROM (SELECT * FROM raffsync_events_of_key($5, $2, $3, '-infinity', $6) AS examined
         WHERE ordering_key = $1 AND id <> $1
           AND NOT EXISTS (SELECT FROM event_references r
                            WHERE r.value = $1 AND r.accepted_at = examined.accepted_at AND r.seq = examined.seq)
         LIMIT $4) AS e
  JOIN sources s ON s.id = e.source
 ORDER BY e.accepted_at DESC, e.seq DESC`)
)

// Search finds what is called exactly so: a destination by its name; events by
// their id, by the value of a reference, by their ordering key, in this order, and
// the newest first among equals.
func (t *Tx) Search(ctx context.Context, text string, first int, after string) (Page[Hit], error) {
	var page Page[Hit]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := parseHit(after)
	if err != nil {
		return page, err
	}
	places := make([]hit, 0, first+1)
	for rank := from.rank; rank <= rankOrderingKey && len(page.Nodes) <= first; rank++ {
		if rank != from.rank {
			from = hit{rank, moment{latest, math.MaxInt64}}
		}
		if rank == rankDestination {
			d, err := t.DestinationByName(ctx, text)
			if err != nil {
				return page, err
			}
			if d != nil {
				page.Nodes = append(page.Nodes, Hit{Destination: d})
				places = append(places, hit{rankEventID, moment{latest, math.MaxInt64}})
			}
			continue
		}
		events, err := t.searchRank(ctx, text, from, first+1-len(page.Nodes))
		if err != nil {
			return page, err
		}
		for _, e := range events {
			page.Nodes = append(page.Nodes, Hit{Event: e})
			places = append(places, hit{rank, e.moment()})
		}
	}
	page.cut(first, func(Hit) string { return places[first-1].cursor() })
	if page.HasNext {
		return page, nil
	}
	// The last rank is the only one that may examine more than it returns.
	end, err := t.lastExamined(ctx, eventsByKey.last, from.at, from.number, earliest, keyBudget, outbox.KeyHash(t.tenant, text))
	if end != nil {
		page.HasNext, page.EndCursor = true, hit{rankOrderingKey, *end}.cursor()
	}
	return page, err
}

func (t *Tx) searchRank(ctx context.Context, text string, from hit, limit int) ([]*Event, error) {
	args := []any{text, from.at, from.number, limit}
	switch from.rank {
	case rankEventID:
		return collect[Event](ctx, t, "events by their id", searchEventID, args...)
	case rankReference:
		return collect[Event](ctx, t, "events by reference", searchReference, args...)
	default:
		return collect[Event](ctx, t, "events by ordering key", searchOrderingKey,
			append(args, outbox.KeyHash(t.tenant, text), keyBudget)...)
	}
}
