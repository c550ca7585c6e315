package view

import (
	"context"
	"fmt"

	"raffsync/outbox"
)

// OpenFilter narrows the list of open deliveries; what is empty does not.
type OpenFilter struct {
	Destination string
	State       State
}

var openByKey = register("open deliveries", `
SELECT `+openColumns+`
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) WITH ORDINALITY AS k(lane, destination, seq, ord)
  JOIN deliveries d ON d.lane = k.lane AND d.destination = k.destination AND d.seq = k.seq
  JOIN destinations n ON n.id = d.destination
 ORDER BY k.ord`)

// OpenDeliveries lists the deliveries that have not ended: those that one process
// accepted in the order in which it did, one process after the other; those that need
// action by the exceptions that hold them, the oldest first.
func (t *Tx) OpenDeliveries(ctx context.Context, f OpenFilter, first int, after string) (Page[*Delivery], error) {
	var page Page[*Delivery]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	if f.State.Terminal() {
		return page, &InputError{fmt.Sprintf("%s is an end, and this list holds open deliveries; ask an event for its deliveries, or the timeline", f.State)}
	}
	destinations, err := t.destinationsNamed(ctx, f.Destination)
	if err != nil {
		return page, err
	}
	if f.State == NeedsAction {
		return t.needAction(ctx, f.Destination, destinations, first, after)
	}
	place, err := parsePosition(after)
	if err != nil || len(destinations) == 0 {
		return page, err
	}
	m, err := t.merger(ctx, destinations, place)
	if err != nil {
		return page, err
	}
	// Without a filter a page and one more are all that is read. With one, as many as it
	// takes, in stretches that grow.
	for want, examined := first+1, 0; ; want *= 2 {
		keys, err := m.next(ctx, min(want, Budget-examined))
		if err != nil {
			return page, err
		}
		rows, err := t.openRows(ctx, keys)
		if err != nil {
			return page, err
		}
		if err := t.appendMatching(ctx, &page, place, rows, f.State, first); err != nil || page.HasNext {
			return page, err
		}
		examined += len(keys)
		if len(keys) < min(want, Budget-examined+len(keys)) {
			return page, nil // that was the end of the list
		}
		place = keys[len(keys)-1].position()
		if examined == Budget {
			page.HasNext, page.EndCursor = true, place.cursor()
			return page, nil
		}
	}
}

func (t *Tx) openRows(ctx context.Context, keys []openKey) ([]*open, error) {
	lanes, destinations, seqs := make([]int16, len(keys)), make([]int32, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		lanes[i], destinations[i], seqs[i] = k.lane, k.destination, k.seq
	}
	return collect[open](ctx, t, "open deliveries", openByKey, lanes, destinations, seqs)
}

// appendMatching adds what is in the state to the page, and ends the page where
// more match than it may hold. place is where the rows begin.
func (t *Tx) appendMatching(ctx context.Context, page *Page[*Delivery], place position, rows []*open, state State, first int) error {
	var candidates []*open
	for _, o := range rows {
		if state == "" || o.State != outbox.NeedsAction {
			candidates = append(candidates, o)
		}
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
