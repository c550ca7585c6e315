package dispatch

import (
	"context"
	"sync"
	"sync/atomic"
)

// crew runs functions side by side, each in a goroutine that stays for the next one until
// the crew's context ends: what a connector calls is deep, and a new goroutine's stack would
// grow to it, by copying, for every request.
type crew struct {
	sync.WaitGroup // of the functions
	next           chan func()
	idle           atomic.Int32
}

// mostIdle bounds how many goroutines stay.
const mostIdle = 512

func newCrew() *crew { return &crew{next: make(chan func())} }

// run runs f at once.
func (c *crew) run(ctx context.Context, f func()) {
	c.Add(1)
	select {
	case c.next <- f:
	default:
		go c.work(ctx, f)
	}
}

func (c *crew) work(ctx context.Context, f func()) {
	for {
		f()
		c.Done()
		if c.idle.Add(1) > mostIdle {
			c.idle.Add(-1)
			return
		}
		select {
		case f = <-c.next:
			c.idle.Add(-1)
		case <-ctx.Done():
			return
		}
	}
}
