package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ClassLate is the class of the exception that gathers the deliveries to one
// destination that are not done by their [Deadline], whatever they wait for. It resolves
// by itself when none of them is open any more.
const ClassLate = "LATE"

// Bounds of one sweep for what is late. What is left is looked at by the next.
const (
	lateRanges = 1024  // most stretches of one statement
	lateRows   = 4096  // about so many rows of one statement
	lateSteps  = 64    // statements, while they find anything late
	lateGrain  = 5_000 // members looked at, where none of them is gone
)

// lateWalk is how far the lanes of a replica have been looked at. A writer's deliveries
// lie in the order of their acceptance: so each stretch is read forward up to the first
// delivery that is not late yet, and nothing twice.
type lateWalk struct {
	stretches map[stretchKey]*stretch
	members   map[memberKey]Seq // looked at up to here
}

// stretchKey holds the deadline as text: one that changes begins anew, at the oldest.
type stretchKey struct {
	lane     int16
	writer   int64
	deadline string
}

type stretch struct {
	lane     int16
	writer   int64
	deadline Deadline
	after    Seq
	// next is when anything of it can be late at the earliest, on the local monotonic
	// clock.
	next time.Time
}

type memberKey struct {
	exception int64
	lane      int16
}

const lateSQL = `
SELECT p.ord::integer - 1, d.seq, d.route, (extract(epoch FROM d.accepted_at + p.within - now()) * 1000000)::bigint
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::interval[]) WITH ORDINALITY
       AS p(lane, destination, after, until, within, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM deliveries d
    WHERE d.lane = p.lane AND d.destination = p.destination AND d.seq > p.after AND d.seq < p.until
    ORDER BY d.seq LIMIT $6) AS d
 ORDER BY p.ord, d.seq`

// Late puts what has become late in these lanes into the LATE exception of its
// destination, and takes out of it what is not open any more. Of what a person has put
// aside nothing joins another one. Lanes that are not held are
// harmless: they are looked at twice.
func (w *Sweeper) Late(ctx context.Context, lanes []int16, deadlines []Deadline) error {
	if err := w.lookForLate(ctx, lanes, deadlines); err != nil {
		return fmt.Errorf("look for what is late: %w", err)
	}
	if err := w.dropFromLate(ctx, lanes); err != nil {
		return fmt.Errorf("look for what is late no more: %w", err)
	}
	return nil
}

func (w *Sweeper) lookForLate(ctx context.Context, lanes []int16, deadlines []Deadline) error {
	if len(deadlines) == 0 {
		w.late.stretches = nil
		return nil
	}
	rows, err := w.pool.Query(ctx, writersSQL)
	if err != nil {
		return err
	}
	writers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[WriterState])
	if err != nil {
		return err
	}
	w.late.cover(lanes, writers, deadlines)
	for range lateSteps {
		read := w.late.pending(time.Now())
		if len(read) == 0 {
			return nil
		}
		if err := w.readLate(ctx, read); err != nil {
			return err
		}
	}
	return nil
}

// cover makes a stretch of each lane, writer and deadline, and forgets all others.
func (l *lateWalk) cover(lanes []int16, writers []WriterState, deadlines []Deadline) {
	before := l.stretches
	l.stretches = make(map[stretchKey]*stretch, len(before))
	for _, d := range deadlines {
		text := fmt.Sprintf("%d %s %s", d.Destination, d.Within, strings.Join(d.Routes, " "))
		for _, lane := range lanes {
			for _, writer := range writers {
				key := stretchKey{lane, writer.Writer, text}
				s := before[key]
				if s == nil {
					s = &stretch{lane: lane, writer: writer.Writer, deadline: d, after: newSeq(writer.Writer, 0)}
				}
				l.stretches[key] = s
			}
		}
	}
}

// pending are stretches in which something may be late.
func (l *lateWalk) pending(now time.Time) []*stretch {
	var all []*stretch
	for _, s := range l.stretches {
		if !s.next.After(now) {
			if all = append(all, s); len(all) == lateRanges {
				break
			}
		}
	}
	return all
}

// found is a delivery in a stretch.
type found struct {
	seq   Seq
	route string
	left  time.Duration // until it is late; negative where it is
}

func (w *Sweeper) readLate(ctx context.Context, read []*stretch) error {
	var lanes []int16
	var destinations []int32
	var after, until []Seq
	var within []time.Duration
	for _, s := range read {
		lanes, destinations = append(lanes, s.lane), append(destinations, s.deadline.Destination)
		after, until = append(after, s.after), append(until, newSeq(s.writer+1, 0))
		within = append(within, s.deadline.Within)
	}
	limit := min(max(lateRows/len(read), 8), 1024)
	asked := time.Now()
	rows, err := w.pool.Query(ctx, lateSQL, lanes, destinations, after, until, within, limit)
	if err != nil {
		return err
	}
	of := make([][]found, len(read))
	var ord int32
	var f found
	var left int64
	_, err = pgx.ForEachRow(rows, []any{&ord, &f.seq, &f.route, &left}, func() error {
		f.left = time.Duration(left) * time.Microsecond
		of[ord] = append(of[ord], f)
		return nil
	})
	if err != nil {
		return err
	}
	// What is late is stored before any cursor passes it.
	var late lateColumns
	next := make([]stretch, len(read))
	for i, s := range read {
		next[i] = s.walk(of[i], len(of[i]) < limit, asked, &late)
	}
	if err := w.raiseLate(ctx, &late); err != nil {
		return err
	}
	for i, s := range read {
		*s = next[i]
	}
	return nil
}

// walk goes forward up to the first that is not late, and gathers those that are. It is
// pure but for what it gathers.
func (s stretch) walk(rows []found, end bool, asked time.Time, late *lateColumns) stretch {
	for _, f := range rows {
		if f.left > 0 {
			s.next = asked.Add(f.left)
			return s
		}
		if slices.Contains(s.deadline.Routes, f.route) {
			late.add(s.deadline, s.lane, f.seq)
		}
		s.after = f.seq
	}
	if end {
		// What comes from now on has its whole time before it. Half of it, since what is
		// being committed was accepted a moment ago.
		s.next = asked.Add(s.deadline.Within / 2)
	}
	return s
}
