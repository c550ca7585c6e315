package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// ErrClosed is what Send and Flush return once Run or Close ended the client. After
// an error that ended Run they return that error.
var ErrClosed = errors.New("client: closed")

// Client streams events to one broker as one source. Its methods may be called from
// any goroutine.
type Client struct {
	cfg     Config
	target  string
	options []grpc.DialOption
	// where names the broker for people.
	where string
	// wake tells the stream that there is something new to do.
	wake chan struct{}
	// ended is closed when Run returns.
	ended chan struct{}
	// maxData is Welcome.max_event_bytes, 0 before the first Welcome.
	maxData atomic.Int64

	mu    sync.Mutex
	queue queue
	// changed is closed at the next acknowledgement or end; nil while nobody waits.
	changed chan struct{}
	stats   Stats
	started bool
	closing bool
	// failure is what Send and Flush return after the end.
	failure error
	// cancel ends Run at once; nil before Run.
	cancel context.CancelFunc
}

// New checks the configuration. Nothing is connected before [Client.Run].
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r, err := routeOf(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg: cfg, target: r.target, options: r.options(cfg), where: or(cfg.Target, "in-process"),
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}, nil
}

// Run keeps a stream open until ctx is done or Close was called, and then returns
// nil. Any other end is an error that a person must mend; it says how. What was not
// acknowledged by then may be sent again by another client, with the same ids. Run
// is called once; after Close it returns nil at once.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	if c.started {
		c.mu.Unlock()
		return errors.New("client: Run was called a second time: make another client")
	}
	if c.failure != nil {
		c.mu.Unlock()
		return nil
	}
	c.started, c.cancel = true, cancel
	c.mu.Unlock()

	err := c.run(ctx)

	c.mu.Lock()
	c.failure = err
	if err == nil {
		c.failure = ErrClosed
	}
	c.stats.Connected = false
	c.broadcast()
	c.mu.Unlock()
	close(c.ended)
	return err
}

// Send takes the event, or says why it can't: an [*EventError] is about this event
// alone. It waits while the buffer is full, at most until ctx is done. The event
// belongs to the client until it is acknowledged: it must not be changed.
//
// Events of one goroutine are sent in the order of its calls.
func (c *Client) Send(ctx context.Context, event *raffsyncv1.Event) error {
	size, err := encodedSize(event, int(c.maxData.Load()))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.closedLocked(); err != nil {
			return err
		}
		n := c.queue.waiting()
		if n == 0 || n < c.cfg.BufferEvents && c.queue.bytes+size <= c.cfg.BufferBytes {
			break
		}
		if err := c.waitLocked(ctx); err != nil {
			return fmt.Errorf("client: event %q was not taken: %d events wait for their acknowledgement: %w", event.Id, n, err)
		}
	}
	c.queue.push(event, size)
	c.nudge()
	return nil
}

// Flush waits until everything that Send took before the call is acknowledged, with
// whatever result, at most until ctx is done.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	target := c.queue.enqueued
	for c.queue.done < target {
		if c.failure != nil {
			return fmt.Errorf("%d events are not acknowledged: %w", c.queue.waiting(), c.failure)
		}
		if err := c.waitLocked(ctx); err != nil {
			return fmt.Errorf("client: %d events are not acknowledged yet: %w", c.queue.waiting(), err)
		}
	}
	return nil
}

// Close lets Send take nothing more, waits until everything is acknowledged, at
// most until ctx is done, and ends Run. Its error says how many events were left;
// [Client.Unacknowledged] has them.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.broadcast()
	if !c.started && c.queue.waiting() == 0 {
		c.failure = ErrClosed
		c.mu.Unlock()
		return nil
	}
	c.mu.Unlock()
	c.nudge()

	var err error
	select {
	case <-c.ended:
	case <-ctx.Done():
		err = ctx.Err()
		c.abort()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftLocked(err)
}

// abort ends Run now, or before it began.
func (c *Client) abort() {
	c.mu.Lock()
	cancel := c.cancel
	if cancel == nil {
		c.failure = ErrClosed
		c.broadcast()
	}
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-c.ended
	}
}

// leftLocked is nil where every event was acknowledged.
func (c *Client) leftLocked(reason error) error {
	left := c.queue.waiting()
	switch {
	case left == 0:
		return nil
	case reason == nil:
		reason = c.failure
	}
	return fmt.Errorf("client: closed with %d events not acknowledged; they may be sent again with the same ids: %w", left, reason)
}

// Unacknowledged returns the events that no result is known of, in the order of
// sending: what a connector keeps for its next start.
func (c *Client) Unacknowledged() []*raffsyncv1.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := make([]*raffsyncv1.Event, 0, c.queue.waiting())
	for _, e := range c.queue.entries[c.queue.head:] {
		events = append(events, e.event)
	}
	return events
}

// acknowledge tells of the events that the Ack covers, and lets go of them.
func (c *Client) acknowledge(ack *raffsyncv1.Ack) error {
	c.mu.Lock()
	verdicts, err := c.queue.judge(ack)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	// Outside of the lock, so that OnResult may look at Stats and others may Send.
	// The entries stay until then: a Flush returns after its events were told.
	if c.cfg.OnResult != nil {
		for _, v := range verdicts {
			c.cfg.OnResult(v.event, v.result)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range verdicts {
		c.stats.count(v.result.Status)
	}
	c.queue.release(len(verdicts), ack.ThroughSequence)
	c.broadcast()
	return nil
}

func (c *Client) closedLocked() error {
	switch {
	case c.failure != nil:
		return c.failure
	case c.closing:
		return ErrClosed
	default:
		return nil
	}
}

// finishedLocked is true once Close has nothing left to wait for.
func (c *Client) finishedLocked() bool { return c.closing && c.queue.waiting() == 0 }

// waitLocked waits for the next change, without the lock.
func (c *Client) waitLocked(ctx context.Context) error {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) broadcast() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// pause waits between two streams. It is false when there shall be no other one.
func (c *Client) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		c.mu.Lock()
		finished := c.finishedLocked()
		c.mu.Unlock()
		if finished {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-c.wake:
		}
	}
}
