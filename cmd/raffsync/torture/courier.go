package torture

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// courier is the way from the replicas to a platform. What is on it when it is told to hold
// stays there until it is let go, however long that is; what comes later passes. So a
// request can arrive long after its sender has lost its lease:
//
//	sender  ─ request ─▶ held … lease lost, successor sends it anew … let go ─▶ platform
//	                      └─ the sender gives up, and closes ─▶ lost
type courier struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	hold    *delay // what arrives now waits for; nil: nothing is held
	conns   map[net.Conn]bool
	closed  bool
	running sync.WaitGroup
}

// delay is one time of holding.
type delay struct {
	over   chan struct{}
	held   atomic.Int64 // connections with something held
	passed atomic.Int64 // of them, those whose sender was still there in the end
}

func newCourier(to string) (*courier, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &courier{listener: listener, to: to, conns: make(map[net.Conn]bool)}
	c.running.Go(c.accept)
	return c, nil
}

func (c *courier) address() string { return c.listener.Addr().String() }

func (c *courier) accept() {
	for {
		sender, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.running.Go(func() { c.carry(sender) })
	}
}

func (c *courier) carry(sender net.Conn) {
	platform, err := net.Dial("tcp", c.to)
	if err != nil {
		reset(sender)
		return
	}
	if !c.add(sender, platform) {
		return
	}
	defer c.remove(sender, platform)
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := io.Copy(sender, platform); err != nil {
			reset(sender) // as the platform did
		}
		_ = sender.Close()
	})
	both.Go(func() {
		c.forward(sender, platform)
		_ = platform.Close()
	})
	both.Wait()
}

// forward returns when either side is gone.
func (c *courier) forward(sender, platform net.Conn) {
	chunks := make(chan []byte)
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		defer close(chunks)
		for {
			chunk := make([]byte, 64<<10)
			n, err := sender.Read(chunk)
			if n > 0 {
				select {
				case chunks <- chunk[:n]:
				case <-gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for chunk := range chunks {
		if d := c.holding(); d != nil {
			var there bool
			if chunk, there = d.wait(chunk, chunks); !there {
				return
			}
		}
		if _, err := platform.Write(chunk); err != nil {
			return
		}
	}
}

// wait gathers what comes until it is over, and tells whether the sender is there still.
func (d *delay) wait(held []byte, more <-chan []byte) (all []byte, there bool) {
	d.held.Add(1)
	for {
		select {
		case chunk, there := <-more:
			if !there {
				return nil, false
			}
			held = append(held, chunk...)
		case <-d.over:
			d.passed.Add(1)
			return held, true
		}
	}
}

func (c *courier) holding() *delay {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hold
}

// stop holds what arrives from now on.
func (c *courier) stop() *delay {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = &delay{over: make(chan struct{})}
	return c.hold
}

// pass lets through what arrives from now on. What is held stays so.
func (c *courier) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = nil
}

func (c *courier) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if c.closed {
			_ = conn.Close()
			continue
		}
		c.conns[conn] = true
	}
	return !c.closed
}

func (c *courier) remove(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

// close is for when nothing is held.
func (c *courier) close() error {
	c.mu.Lock()
	c.closed = true
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.mu.Unlock()
	err := c.listener.Close()
	c.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
