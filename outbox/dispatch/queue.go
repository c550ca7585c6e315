package dispatch

import (
	"cmp"
	"slices"

	"raffsync/outbox"
)

// queue is what a replica knows of one lane's deliveries to one destination: how far
// it has read, and the line of each ordering key that has something open. One
// goroutine uses it. It does no I/O: others read, and tell it what they found.
type queue struct {
	lane    int16
	target  *target
	cursors []*cursor // by writer
	lines   map[int64]*line
	unread  bool // there may be more to read
	flying  int  // heads between admission and the end of their finish
	closing bool // the lane is being handed over: nothing is admitted
}

// cursor is how far one writer's deliveries have been lined up.
type cursor struct {
	writer int64
	after  outbox.Seq
	// over: the writer was known to be gone before the last read, which came to the
	// end: nothing is to come.
	over bool
	// early: what was read of it last comes after something of another writer that is
	// not read yet. One row is enough to see that again.
	early bool
}

// stretch is what one read found of one cursor.
type stretch struct {
	*cursor
	rows   []outbox.Delivery
	end    bool // there was no more at the time of the read
	closed bool // the writer was known to be gone before it
}

func (q *queue) cursorOf(writer int64) *cursor {
	i, found := slices.BinarySearchFunc(q.cursors, writer, func(c *cursor, w int64) int { return cmp.Compare(c.writer, w) })
	if !found {
		q.cursors = slices.Insert(q.cursors, i, &cursor{writer: writer})
	}
	return q.cursors[i]
}

// lineUp takes what one read found, of every cursor that is not over, in the order of
// acceptance, as far as that order is known: a cursor that did not come to the end,
// and of which nothing is left, may have something earlier still. The rest is read
// again: by then it may have changed.
func (q *queue) lineUp(read []stretch) {
	taken := make([]int, len(read))
	for {
		first := -1
		for i := range read {
			if taken[i] == len(read[i].rows) {
				if !read[i].end {
					first = -1
					break
				}
				continue
			}
			if first < 0 || read[i].rows[taken[i]].Before(&read[first].rows[taken[first]]) {
				first = i
			}
		}
		if first < 0 {
			break
		}
		q.offer(read[first].rows[taken[first]])
		taken[first]++
	}
	q.unread = false
	for i, s := range read {
		if taken[i] > 0 {
			s.after = s.rows[taken[i]-1].Seq
		}
		drained := s.end && taken[i] == len(s.rows)
		s.over = drained && s.closed
		s.early = taken[i] == 0 && len(s.rows) > 0
		q.unread = q.unread || !drained
	}
}

// offer puts a delivery that was read at the end of its line.
func (q *queue) offer(d outbox.Delivery) {
	if d.State == outbox.NeedsAction && q.target.passes(&d) {
		return // later ones go past it; its release comes through due
	}
	if l := q.lines[d.KeyHash]; l != nil {
		l.join(d)
		return
	}
	l := &line{queue: q, key: d.KeyHash}
	q.lines[d.KeyHash] = l
	l.become(d)
}

// due says that a delivery is to be looked at again: its time has come, or an
// operator released or skipped it.
func (q *queue) due(r outbox.Due) {
	l, d := q.lines[r.KeyHash], r.Delivery
	switch {
	case l == nil && d != nil:
		// It need not be the first of its line: the table knows.
		l = &line{queue: q, key: r.KeyHash}
		q.lines[r.KeyHash] = l
		l.fetch()
	case l == nil: // nothing waits behind it
	case l.state == refilling:
		if d != nil {
			l.leave(positionOf(d)) // the table is about to be read, perhaps not from there
		}
	case l.head.seq == r.Seq:
		l.headDue(r)
	case d == nil:
		l.followers = slices.DeleteFunc(l.followers, func(f outbox.Delivery) bool { return f.Seq == r.Seq })
	default:
		l.released(*d)
	}
}

// reread forgets what was read, but for what is in flight. What the table says of it
// from now on counts.
func (q *queue) reread() {
	for key, l := range q.lines {
		if l.state == flying {
			l.park()
			l.doubt = true
			continue
		}
		delete(q.lines, key)
	}
	mine := func(l *line) bool { return l.queue == q }
	q.target.drop(mine)
	q.target.refill = slices.DeleteFunc(q.target.refill, mine)
	q.cursors, q.unread = nil, true
}

// position of a delivery in its line.
type position struct {
	at  int64 // of acceptance, in microseconds, which is all that Postgres keeps
	seq outbox.Seq
}

func positionOf(d *outbox.Delivery) position { return position{d.AcceptedAt.UnixMicro(), d.Seq} }

func (p position) before(o position) bool { return p.at < o.at || p.at == o.at && p.seq < o.seq }
