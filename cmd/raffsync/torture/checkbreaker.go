package torture

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// turn is one of the breaker that all replicas share of a destination.
type turn struct {
	Destination string
	At          time.Time
	State       string
}

const (
	turnClosed = "closed"

	turnsSQL = `
SELECT d.name, t.at, split_part(t.reason, ':', 1)
  FROM timeline t JOIN destinations d ON d.id = t.destination WHERE t.what = 'breaker' ORDER BY t.at, t.entry`
	joinsSQL = `SELECT at FROM torture.joins`
)

func (e *evidence) gatherTurns(ctx context.Context, conn *pgx.Conn) error {
	turns, err := collect[turn](ctx, conn, turnsSQL)
	if err != nil {
		return err
	}
	e.turns = make(map[string][]turn)
	for _, t := range turns {
		e.turns[t.Destination] = append(e.turns[t.Destination], t)
	}
	joined, err := collect[struct{ At time.Time }](ctx, conn, joinsSQL)
	for _, j := range joined {
		e.joins = append(e.joins, j.At)
	}
	return err
}

// checkBreaker: late in a storm a platform gets no more requests than breakers let through
// that open. Late is when what went well before the storm has left their windows.
func (e *evidence) checkBreaker(r *Report, p *platform) {
	for _, s := range p.storms {
		late := s.from.Add(breakerWindow)
		if s.status != http.StatusServiceUnavailable || !late.Before(s.to) {
			continue
		}
		n, most := 0, e.letThrough(p.name, late, s.to)
		for _, q := range p.requests {
			if q.At.After(late) && q.At.Before(s.to) {
				n++
			}
		}
		if r.StormBound == 0 || n*r.StormBound > r.StormMost*most {
			r.StormMost, r.StormBound = n, most
		}
		if n > most {
			r.add(breaker, "", p.name, "%d requests in the last %s of a storm of 503, where %d would do",
				n, s.to.Sub(late).Round(time.Millisecond), most)
		}
	}
}

// letThrough is how many requests for the destination breakers let through at most while
// every one fails.
//
// Each replica has a breaker of its own, and may not hear of the shared one for as long as
// the database does not answer that question. Until its own opens, fewer than that takes fail
// within each window; and as many may be on their way then as there are slots, of a frozen
// process too. A window is as long as nine of its ten buckets at least.
//
// Who joins hears how the shared one stands before it sends anything, so it has one to open
// only where that was closed. Late in a storm it can close once, where its probes went well
// just before the storm and were long about telling; then everybody's closes with it.
//
// Besides there are probes, by one replica at a time: those that are under way at first, and
// others each time that the shared one has been open for as long as it stays so. It is tried
// at once where it was told to open only when that was over.
func (e *evidence) letThrough(destination string, from, to time.Time) int {
	length := to.Sub(from)
	unopened := concurrency + breakerMinimum*(1+int(length/(breakerWindow*9/10)))
	lives, rounds := e.replicas, 2+int(length/breakerOpenFor)
	if e.stoodClosed(destination, from, to) {
		lives, rounds = 2*e.replicas, rounds+1
		for _, at := range e.joins {
			if at.After(from) && at.Before(to) {
				lives++
			}
		}
	}
	return lives*unopened + rounds*breakerProbes
}

// stoodClosed tells whether the shared breaker of the destination was closed at any moment
// of that time.
func (e *evidence) stoodClosed(destination string, from, to time.Time) bool {
	closed := true // where it has never turned
	for _, t := range e.turns[destination] {
		switch {
		case !t.At.After(from):
			closed = t.State == turnClosed
		case t.At.Before(to):
			closed = closed || t.State == turnClosed
		}
	}
	return closed
}
