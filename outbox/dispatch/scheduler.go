package dispatch

import (
	"context"
	"slices"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// scheduler decides what goes next. It owns every queue, line and target of the
// incarnation; one goroutine runs it, and others send it news.
type scheduler struct {
	*incarnation
	table    table
	plan     *Plan
	shadows  bool // some route of the plan is in shadow
	controls controls
	leases   map[int16]outbox.Lease
	queues   map[outbox.LaneDestination]*queue
	targets  map[int32]*target
	order    []int32 // of targets, each first in turn
	writers  []outbox.WriterState

	rangeRows int // most rows of one reading of one writer, lane and destination

	alarm     *time.Timer // when something may be admitted, or asked for, that may not now
	flying    int
	releasing map[int16]bool
	draining  bool
	stored    map[int32]outbox.BreakerRow // breakers, as last handed to be stored
}

func newScheduler(n *incarnation) *scheduler {
	return &scheduler{
		incarnation: n, table: n.replica, rangeRows: 256,
		leases: make(map[int16]outbox.Lease), queues: make(map[outbox.LaneDestination]*queue), targets: make(map[int32]*target),
		alarm: time.NewTimer(time.Hour), releasing: make(map[int16]bool), stored: make(map[int32]outbox.BreakerRow),
	}
}

// lookEvery is how often what is due and what the breakers say is looked at.
const lookEvery = 200 * time.Millisecond

// run schedules until drain is closed and nothing is in flight any more.
func (s *scheduler) run(ctx context.Context, drain <-chan struct{}) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	defer s.alarm.Stop()
	// A sweep goes through the lanes part by part: reading all of them at once keeps what
	// comes meanwhile waiting.
	parts := max(int(s.config.Sweep/lookEvery), 1)
	for looks := 0; ; {
		looked := looks == 0 // at once at first
		select {
		case <-ctx.Done():
			return nil
		case <-drain:
			s.draining, drain = true, nil
		case <-s.news.signal:
		case <-s.woken:
		case <-s.alarm.C:
		case <-look.C:
			looked = true
		}
		for _, apply := range s.news.take(1 << 20) {
			apply(s)
		}
		if s.draining && s.flying == 0 {
			return nil
		}
		if plan := s.Dispatcher.plan.Load(); plan != s.plan {
			s.adopt(plan)
		}
		if looked {
			looks++
		}
		woken := s.takeWoken()
		if looked || len(woken) > 0 {
			for place, q := range s.queues {
				swept := looked && int(place.Lane)%parts == looks%parts && !mutant.On(mutant.WakeupsAreTruth)
				q.unread = q.unread || swept || woken[place.Lane]
			}
		}
		err := s.persist(ctx, "looking for deliveries", func(ctx context.Context) error { return s.step(ctx, looked) })
		if err != nil {
			return unlessOver(ctx, err)
		}
	}
}

// step reads what there is room for, and admits what may go. It may be repeated.
func (s *scheduler) step(ctx context.Context, look bool) error {
	now := time.Now()
	for _, t := range s.targets {
		s.seat(t, now) // whatever becomes of the rest
	}
	if err := s.finishReleases(ctx); err != nil {
		return err
	}
	if !s.draining {
		if look {
			if err := s.lookAround(ctx); err != nil {
				return err
			}
		}
		s.admit() // what is there does not wait for what is read
		if err := s.read(ctx); err != nil {
			return err
		}
		if err := s.refill(ctx); err != nil {
			return err
		}
		s.admit()
		// The one that came first yields to the others next time.
		if len(s.order) > 1 {
			s.order = append(s.order[1:], s.order[0])
		}
		s.setAlarm(time.Now())
	}
	s.watchBreakers()
	return nil
}

// adopt takes up a new plan. A destination that is configured as before keeps its
// breaker. One that is gone keeps what it has in flight, and gets nothing more.
func (s *scheduler) adopt(plan *Plan) {
	before := s.plan
	s.plan, s.shadows = plan, plan.shadows()
	for id, t := range s.targets {
		t.plan, t.off = plan, plan.Destinations[id] == nil
	}
	for id, configured := range plan.Destinations {
		d, t := configured.withDefaults(), s.targets[id]
		if t == nil {
			t = &target{plan: plan, gate: &gate{}, slots: &slots{}}
			s.targets[id] = t
			s.order = append(s.order, id)
		}
		if t.breaker == nil || t.Breaker != d.Breaker {
			t.renewBreaker(d.Name, d.Breaker)
		}
		t.Destination, t.off = d, d.Rests
		t.control(s.controls)
	}
	for lane := range s.leases {
		s.open(lane)
	}
	if before != nil && !plan.passesLike(before) {
		for _, q := range s.queues { // what blocks whom is another matter now
			q.reread()
		}
	}
}

// open makes the queues of a lane that is held.
func (s *scheduler) open(lane int16) {
	for id, t := range s.targets {
		place := outbox.LaneDestination{Lane: lane, Destination: id}
		if s.queues[place] == nil {
			s.queues[place] = &queue{lane: lane, target: t, lines: make(map[int64]*line), unread: true}
		}
	}
}

func (s *scheduler) take(leases []outbox.Lease) {
	for _, l := range leases {
		s.leases[l.Lane] = l
		s.open(l.Lane)
	}
}

// release starts handing lanes over: nothing more of them is admitted.
func (s *scheduler) release(excess int) {
	for lane := range s.leases {
		if len(s.releasing) >= excess {
			return
		}
		s.releasing[lane] = true
		for place, q := range s.queues {
			if place.Lane == lane {
				q.closing = true
			}
		}
	}
}

// finishReleases hands over the lanes that have nothing in flight any more.
func (s *scheduler) finishReleases(ctx context.Context) error {
	if len(s.releasing) == 0 {
		return nil
	}
	busy := make(map[int16]bool)
	for place, q := range s.queues {
		busy[place.Lane] = busy[place.Lane] || q.flying > 0
	}
	var done []outbox.Lease
	for lane := range s.releasing {
		if !busy[lane] {
			done = append(done, s.leases[lane])
		}
	}
	if len(done) == 0 {
		return nil
	}
	if err := s.replica.Release(ctx, done); err != nil {
		return err
	}
	for _, l := range done {
		delete(s.releasing, l.Lane)
		delete(s.leases, l.Lane)
		for place, q := range s.queues {
			if place.Lane == l.Lane {
				q.target.drop(func(l *line) bool { return l.queue == q })
				q.target.spare = slices.DeleteFunc(q.target.spare, func(l *line) bool { return l.queue == q })
				q.target.refill = slices.DeleteFunc(q.target.refill, func(l *line) bool { return l.queue == q })
				delete(s.queues, place)
			}
		}
	}
	s.held.remove(done)
	return nil
}
