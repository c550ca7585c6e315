package dispatch

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"time"

	"raffsync/outbox"
)

// share is what this replica may make of a destination, as leased from what all
// replicas share. Until the first answer nothing is admitted.
type share struct {
	known   bool
	turn    int32 // of the shared breaker
	slots   int
	kept    int // those and others, which are given up as they come free; see keeps
	pace    pace
	units   int // of the quota
	until   time.Time
	retries int // by the budget
	firsts  int // first attempts while it fails, not yet told
	// probing: until then this replica, and no other, tries a destination whose breaker
	// was open.
	probing time.Time
	told    string // the breaker's state, as last told
	askAt   time.Time
}

const (
	// askPause is the least time between two exchanges, againAfter that until what was not
	// granted is asked for again.
	askPause   = 20 * time.Millisecond
	againAfter = 200 * time.Millisecond
	// probeMargin is what a probe may take longer than its request.
	probeMargin = 2 * time.Second
	// unitsAhead is how many units of a quota are asked for at once.
	unitsAhead = 32
)

// unlimited is the share of a destination that nobody shares.
func unlimited(concurrency int) share {
	return share{known: true, slots: concurrency, kept: concurrency}
}

// renewBreaker makes a breaker that has counted nothing. How the shared one stands is
// learnt anew.
func (t *target) renewBreaker(name string, c outbox.BreakerConfig) {
	t.breaker = newBreaker(name, c)
	t.share.known, t.share.turn = false, -1
}

// keeps is how many slots it keeps for what it has admitted: those that it is to have, and
// of those beyond as many as it needs. What is given up never comes back by itself.
func (t *target) keeps() int {
	t.share.kept = max(t.share.slots, min(t.share.kept, t.wire))
	return t.share.kept
}

// ask is what the target wants now. Slots beyond the fair part that are not in use are
// given up with it.
func (t *target) ask(now time.Time) outbox.Ask {
	waiting := len(t.ready) + len(t.retries)
	a := outbox.Ask{
		Destination: t.ID, Tenant: t.Tenant, Limits: t.Limits(), Slots: t.keeps(),
		// Coarse, so that it seldom changes.
		Wanted: min(1<<bits.Len(uint(t.wire+waiting)), t.Concurrency), Busy: waiting > 0 && t.wire >= t.share.slots && t.wire > 0,
		Turn: -1, OpenFor: t.Breaker.OpenFor, ProbeFor: t.Timeout + probeMargin,
	}
	if t.stopped() {
		waiting = 0
	}
	if t.Every > 0 {
		t.share.pace.expire(now)
		a.Requests = max(0, waiting-t.share.pace.left())
	}
	if t.Quota > 0 && (t.share.units == 0 || !now.Before(t.share.until)) {
		a.Units = min(waiting, unitsAhead)
	}
	if t.failing() {
		a.Failing, a.Firsts, a.Retries = true, t.share.firsts, max(0, len(t.retries)-t.share.retries)
	}
	t.share.firsts = 0
	if t.forced == outbox.Automatic {
		a.Turn = t.share.turn
		a.Breaker, a.Reason, _ = t.breaker.state()
		a.Probe = a.Breaker == outbox.BreakerHalfOpen && waiting > 0
		t.share.told = a.Breaker
	}
	return a
}

// clocks are this process' and the database's, at one moment.
type clocks struct {
	now              time.Time
	earliest, latest time.Time // what the database's may be
}

func (n *incarnation) clocks() clocks { return clocks{time.Now(), n.replica.Now(), n.replica.Latest()} }

// from makes a time of the database, before which something is not to be done, one of
// this process.
func (c clocks) from(at time.Time) time.Time { return c.now.Add(at.Sub(c.earliest)) }

// until does so with one after which something is not to be done.
func (c clocks) until(at time.Time) time.Time { return c.now.Add(at.Sub(c.latest)) }

// granted takes up an answer.
func (t *target) granted(a *outbox.Ask, g *outbox.Grant, me int64, c clocks) {
	now := c.now
	s := &t.share
	first := !s.known
	s.known, s.slots, s.kept = true, min(g.Slots, g.Fair), g.Slots
	s.pace.window.of(a.Every, a.Burst)
	s.pace.lease(block{next: c.from(g.First), every: a.Every, left: g.Requests}, now)
	if g.Units > 0 {
		if !now.Before(s.until) {
			s.units = 0
		}
		s.units, s.until = s.units+g.Units, c.until(g.QuotaUntil)
	}
	s.retries += g.Retries
	t.restraint.share(c.from(g.PacedUntil))
	s.askAt = now.Add(time.Duration((0.5 + rand.Float64()) * float64(againAfter)))
	if a.Requests > 0 && g.Requests > 0 {
		s.askAt = now
	}
	if t.forced == outbox.Automatic && g.Turn != s.turn {
		s.turn = g.Turn
		t.follow(g, me, c)
		if !first && g.Breaker == outbox.BreakerClosed {
			t.health.recover(now)
		}
	}
}

// follow takes up how the shared breaker has turned.
func (t *target) follow(g *outbox.Grant, me int64, c clocks) {
	t.share.probing = time.Time{}
	t.breaker.turned()
	state, _, _ := t.breaker.state()
	switch {
	case g.Breaker == outbox.BreakerOpen:
		t.breaker = newOpenBreaker(t.Name, t.Breaker, c.from(g.ProbeAt).Sub(c.now), g.Reason)
	case g.Breaker == outbox.BreakerHalfOpen && g.Prober == me:
		t.share.probing = c.until(g.ProbeUntil)
	case g.Breaker == outbox.BreakerHalfOpen && state == outbox.BreakerClosed:
		t.breaker = newOpenBreaker(t.Name, t.Breaker, c.from(g.ProbeUntil).Sub(c.now), g.Reason)
	case g.Breaker == outbox.BreakerClosed && state != outbox.BreakerClosed:
		t.breaker = newBreaker(t.Name, t.Breaker)
	}
	t.share.told, _, _ = t.breaker.state()
}

