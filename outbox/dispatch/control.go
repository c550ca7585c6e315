package dispatch

import (
	"context"
	"maps"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// controls is what operators hold until further notice. It is never changed: what
// they decide next is another one.
type controls map[controlled]outbox.Control

// controlled names something that can be held.
type controlled struct {
	tenant string
	kind   outbox.ControlKind
	name   string
}

func controlsOf(held []outbox.Control) controls {
	c := make(controls, len(held))
	for _, h := range held {
		c[controlled{h.Tenant, h.Kind, h.Name}] = h
	}
	return c
}

func (c controls) state(tenant string, kind outbox.ControlKind, name string) outbox.ControlState {
	return c[controlled{tenant, kind, name}].State
}

func (c controls) paused(tenant string, kind outbox.ControlKind, name string) bool {
	return c.state(tenant, kind, name) == outbox.Paused
}

// frees tells whether something is free to go under c that was paused, or lost, under
// before.
func (c controls) frees(before controls) bool {
	for what, held := range before {
		if (held.State == outbox.Paused || held.State == outbox.Lost) && c[what].State != held.State {
			return true
		}
	}
	return false
}

// LookAtControls has what operators and breakers hold looked at, soon: it may have
// changed.
func (d *Dispatcher) LookAtControls() {
	select {
	case d.ordered <- struct{}{}:
	default:
	}
}

// readControls reads what operators hold, before anything is admitted: what was
// paused before a start is paused after it.
func (n *incarnation) readControls(ctx context.Context) (controls, error) {
	held, err := n.replica.Controls(ctx)
	return controlsOf(held), err
}

// watchControls takes up what operators decide, when it is told to look, and every
// so often. While it cannot be read, what is known holds.
func (n *incarnation) watchControls(ctx context.Context, known controls) error {
	tick := time.NewTicker(n.config.Sweep)
	defer tick.Stop()
	for {
		told := false
		select {
		case <-ctx.Done():
			return nil
		case <-n.ordered:
			told = true
			n.askSoon()
		case <-tick.C:
		}
		var now controls
		err := within(ctx, n.config.Lease, func(ctx context.Context) (err error) {
			now, err = n.readControls(ctx)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.config.Log.WarnContext(ctx, "what operators hold is not known anew", "error", err)
		case told || !maps.Equal(now, known):
			known = now
			n.news.put(func(s *scheduler) { s.control(now) })
		}
	}
}

// control takes up what operators hold now.
func (s *scheduler) control(now controls) {
	before := s.controls
	s.controls = now
	if !maps.Equal(before, now) {
		s.config.Log.Info("what operators hold is taken up", "held", len(now))
	}
	s.holding.Store(&now) // for the launcher, which so is never ahead of the scheduler
	for _, t := range s.targets {
		t.control(now)
		t.drop(func(l *line) bool {
			paused := t.rests(l.delivery)
			if paused {
				l.rest(resting)
			}
			return paused
		})
	}
	if !now.frees(before) {
		return
	}
	for _, q := range s.queues {
		q.unread = true
		q.wake()
	}
}

// control takes up how the target is held.
func (t *target) control(now controls) {
	t.controls = now
	t.paused = now.paused(t.Tenant, outbox.OfDestination, t.Name)
	t.holdAuthorisation(now.state(t.Tenant, outbox.OfAuthorisation, t.Name) == outbox.Lost)
	forced := now.state(t.Tenant, outbox.OfBreaker, t.Name)
	if t.forced != outbox.Automatic && forced == outbox.Automatic {
		t.renewBreaker(t.Name, t.Breaker) // what it counted is long past
	}
	t.forced = forced
}

// rests tells whether the delivery's route is paused.
func (t *target) rests(d *outbox.Delivery) bool {
	return len(t.controls) > 0 && t.controls.paused(d.Tenant, outbox.OfRoute, d.Route)
}

// allow asks the breaker, or whoever holds it, for one request. settle must be called
// exactly once with what came of it.
func (t *target) allow() (settle func(error), ok bool) {
	switch t.forced {
	case outbox.ForcedOpen:
		return nil, false
	case outbox.ForcedClosed:
		return func(error) {}, true
	}
	if mutant.On(mutant.BreakerIgnored) {
		if settle, ok = t.breaker.allow(); !ok {
			settle = func(error) {}
		}
		return settle, true
	}
	switch state, _, _ := t.breaker.state(); {
	case state == outbox.BreakerHalfOpen && !time.Now().Before(t.share.probing):
		return nil, false // another replica tries it, or nobody yet
	case state == outbox.BreakerClosed && !t.share.probing.IsZero():
		return nil, false // its probes succeeded, and the others are about to be told
	}
	return t.breaker.allow()
}

// wake has every line that rests read again: its head may be free to go.
func (q *queue) wake() {
	for _, l := range q.lines {
		if l.state == resting {
			l.fetch()
		}
	}
}

// restsWithSource tells whether a flight's source is paused. It is not sent then: its
// head rests until something is resumed. Which source a delivery came from is known
// once its event is loaded, so a head is loaded once for each pause.
func (n *incarnation) restsWithSource(f *flight, event *outbox.LoadedEvent) bool {
	c := *n.holding.Load()
	if event == nil || len(c) == 0 || !c.paused(event.Tenant, outbox.OfSource, event.SourceName) {
		return false
	}
	f.settle(context.Canceled)
	n.news.put(func(s *scheduler) { s.rested(f, c) })
	return true
}

// rested says that a flight was not sent, since its source was paused then.
func (s *scheduler) rested(f *flight, then controls) {
	if f.shadow {
		f.target.shadowing--
	} else {
		f.target.wire--
		f.target.unsent()
	}
	s.flying--
	l := f.line
	if l.again != nil || l.doubt || s.controls.frees(then) {
		l.returned() // much may have changed meanwhile, and the table knows
		return
	}
	l.queue.flying--
	l.rest(resting)
}
