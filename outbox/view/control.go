package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// Control says that an operator holds something until further notice, and why.
type Control struct {
	Kind   outbox.ControlKind
	Name   string // of the source, route or destination; a breaker has its destination's
	State  outbox.ControlState
	Reason string
	Actor  string
	Since  time.Time
}

var controlsInForce = register("controls", `SELECT kind, name, state, reason, actor, since FROM controls ORDER BY kind, name`)

// Controls lists all that operators hold, by kind and name.
func (t *Tx) Controls(ctx context.Context) ([]*Control, error) {
	return collect[Control](ctx, t, "what operators hold", controlsInForce)
}

// held is what operators hold, looked up by what it is about.
type held map[heldThing]*Control

type heldThing struct {
	kind outbox.ControlKind
	name string
}

func (t *Tx) held(ctx context.Context) (held, error) {
	all, err := t.Controls(ctx)
	h := make(held, len(all))
	for _, c := range all {
		h[heldThing{c.Kind, c.Name}] = c
	}
	return h, err
}

// sources are the names of those that are held.
func (h held) sources() (names []string) {
	for thing := range h {
		if thing.kind == outbox.OfSource {
			names = append(names, thing.name)
		}
	}
	return names
}

// over is what of several holds is named first: the widest.
func (h held) over(destination, route, source string) *Control {
	for _, thing := range []heldThing{{outbox.OfDestination, destination}, {outbox.OfAuthorisation, destination}, {outbox.OfSource, source}, {outbox.OfRoute, route}} {
		if c := h[thing]; c != nil {
			return c
		}
	}
	return nil
}

// breaker is how the breaker of a destination stands where an operator may hold it.
func (h held) breaker(destination string, automatic Breaker) Breaker {
	c := h[heldThing{outbox.OfBreaker, destination}]
	if c == nil {
		return automatic
	}
	return Breaker{
		State: BreakerState(c.State), Reason: c.Reason, Since: &c.Since, PacedUntil: automatic.PacedUntil, Forced: c,
	}
}

var heldSources = register("sources that are held", `
SELECT (k.ord - 1)::integer AS place, s.name
  FROM unnest($1::timestamptz[], $2::bigint[]) WITH ORDINALITY AS k(accepted_at, seq, ord)
  JOIN events e ON e.accepted_at = k.accepted_at AND e.seq = k.seq
  JOIN sources s ON s.id = e.source
 WHERE s.name = ANY ($3)`)

// sourcesOf returns, by place, the sources of those rows whose source is held: mostly
// there is none, and nothing is asked.
func (t *Tx) sourcesOf(ctx context.Context, rows []*open, h held) (map[int32]string, error) {
	names := h.sources()
	if len(names) == 0 {
		return nil, nil
	}
	var at []time.Time
	var seqs []outbox.Seq
	for _, o := range rows {
		at, seqs = append(at, o.EventAt), append(seqs, o.Event)
	}
	type row struct {
		Place int32
		Name  string
	}
	found, err := collect[row](ctx, t, "sources that are held", heldSources, at, seqs, names)
	of := make(map[int32]string, len(found))
	for _, r := range found {
		of[r.Place] = r.Name
	}
	return of, err
}
