package view

import (
	"cmp"
	"context"
	"math"
	"slices"

	"raffsync/outbox"
)

// OpenFilter narrows the list of open deliveries; what is empty does not.
type OpenFilter struct {
	Destination string
	State       State
}

// The list of open deliveries is put together of stretches, one of each lane and
// destination, since that is how the index lies. Of each stretch so many rows are
// read at once.
const (
	stretchLeast = 16
	stretchMost  = 128
)

// Deliveries of one event share its position, and stand in the order of their
// destinations: $2 and $3 are where the page goes on from.
var openStretches = register("open deliveries", `
SELECT `+openColumns+`
  FROM installation i
 CROSS JOIN LATERAL generate_series(0, i.lanes - 1) AS l(lane)
 CROSS JOIN (SELECT id FROM destinations WHERE $1 = '' OR name = $1) AS w
 CROSS JOIN LATERAL (
   SELECT * FROM deliveries
    WHERE deliveries.lane = l.lane::smallint AND deliveries.destination = w.id
      AND deliveries.seq > $2::bigint - CASE WHEN w.id > $3 THEN 1 ELSE 0 END
    ORDER BY deliveries.seq LIMIT $4) AS d
  JOIN destinations n ON n.id = d.destination`)

var countStretches = register("stretches of open deliveries", `
SELECT i.lanes * (SELECT count(*) FROM destinations WHERE $1 = '' OR name = $1) FROM installation i`)

// OpenDeliveries lists the deliveries that have not ended: those that one process
// accepted in the order in which it did, one process after the other.
func (t *Tx) OpenDeliveries(ctx context.Context, f OpenFilter, first int, after string) (Page[*Delivery], error) {
	var page Page[*Delivery]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	place, err := parsePosition(after)
	if err != nil || f.State.Terminal() {
		return page, err
	}
	var stretches int
	if err := t.tx.QueryRow(ctx, countStretches, f.Destination).Scan(&stretches); err != nil || stretches == 0 {
		return page, err
	}
	limit := stretchMost
	if f.State == "" {
		limit = min(first+1, stretchMost)
	}
	limit = max(stretchLeast, min(limit, Budget/stretches))
	for examined := 0; ; {
		rows, err := collect[open](ctx, t, "open deliveries", openStretches, f.Destination, place.seq, place.destination, limit)
		if err != nil {
			return page, err
		}
		examined += len(rows)
		sure, end := wholeStretch(rows, limit)
		if err := t.appendMatching(ctx, &page, place, sure, f.State, first); err != nil || page.HasNext || end {
			return page, err
		}
		place = sure[len(sure)-1].position()
		if len(page.Nodes) == first || examined+limit*stretches > Budget {
			page.HasNext, page.EndCursor = true, place.cursor()
			return page, nil
		}
	}
}

// appendMatching adds what is in the state to the page, and ends the page where
// more match than it may hold. place is where the rows begin.
func (t *Tx) appendMatching(ctx context.Context, page *Page[*Delivery], place position, rows []*open, state State, first int) error {
	candidates := rows
	if state != "" {
		candidates = slices.DeleteFunc(slices.Clone(rows), func(o *open) bool {
			return (o.State == outbox.NeedsAction) != (state == NeedsAction)
		})
	}
	described, err := t.describe(ctx, candidates)
	if err != nil {
		return err
	}
	for i, d := range described {
		if state != "" && d.State != state {
			continue
		}
		if len(page.Nodes) == first {
			page.HasNext, page.EndCursor = true, place.cursor()
			return nil
		}
		page.Nodes = append(page.Nodes, d)
		place = candidates[i].position()
	}
	return nil
}

func (o *open) position() position { return position{o.Seq, o.Destination} }

// wholeStretch sorts rows of many stretches by position, and cuts them where the
// first stretch that was not read to its end breaks off: up to there none is
// missing. end tells that none was cut.
func wholeStretch(rows []*open, limit int) (sure []*open, end bool) {
	type stretch struct {
		lane        int16
		destination int32
	}
	read := make(map[stretch]int)
	last := make(map[stretch]int64)
	for _, o := range rows {
		s := stretch{o.Lane, o.Destination}
		read[s]++
		last[s] = max(last[s], o.Seq)
	}
	frontier, end := int64(math.MaxInt64), true
	for s, n := range read {
		if n == limit {
			frontier, end = min(frontier, last[s]), false
		}
	}
	sure = slices.DeleteFunc(rows, func(o *open) bool { return o.Seq > frontier })
	slices.SortFunc(sure, func(a, b *open) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Destination, b.Destination))
	})
	return sure, end
}
