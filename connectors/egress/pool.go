package egress

import (
	"context"
	"sync"
	"time"
)

// pool holds the connections of a client. No goroutine watches over idle ones: they are
// looked at when they are taken, and a timer closes those that nobody takes.
type pool struct {
	perTarget, idleMost int
	idleFor             time.Duration

	mu      sync.Mutex
	targets map[targetKey]*target
	idle    int
	sweep   *time.Timer // while any are idle
}

func newPool(config Config) *pool {
	return &pool{
		perTarget: config.MaxConnsPerHost, idleMost: config.MaxIdleConns, idleFor: config.IdleTimeout,
		targets: make(map[targetKey]*target),
	}
}

type targetKey struct{ scheme, host string }

// target is where connections go to. It is in the pool while anybody uses it, or any of its
// connections is idle.
type target struct {
	key   targetKey
	users int
	slots chan struct{} // one for each user that has, or makes, a connection
	idle  []*conn       // the one used last comes last
}

// enter waits for a slot at a target, at most until then.
func (p *pool) enter(ctx context.Context, until time.Time, key targetKey) (*target, error) {
	p.mu.Lock()
	t := p.targets[key]
	if t == nil {
		t = &target{key: key, slots: make(chan struct{}, p.perTarget)}
		p.targets[key] = t
	}
	t.users++
	p.mu.Unlock()
	select {
	case t.slots <- struct{}{}:
		return t, nil
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	select {
	case t.slots <- struct{}{}:
		return t, nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.quit(t)
		return nil, ctx.Err()
	}
}

// take returns an idle connection that is still good; nil where there is none.
func (p *pool) take(t *target) *conn {
	for {
		p.mu.Lock()
		last := len(t.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		c := t.idle[last]
		t.idle[last], t.idle = nil, t.idle[:last]
		p.idle--
		p.mu.Unlock()
		if time.Since(c.rests) < p.idleFor && c.quiet() {
			return c
		}
		c.Close()
	}
}

// leave gives the slot back, and a connection that can be used again; nil where there is
// none. Where too many are idle it is closed.
func (p *pool) leave(t *target, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { <-t.slots }() // who waits for it may find the connection
	if c != nil && p.idle < p.idleMost {
		c.rests = time.Now()
		t.idle = append(t.idle, c)
		p.idle++
		if p.sweep == nil {
			p.sweep = time.AfterFunc(p.idleFor, func() { p.closeIdle(p.idleFor) })
		}
	} else if c != nil {
		c.Close()
	}
	p.quit(t)
}

func (p *pool) quit(t *target) {
	t.users--
	p.forget(t)
}

func (p *pool) forget(t *target) {
	if t.users == 0 && len(t.idle) == 0 {
		delete(p.targets, t.key)
	}
}

// closeIdle closes the connections that were idle for so long, and comes back for the
// others.
func (p *pool) closeIdle(rest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	next := p.idleFor
	for _, t := range p.targets {
		stale := 0
		for stale < len(t.idle) && now.Sub(t.idle[stale].rests) >= rest {
			t.idle[stale].Close()
			stale++
		}
		t.idle = append([]*conn(nil), t.idle[stale:]...)
		p.idle -= stale
		if len(t.idle) > 0 {
			next = min(next, rest-now.Sub(t.idle[0].rests))
		}
		p.forget(t)
	}
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	if p.idle > 0 {
		p.sweep = time.AfterFunc(next, func() { p.closeIdle(p.idleFor) })
	}
}
