package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// causesAtOnce is how many exceptions are read at once in search of what they hold.
const causesAtOnce = 200

// What is late may be held by an exception as well, or by none: it is listed by that.
var openCauses = register("open exceptions in order", `
SELECT id, opened_at, destination, held FROM exceptions
 WHERE closed_at IS NULL AND class <> '`+outbox.ClassLate+`' AND opened_at >= $1 AND (opened_at, id) >= ($1, $2)
 ORDER BY opened_at, id LIMIT $3`)

type openCause struct {
	ID          int64
	OpenedAt    time.Time
	Destination int32
	Held        int64
}

// needAction lists the deliveries that exceptions hold, each once: by exception, the
// oldest first.
// So the few that need action are found at once among many that wait.
func (t *Tx) needAction(ctx context.Context, destination string, numbers []int32, first int, after string) (Page[*Delivery], error) {
	var page Page[*Delivery]
	place, err := parseCause(after)
	if err != nil {
		return page, err
	}
	last := place // of the page
	for examined := 0; ; {
		causes, err := collect[openCause](ctx, t, "open exceptions", openCauses, place.at, place.number, causesAtOnce)
		if err != nil {
			return page, err
		}
		asked, of, seen := wanted(causes, place, destination != "", numbers, first+1-len(page.Nodes))
		rows, described, err := t.heldRows(ctx, asked)
		if err != nil {
			return page, err
		}
		examined += seen + len(rows)
		if seen > 0 {
			place = cause{moment{causes[seen-1].OpenedAt, causes[seen-1].ID}, lastCell}
		}
		counts := make([]int, len(asked))
		for i, r := range rows {
			at := cause{moment{of[r.Place].OpenedAt, of[r.Place].ID}, r.cell()}
			if r.listedUnder(of[r.Place].ID) && (destination == "" || r.Name == destination) {
				if len(page.Nodes) == first {
					page.HasNext, page.EndCursor = true, last.cursor()
					return page, nil
				}
				page.Nodes, last = append(page.Nodes, described[i]), at
			}
			// One that may hold more is read on before those behind it.
			if counts[r.Place]++; counts[r.Place] == asked[r.Place].most {
				place, seen = at, 0
				break
			}
		}
		switch {
		case seen == len(causes) && len(causes) < causesAtOnce:
			return page, nil
		case examined >= Budget:
			page.HasNext, page.EndCursor = true, place.cursor()
			return page, nil
		}
	}
}

// listedUnder tells whether the exception is the one of those that hold it under which it
// is listed.
func (o *open) listedUnder(exception int64) bool {
	return o.State == outbox.NeedsAction && o.Exception != nil && *o.Exception == exception
}

// wanted picks of the exceptions, in order, those that may hold what is looked for,
// until they hold enough. seen is how many it looked at.
func wanted(causes []*openCause, place cause, narrow bool, numbers []int32, enough int) (asked []heldFrom, of []*openCause, seen int) {
	for _, c := range causes {
		if enough <= 0 {
			break
		}
		seen++
		if c.Held == 0 || narrow && c.Destination != 0 && c.Destination != numbers[0] {
			continue
		}
		from := firstCell
		if c.ID == place.number {
			from = place.cell
		}
		asked, of = append(asked, heldFrom{c.ID, from, MaxFirst + 1}), append(of, c)
		enough -= int(min(c.Held, MaxFirst))
	}
	return asked, of, seen
}
