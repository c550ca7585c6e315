package dispatch

import "time"

// pace holds the requests that are leased under a destination's rate, in blocks. It is
// pure: times are of the local monotonic clock.
type pace struct {
	blocks []block
	window window
}

// block is a number of requests, each with a time before which it must not be made.
type block struct {
	next  time.Time
	every time.Duration
	left  int
	until time.Time // it is good
}

// paceGrace is how long after its last request's time, or after it came where that was past
// already, as in a burst, a block is good; half a turn where that is longer. What is left of it
// then is gone, so that requests that were saved up do not come in a heap.
const paceGrace = 250 * time.Millisecond

func (p *pace) lease(b block, now time.Time) {
	if b.left == 0 {
		return
	}
	last := b.next.Add(time.Duration(b.left-1) * b.every)
	if last.Before(now) {
		last = now
	}
	b.until = last.Add(max(paceGrace, b.every/2))
	p.blocks = append(p.blocks, b)
}

// expire drops the blocks whose time is over.
func (p *pace) expire(now time.Time) {
	for len(p.blocks) > 0 {
		b := &p.blocks[0]
		if b.left > 0 && now.Before(b.until) {
			return
		}
		p.blocks = p.blocks[1:]
	}
}

// ready tells whether a request may be made now.
func (p *pace) ready(now time.Time) bool {
	p.expire(now)
	return len(p.blocks) > 0 && !now.Before(p.at())
}

// spend makes one request of those that are ready.
func (p *pace) spend(now time.Time) {
	p.window.note(now)
	b := &p.blocks[0]
	b.next = b.next.Add(b.every)
	if b.left--; b.left == 0 {
		p.blocks = p.blocks[1:]
	}
}

// left is how many requests are leased.
func (p *pace) left() (n int) {
	for i := range p.blocks {
		n += p.blocks[i].left
	}
	return n
}

// at is when the next one may be made; zero where none is leased.
func (p *pace) at() (next time.Time) {
	if len(p.blocks) > 0 {
		next = p.blocks[0].next
		if at := p.window.at(); at.After(next) {
			next = at
		}
	}
	return next
}
