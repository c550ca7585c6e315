package view

import (
	"context"
	"regexp"
	"strings"

	"raffsync/outbox"
)

// Gap is a look-up that found nothing: what a mapping table lacks.
type Gap struct {
	Table, Value string
}

// Gap that the exception is about; nil where its cause is no look-up.
func (e *Exception) Gap() *Gap {
	if e.LookedUp == nil {
		return nil
	}
	g := &Gap{Table: e.Field, Value: *e.LookedUp}
	if g.Value == "" {
		g.Value = e.Code // too long for an entry: only a default answers it
	}
	return g
}

// Command that resolves the exception, for a shell, where one does; words in capitals are
// for a person to fill in. A gap is closed by an entry of its table.
func (e *Exception) Command() *string {
	var command string
	switch g := e.Gap(); {
	case e.Destination == nil:
		return nil
	case g != nil && strings.Contains(g.Value, "="): // which would end the value
		command = "raffsync mappings import " + quoted(*e.Destination) + " " + quoted(g.Table) + " FILE --reason WHY"
	case g != nil:
		command = "raffsync mappings set " + quoted(*e.Destination) + " " + quoted(g.Table) + " " + quoted(g.Value+"=TARGET") + " --reason WHY"
	case e.HoldsDestination && e.ClosedAt == nil:
		command = "raffsync resume authorisation " + quoted(*e.Destination) + " --reason WHY"
	default:
		return nil
	}
	return &command
}

// quoted is a word for a shell.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=][A-Za-z0-9_./:@%+,=-]*$`)

// Of the causes of a delivery those that are open stand first, and of these the one that
// it is listed under.
var causesOfDeliveries = register("causes of deliveries", `
SELECT (k.ord - 1)::integer AS place, h.exception
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) WITH ORDINALITY AS k(lane, destination, seq, ord)
 CROSS JOIN LATERAL (
   SELECT holds.exception FROM holds WHERE holds.lane = k.lane AND holds.destination = k.destination AND holds.seq = k.seq OFFSET 0) AS h
  JOIN exceptions x ON x.id = h.exception
 ORDER BY k.ord, x.closed_at IS NOT NULL, x.id`)

// causesOf returns all that holds each of the rows that need action.
func (t *Tx) causesOf(ctx context.Context, rows []*open) (map[*open][]int64, error) {
	var held []*open
	var lanes []int16
	var destinations []int32
	var seqs []int64
	for _, o := range rows {
		if o.State == outbox.NeedsAction {
			held = append(held, o)
			lanes, destinations, seqs = append(lanes, o.Lane), append(destinations, o.Destination), append(seqs, o.Seq)
		}
	}
	if len(held) == 0 {
		return nil, nil
	}
	type row struct {
		Place     int32
		Exception int64
	}
	found, err := collect[row](ctx, t, "causes of deliveries", causesOfDeliveries, lanes, destinations, seqs)
	of := make(map[*open][]int64, len(held))
	for _, r := range found {
		of[held[r.Place]] = append(of[held[r.Place]], r.Exception)
	}
	return of, err
}
