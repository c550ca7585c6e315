package dispatch

import (
	"sync"
	"sync/atomic"
)

// crew runs functions side by side, each in a goroutine that stays for the next one until
// the crew is dismissed: what a connector calls is deep, and a new goroutine's stack would
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
func (c *crew) run(f func()) {
	c.Add(1)
	select {
	case c.next <- f:
	default:
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	for f != nil {
		f()
		c.Done()
		if c.idle.Add(1) > mostIdle {
			c.idle.Add(-1)
			return
		}
		f = <-c.next
		c.idle.Add(-1)
	}
}

// dismiss ends the goroutines, each once it has nothing to do. Nothing is run after it.
func (c *crew) dismiss() { close(c.next) }
