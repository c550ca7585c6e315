package broker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// Bounds of one commit.
const (
	maxCommitEvents = 8192
	maxCommitBytes  = 16 << 20
)

// writer makes entries durable: an [outbox.Writer].
type writer interface {
	Append(context.Context, []outbox.Entry) ([]outbox.Result, error)
	Close(context.Context) error
}

// committer makes the events of its lanes durable. There is no timer: whenever it is
// free it commits what has gathered, and meanwhile the next commit gathers.
//
//	submit ─▶ queue ─▶ gather ─▶ Append ─▶ settle
//	            ▲ next commit       └─ error: callers are told, their rest of the queue dropped;
//	                                   of one part only where that could not be kept now
//
// A caller whose commit failed gets nothing committed any more: it will send again
// from the first unacknowledged batch, and what is queued behind it must not
// overtake that.
type committer struct {
	writer    writer
	committed func(lanes []int16)
	log       *slog.Logger
	observe   Observer

	mu    sync.Mutex
	queue []part
	wake  chan struct{} // holds one: there may be parts in the queue

	// Of run's goroutine.
	parts   []part
	entries []outbox.Entry
	failing bool
}

func newCommitter(w writer, committed func([]int16), log *slog.Logger) *committer {
	return &committer{writer: w, committed: committed, log: log, wake: make(chan struct{}, 1)}
}

func (c *committer) submit(p part) {
	c.mu.Lock()
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run commits until the context ends. What is queued then is dropped: nobody waits
// for it by that time.
func (c *committer) run(ctx context.Context) {
	defer c.drop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for ctx.Err() == nil && c.gather() {
			c.commit(ctx)
		}
	}
}

// gather moves as much of the queue as one commit may hold to parts and entries. A
// part is never larger than that.
func (c *committer) gather() bool {
	clear(c.parts)
	clear(c.entries) // lets go of the payloads
	c.parts, c.entries = c.parts[:0], c.entries[:0]
	var dropped []part
	c.mu.Lock()
	n, bytes := 0, 0
	for ; n < len(c.queue); n++ {
		p := c.queue[n]
		if p.batch.caller.gone() {
			dropped = append(dropped, p)
			continue
		}
		if len(c.parts) > 0 && (len(c.entries)+len(p.entries) > maxCommitEvents || bytes+p.bytes > maxCommitBytes) {
			break
		}
		bytes += p.bytes
		c.parts = append(c.parts, p)
		c.entries = append(c.entries, p.entries...)
	}
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	c.mu.Unlock()
	for i := range dropped {
		dropped[i].settle(false)
	}
	return len(c.parts) > 0
}

func (c *committer) commit(ctx context.Context) {
	if mutant.On(mutant.AckBeforeCommit) {
		for i := range c.parts {
			c.parts[i].settle(true)
		}
		_, _ = c.append(ctx)
		return
	}
	began := time.Now()
	results, err := c.append(ctx)
	ended := time.Now()
	if c.observe.Committed != nil {
		c.observe.Committed(len(c.entries), ended.Sub(began), err)
	}
	if err != nil {
		if !c.failing {
			c.failing = true
			c.log.ErrorContext(ctx, "events cannot be made durable; their streams end unacknowledged", "events", len(c.entries), "error", err)
		}
		for i := range c.parts {
			c.parts[i].batch.caller.commitFailed()
		}
		for i := range c.parts {
			c.parts[i].settle(false)
		}
		return
	}
	if c.failing {
		c.failing = false
		c.log.InfoContext(ctx, "events are made durable again")
	}
	left := results
	for i := range c.parts {
		p := &c.parts[i]
		n := len(p.entries)
		p.record(left[:n])
		durable := c.review(ctx, p, left[:n])
		c.observe.count(p, left[:n])
		left = left[n:]
		if !durable {
			p.batch.caller.commitFailed()
		}
		p.settle(durable)
	}
	c.tellDurable(results, began, ended)
}

// tellDurable comes last, so that no acknowledgement waits for it.
func (c *committer) tellDurable(results []outbox.Result, began, ended time.Time) {
	if c.observe.Durable == nil {
		return
	}
	for i := range c.parts {
		p := &c.parts[i]
		n := len(p.entries)
		c.observe.Durable(Durable{
			Source: p.batch.source, Traceparent: p.batch.caller.traceparent(), Entries: p.entries, Results: results[:n],
			Received: p.batch.received, Began: began, Ended: ended, Events: len(c.entries),
		})
		results = results[n:]
	}
}

// append calls the writer, and turns a panic there into an error: one strange event
// must not end the process, again and again as its client sends it anew.
func (c *committer) append(ctx context.Context) (results []outbox.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.ErrorContext(ctx, "panic in a commit", "panic", r, "stack", string(debug.Stack()))
			_ = c.writer.Close(context.WithoutCancel(ctx)) // its session is in an unknown state; it opens another
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	results, err = c.writer.Append(ctx, c.entries)
	if err != nil {
		return nil, err
	}
	if len(results) != len(c.entries) {
		return nil, fmt.Errorf("%d results for %d entries", len(results), len(c.entries))
	}
	c.announce(results)
	return results, nil
}

// announce tells which lanes have new deliveries.
func (c *committer) announce(results []outbox.Result) {
	if c.committed == nil {
		return
	}
	seen := make(map[int16]struct{})
	var lanes []int16
	for i, r := range results {
		if r.Verdict != outbox.Appended || len(c.entries[i].Targets) == 0 {
			continue
		}
		if _, ok := seen[r.Lane]; !ok {
			seen[r.Lane] = struct{}{}
			lanes = append(lanes, r.Lane)
		}
	}
	if len(lanes) > 0 {
		c.committed(lanes)
	}
}

// review logs what the database did not take, and tells whether the part may be
// acknowledged: whoever sent what could not be kept now, and only they, send it again.
func (c *committer) review(ctx context.Context, p *part, results []outbox.Result) (durable bool) {
	durable = true
	for i, r := range results {
		e := &p.entries[i].Event
		switch r.Verdict {
		case outbox.Refused:
			c.log.WarnContext(ctx, "the database refused an event", "tenant", e.Tenant, "source", e.Source, "event", e.ID, "reason", r.Reason)
		case outbox.Deferred:
			if durable {
				c.log.WarnContext(ctx, "conflicting events cannot be kept now; their sender's stream ends unacknowledged",
					"tenant", e.Tenant, "source", e.Source, "event", e.ID, "reason", r.Reason)
			}
			durable = false
		}
	}
	return durable
}

// drop settles what is left when the committer ends.
func (c *committer) drop() {
	c.mu.Lock()
	left := c.queue
	c.queue = nil
	c.mu.Unlock()
	for i := range left {
		left[i].settle(false)
	}
}
