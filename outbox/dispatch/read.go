package dispatch

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// Bounds of one reading statement.
const (
	refillRows   = keptFollowers + 1
	refillLines  = 256
	dueRows      = 64 // most rows of a lane and destination
	readsPerStep = 4  // before what was read is admitted
)

// table is what the scheduler reads: an [outbox.Replica].
type table interface {
	Writers(context.Context) ([]outbox.WriterState, error)
	Read(ctx context.Context, known []outbox.WriterState, ranges []outbox.Range) (found [][]outbox.Delivery, complete bool, err error)
	ReadLines(ctx context.Context, lines []outbox.Line, limit int) ([][]outbox.Delivery, error)
	TakeDue(ctx context.Context, leases map[int16]outbox.Lease, from []outbox.LaneDestination, limit int) ([]outbox.Due, error)
}

// lookAround learns of writers that came or went, and takes what is due.
func (s *scheduler) lookAround(ctx context.Context) error {
	if err := s.lookForWriters(ctx); err != nil {
		return err
	}
	var places []outbox.LaneDestination
	for place, q := range s.queues {
		if !q.closing && q.target.dueRoom() {
			places = append(places, place)
		}
	}
	if len(places) == 0 {
		return nil
	}
	rows, err := s.table.TakeDue(ctx, s.leases, places, dueRows)
	if err != nil {
		if !rolledBack(err) {
			for _, place := range places { // some may be taken: reading anew finds them
				s.queues[place].reread()
			}
		}
		return err
	}
	for _, row := range rows {
		if mutant.On(mutant.ReleaseLost) && row.Delivery != nil && row.Delivery.Attempts == 0 && row.Delivery.Requests > 0 {
			continue
		}
		s.queues[outbox.LaneDestination{Lane: row.Lane, Destination: row.Destination}].due(row)
	}
	return nil
}

// rolledBack tells whether an error is Postgres' own word that nothing was stored, and
// not that of a session at its end.
func rolledBack(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, outbox.ErrLeaseLost) || errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR"
}

// lookForWriters takes note of the writers. One that is new has something to read;
// one that is gone from the list has nothing open any more.
func (s *scheduler) lookForWriters(ctx context.Context) error {
	writers, err := s.table.Writers(ctx)
	if err != nil {
		return err
	}
	same := slices.EqualFunc(writers, s.writers, func(a, b outbox.WriterState) bool { return a.Writer == b.Writer })
	s.writers = writers
	if same {
		return nil
	}
	listed := make(map[int64]bool, len(writers))
	for _, w := range writers {
		listed[w.Writer] = true
	}
	for _, q := range s.queues {
		q.unread = true
		q.cursors = slices.DeleteFunc(q.cursors, func(c *cursor) bool { return !listed[c.writer] })
	}
	return nil
}

// read reads on wherever there may be more and there is room for it. One statement
// covers all lanes and destinations, and every writer: only so does one snapshot tell
// what was accepted before what.
func (s *scheduler) read(ctx context.Context) error {
	for range readsPerStep {
		unread := make(map[*target]int)
		for _, q := range s.queues {
			if q.unread && !q.closing && q.target.room() > 0 {
				unread[q.target]++
			}
		}
		if len(unread) == 0 {
			return nil
		}
		type reading struct {
			queue *queue
			first int // of its ranges
			of    []stretch
		}
		var ranges []outbox.Range
		var readings []reading
		for place, q := range s.queues {
			if !q.unread || q.closing || unread[q.target] == 0 {
				continue
			}
			r := reading{queue: q, first: len(ranges)}
			limit := min(max(q.target.room()/unread[q.target], 8), s.rangeRows)
			for _, w := range s.writers {
				c := q.cursorOf(w.Writer)
				if c.over {
					continue
				}
				after := c.after
				if mutant.On(mutant.OneCursor) {
					for _, other := range q.cursors {
						after = max(after, other.after)
					}
				}
				most := limit
				if c.early {
					most = 1
				}
				r.of = append(r.of, stretch{cursor: c, closed: w.Closed})
				ranges = append(ranges, outbox.Range{Lane: place.Lane, Destination: place.Destination, Writer: w.Writer, After: after, Limit: most})
			}
			if q.unread = len(r.of) > 0; q.unread {
				readings = append(readings, r)
			}
		}
		if len(ranges) == 0 {
			return nil
		}
		found, complete, err := s.table.Read(ctx, s.writers, ranges)
		if err != nil {
			return err
		}
		if !complete {
			if err := s.lookForWriters(ctx); err != nil {
				return err
			}
			continue
		}
		for _, r := range readings {
			for i := range r.of {
				rows := found[r.first+i]
				r.of[i].rows, r.of[i].end = rows, len(rows) < ranges[r.first+i].Limit
			}
			r.queue.lineUp(r.of)
		}
	}
	s.news.wake() // there may be more, and perhaps nothing of this can go
	return nil
}

// refill reads on in lines whose next delivery is in the table.
func (s *scheduler) refill(ctx context.Context) error {
	for range readsPerStep {
		var lines []*line
		many := 0 // targets with lines to read: each gets its part
		for _, t := range s.targets {
			if len(t.refill) > 0 && !t.stopped() {
				many++
			}
		}
		for _, t := range s.targets {
			if t.stopped() {
				continue
			}
			n := min(len(t.refill), max(refillLines/max(many, 1), 1))
			lines = append(lines, t.refill[:n]...)
		}
		if len(lines) == 0 {
			return nil
		}
		asked := make([]outbox.Line, len(lines))
		for i, l := range lines {
			asked[i] = l.asked()
		}
		rows, err := s.table.ReadLines(ctx, asked, refillRows)
		if err != nil {
			return err // they stand where they stood, and are asked for at the next step
		}
		for _, l := range lines {
			t := l.queue.target
			t.refill = t.refill[1:]
		}
		for i, l := range lines {
			l.refilled(rows[i], len(rows[i]) == refillRows)
		}
	}
	s.news.wake() // there may be more
	return nil
}
