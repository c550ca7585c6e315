package dispatch

import (
	"slices"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// line is the deliveries of one ordering key, in order. Its head is in one of these
// states; the others wait behind it.
//
//	ready ──admit──▶ flying ──▶ delivered: the next one is head
//	  ▲ │              │ ├────▶ waiting ──due──▶ ready
//	  │ │              │ └────▶ held (or, where the route says pass, the next is head)
//	  │ └─▶ resting ◀──┤
//	  └──── due ◀──────┴── an operator released or skipped it
//
// A head rests while an operator pauses its route or source; on resume its line is read
// again.
type line struct {
	queue *queue
	key   int64
	head  position
	state headState
	// delivery is the head, where it is ready or flying. One that rests is read again
	// when it is due: destinations in trouble have many of them.
	delivery *outbox.Delivery
	// followers come next, in order, as they were read. parked: the table has more. A
	// line whose head rests keeps none.
	followers []outbox.Delivery
	parked    bool
	// passed is how far the line is dealt with: the next ones are read from there. rewind:
	// something before it was left to the table, so they are read from the first.
	passed position
	rewind bool
	// again is what became due while the head was flying. doubt: something may have
	// become due meanwhile that was never heard of, so the table is asked.
	again *outbox.Due
	doubt bool
}

type headState uint8

const (
	ready headState = iota
	flying
	waiting
	held
	resting
	refilling // no head: it is about to be read from the table
)

// keptFollowers bounds what a line keeps in memory. The table has the rest.
const keptFollowers = 16

// become makes d the head.
func (l *line) become(d outbox.Delivery) {
	l.head = positionOf(&d)
	switch d.State {
	case outbox.Pending:
		if l.queue.target.rests(&d) {
			l.rest(resting)
			return
		}
		l.state, l.delivery = ready, &d
		l.queue.target.offer(l)
	case outbox.Retry:
		l.rest(waiting)
	case outbox.NeedsAction:
		l.rest(held)
	}
}

func (l *line) rest(state headState) {
	l.state, l.delivery = state, nil
	l.park()
}

// join puts d behind the others.
func (l *line) join(d outbox.Delivery) {
	switch {
	case l.has(d.Seq): // read from the table before the cursor came to it
	case l.parked || l.state > flying || len(l.followers) == keptFollowers:
		l.leave(positionOf(&d))
	default:
		l.followers = append(l.followers, d)
	}
}

// waitedFor tells whether others come after the head.
func (l *line) waitedFor() bool { return l.parked || len(l.followers) > 0 }

func (l *line) has(seq outbox.Seq) bool {
	return l.state != refilling && l.head.seq == seq ||
		slices.ContainsFunc(l.followers, func(f outbox.Delivery) bool { return f.Seq == seq })
}

// leave leaves a delivery to the table.
func (l *line) leave(p position) {
	l.parked = true
	if !l.passed.before(p) || l.state != refilling && p.before(l.head) {
		l.rewind = true
	}
	for i := range l.followers {
		l.rewind = l.rewind || p.before(positionOf(&l.followers[i]))
	}
}

// park leaves all followers to the table.
func (l *line) park() {
	followers := l.followers
	l.followers = nil
	for i := range followers {
		l.leave(positionOf(&followers[i]))
	}
}

// advance makes the next delivery the head, or ends the line.
func (l *line) advance() {
	l.pass(l.head)
	l.delivery = nil
	for len(l.followers) > 0 {
		next := l.followers[0]
		l.followers = l.followers[1:]
		if next.State == outbox.NeedsAction && l.queue.target.passes(&next) {
			l.pass(positionOf(&next))
			continue
		}
		l.become(next)
		return
	}
	if l.parked {
		l.ask()
		return
	}
	delete(l.queue.lines, l.key)
}

func (l *line) pass(p position) {
	if l.passed.before(p) {
		l.passed = p
	}
}

// fetch has the line read from its first.
func (l *line) fetch() {
	l.unready()
	l.followers, l.delivery, l.again = nil, nil, nil
	l.rewind, l.doubt = true, false
	l.ask()
}

func (l *line) ask() {
	l.state, l.parked = refilling, true
	l.queue.target.refill = append(l.queue.target.refill, l)
}

// asked is where the line is to be read from.
func (l *line) asked() outbox.Line {
	if l.rewind {
		l.rewind, l.passed = false, position{}
	}
	return outbox.Line{
		Lane: l.queue.lane, Destination: l.queue.target.ID, KeyHash: l.key, AfterAt: time.UnixMicro(l.passed.at), After: l.passed.seq,
	}
}

// refilled takes the next deliveries of the line from the table; more says that
// there are others behind them.
func (l *line) refilled(rows []outbox.Delivery, more bool) {
	l.followers, l.parked, l.head = rows, more, position{}
	l.advance()
}

// admit takes the head up for sending.
func (l *line) admit() *outbox.Delivery {
	l.state = flying
	l.queue.flying++
	return l.delivery
}

// settled says what became of the head's attempt, and that it is stored.
func (l *line) settled(to string) {
	if l.doubt {
		l.returned()
		return
	}
	q, d, again := l.queue, l.delivery, l.again
	q.flying--
	l.again = nil
	switch {
	case to == outbox.StatePending:
		l.delivery = nil
		l.become(d.Next())
	case to == outbox.StateWaiting && !mutant.On(mutant.OrderGuardOff):
		l.rest(waiting)
	case to == outbox.StateNeedsAction && !q.target.passes(d):
		l.rest(held)
	default:
		l.advance()
	}
	// Its time may have come, or an operator may have released it, between the commit
	// and this news of it.
	if again != nil && to != outbox.StateDelivered && (again.Delivery == nil || again.Delivery.Version > d.Version) {
		q.due(*again)
	}
}

// returned says that the head's attempt is not stored, or was not begun, since the
// delivery had changed: the table knows how.
func (l *line) returned() {
	l.queue.flying--
	l.fetch()
}

// headDue says that the head is to be looked at again.
func (l *line) headDue(r outbox.Due) {
	if l.state == flying {
		l.again = &r
		return
	}
	l.unready()
	if r.Delivery == nil {
		l.advance()
		return
	}
	l.become(*r.Delivery)
}

// unready takes a head out of the list of those ready to go.
func (l *line) unready() {
	if l.state == ready {
		l.queue.target.drop(func(o *line) bool { return o == l })
	}
}

// released says that a delivery that is not the head may go. What its place in the line
// is, the table knows.
func (l *line) released(d outbox.Delivery) {
	for i := range l.followers {
		if l.followers[i].Seq == d.Seq {
			l.followers[i] = d
			return
		}
	}
	p := positionOf(&d)
	if l.state != flying && p.before(l.head) {
		l.fetch() // it was passed over, and goes first now
		return
	}
	l.park()
	l.leave(p)
}
