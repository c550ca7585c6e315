package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// HeldBy asks for a page of what one exception holds.
type HeldBy struct {
	Exception int64
	First     int
	After     string
}

// An exception of class LATE has its members in a table of their own. Those that have
// ended stay there until the next sweep, and are not shown.
var heldDeliveries = register("held deliveries", `
SELECT (k.ord - 1)::integer AS place, `+openColumns+`
  FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
       AS k(exception, lane, destination, seq, most, ord)
 CROSS JOIN LATERAL (
   (SELECT holds.lane, holds.destination, holds.seq FROM holds
     WHERE holds.exception = k.exception AND (holds.lane, holds.destination, holds.seq) > (k.lane, k.destination, k.seq)
     ORDER BY holds.lane, holds.destination, holds.seq LIMIT k.most)
   UNION ALL
   (SELECT late.lane, late.destination, late.seq FROM late
     WHERE late.exception = k.exception AND (late.lane, late.destination, late.seq) > (k.lane, k.destination, k.seq)
       AND EXISTS (SELECT FROM deliveries o WHERE o.lane = late.lane AND o.destination = late.destination AND o.seq = late.seq)
     ORDER BY late.lane, late.destination, late.seq LIMIT k.most)) AS h
  JOIN deliveries d ON d.lane = h.lane AND d.destination = h.destination AND d.seq = h.seq
  JOIN destinations n ON n.id = d.destination
 ORDER BY k.ord, h.lane, h.destination, h.seq`)

// heldFrom asks for so many of what an exception holds, behind a place.
type heldFrom struct {
	exception int64
	from      cell
	most      int
}

// heldRow is a delivery that an exception holds; Place is the exception's in the asking.
type heldRow struct {
	Place int32
	open
}

func (r *heldRow) cell() cell { return cell{r.Lane, r.Destination, r.Seq} }

func (t *Tx) heldRows(ctx context.Context, asked []heldFrom) ([]*heldRow, []*Delivery, error) {
	var exceptions, seqs []int64
	var lanes []int16
	var destinations []int32
	var most []int
	for _, a := range asked {
		exceptions, seqs = append(exceptions, a.exception), append(seqs, a.from.seq)
		lanes, destinations = append(lanes, a.from.lane), append(destinations, a.from.destination)
		most = append(most, a.most)
	}
	found, err := collect[heldRow](ctx, t, "what exceptions hold", heldDeliveries, exceptions, lanes, destinations, seqs, most)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]*open, len(found))
	for i, r := range found {
		rows[i] = &r.open
	}
	described, err := t.describe(ctx, rows)
	return found, described, err
}

// Held returns a page of deliveries for each exception, in the order of the asking.
// Events of one ordering key stand together.
func (t *Tx) Held(ctx context.Context, asked []HeldBy) ([]Page[*Delivery], error) {
	from := make([]heldFrom, len(asked))
	for i, a := range asked {
		if err := checkFirst(a.First); err != nil {
			return nil, err
		}
		place, err := parseCell(a.After)
		if err != nil {
			return nil, err
		}
		from[i] = heldFrom{a.Exception, place, a.First + 1}
	}
	found, described, err := t.heldRows(ctx, from)
	if err != nil {
		return nil, err
	}
	pages := make([]Page[*Delivery], len(asked))
	cells := make([][]cell, len(asked))
	for i, r := range found {
		pages[r.Place].Nodes = append(pages[r.Place].Nodes, described[i])
		cells[r.Place] = append(cells[r.Place], r.cell())
	}
	for i := range pages {
		first := asked[i].First
		pages[i].cut(first, func(*Delivery) string { return cells[i][first-1].cursor() })
	}
	return pages, nil
}

// Conflict is a second content that came under the id of an event.
type Conflict struct {
	ReceivedAt  time.Time
	Source      string
	SourceID    int32
	EventID     string `db:"id"`
	Hash        []byte
	FirstSeq    outbox.Seq
	FirstAt     time.Time
	OccurredAt  time.Time
	Type        string
	OrderingKey string
	Outlet      string
	ContentType string
	References  map[string]string `db:"refs"`
	Payload     []byte
}

// First is the event that came first, and was delivered.
func (c *Conflict) First() outbox.EventID {
	return outbox.EventID{AcceptedAt: c.FirstAt.UTC(), Seq: c.FirstSeq}
}

var conflictsOfException = register("conflicts of an exception", `
SELECT c.received_at, s.name AS source, c.source AS source_id, c.id, c.hash, c.first_seq, c.first_at, c.occurred_at, c.type,
       c.ordering_key, c.outlet, c.content_type, coalesce(c.refs, '{}'::jsonb) AS refs, c.payload
  FROM conflicts c
  JOIN sources s ON s.id = c.source
 WHERE c.exception = $1 AND c.received_at >= $2 AND (c.received_at, c.source, c.hash, c.id) > ($2, $3, $4, $5)
 ORDER BY c.received_at, c.source, c.hash, c.id
 LIMIT $6`)

// Conflicts lists the second contents that an exception keeps, the oldest first.
func (t *Tx) Conflicts(ctx context.Context, exception int64, first int, after string) (Page[*Conflict], error) {
	var page Page[*Conflict]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := parseContent(after)
	if err != nil {
		return page, err
	}
	page.Nodes, err = collect[Conflict](ctx, t, "conflicts", conflictsOfException,
		exception, from.at, from.source, from.hash[:], from.id, first+1)
	page.cut(first, func(c *Conflict) string {
		return content{c.ReceivedAt, c.SourceID, [32]byte(c.Hash), c.EventID}.cursor()
	})
	return page, err
}