// asks is when the target has something to ask for; zero where it has not.
func (t *target) asks(now time.Time) time.Time {
	s := &t.share
	if !s.known {
		return now
	}
	state, _, _ := t.breaker.state()
	if t.forced == outbox.Automatic && state != s.told || t.restraint.news(now) {
		return now
	}
	waiting := len(t.ready) + len(t.retries)
	if waiting == 0 || t.stopped() {
		return time.Time{}
	}
	switch {
	case state == outbox.BreakerHalfOpen && !now.Before(s.probing),
		t.Every > 0 && s.pace.left() <= waiting/2 && s.pace.left() < 2+int(againAfter/t.Every),
		t.Quota > 0 && (s.units == 0 || !now.Before(s.until)),
		t.failing() && len(t.retries) > 0 && s.retries == 0,
		t.wire >= s.slots && s.slots < t.Concurrency:
		if s.askAt.Before(now) {
			return now
		}
		return s.askAt
	}
	return time.Time{}
}

// may tells whether the rate and the quota have one more request.
func (t *target) may(now time.Time) bool {
	return (t.Every == 0 || t.share.pace.ready(now)) && (t.Quota == 0 || t.share.units > 0 && now.Before(t.share.until))
}

// spend takes one request off what is leased.
func (t *target) spend(d *outbox.Delivery, now time.Time) {
	if t.Every > 0 {
		t.share.pace.spend(now)
	}
	if t.Quota > 0 {
		t.share.units--
	}
	switch {
	case !t.failing():
	case d.Requests == 0:
		t.share.firsts++
	default:
		t.share.retries--
	}
}

// unsent gives back the unit of a request that was not made after all. Its time under
// the rate is past.
func (t *target) unsent() {
	if t.Quota > 0 {
		t.share.units++
	}
}

// failing: retries are under the budget. It begins at the ratio of failures at which the
// breaker opens, which waits for more requests than that; probes have bounds of their own.
func (t *target) failing() bool {
	if t.forced != outbox.Automatic || !t.health.failing(t.Breaker.FailureRatio) {
		return false
	}
	state, _, _ := t.breaker.state()
	return state == outbox.BreakerClosed
}

// keepShares leases what the targets need, when they do, and every so often.
func (n *incarnation) keepShares(ctx context.Context) error {
	asks := make(chan []outbox.Ask, 1)
	for {
		n.news.put(func(s *scheduler) { asks <- s.asks(time.Now()) })
		var asked []outbox.Ask
		select {
		case <-ctx.Done():
			return nil
		case asked = <-asks:
		}
		if err := n.exchange(ctx, asked); err != nil {
			return unlessOver(ctx, err)
		}
		if !n.pause(ctx, askPause, nil) || !n.pause(ctx, time.Duration((0.5+rand.Float64()/2)*float64(n.config.Sweep)), n.hungry) {
			return nil
		}
	}
}

// pause waits for so long, or for the signal; false where the context ends.
func (n *incarnation) pause(ctx context.Context, d time.Duration, signal <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-signal:
	}
	return true
}

func (n *incarnation) exchange(ctx context.Context, asks []outbox.Ask) error {
	if len(asks) == 0 {
		return nil
	}
	var grants []outbox.Grant
	err := within(ctx, n.config.Lease, func(ctx context.Context) (err error) {
		grants, err = n.replica.Exchange(ctx, asks)
		return err
	})
	switch {
	case err == nil:
		n.news.put(func(s *scheduler) { s.granted(asks, grants) })
	case ctx.Err() != nil:
	case errors.Is(err, outbox.ErrLeaseLost):
		return err
	default: // what is leased is used up, and then nothing is sent
		n.config.Log.WarnContext(ctx, "no lease of limits yet", "error", err)
	}
	return nil
}

// askSoon has the next exchange come soon.
func (n *incarnation) askSoon() {
	select {
	case n.hungry <- struct{}{}:
	default:
	}
}

func (s *scheduler) asks(now time.Time) []outbox.Ask {
	asks, by := make([]outbox.Ask, 0, len(s.targets)), s.replica.Now()
	for _, t := range s.targets {
		if !t.off {
			a := t.ask(now)
			a.PacedUntil = by.Add(t.restraint.until.Sub(now))
			asks = append(asks, a)
		}
	}
	return asks
}

func (s *scheduler) granted(asks []outbox.Ask, grants []outbox.Grant) {
	c := s.clocks()
	for i := range asks {
		t := s.targets[asks[i].Destination]
		turned := asks[i].Turn >= 0 && grants[i].Turn == asks[i].Turn+1 // mostly by this replica
		if turned || t != nil && t.restraint.news(c.now) {
			s.config.Store.Hint(outbox.Hint{Controls: true})
		}
		if t != nil {
			t.granted(&asks[i], &grants[i], s.replica.ID(), c)
		}
	}
}

// setAlarm has the scheduler ask when something is to be asked for, and be awake when a request may go.
func (s *scheduler) setAlarm(now time.Time) {
	next := now.Add(lookEvery)
	for _, t := range s.targets {
		if t.off {
			continue
		}
		if at := t.asks(now); !at.IsZero() {
			if !at.After(now) {
				s.askSoon()
			} else if at.Before(next) {
				next = at
			}
		}
		if at := t.share.pace.at(); at.After(now) && at.Before(next) && len(t.ready)+len(t.retries) > 0 {
			next = at
		}
	}
	s.alarm.Reset(max(next.Sub(now), time.Millisecond))
}
