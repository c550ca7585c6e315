package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
)

// incarnation is one replica at work, from joining to leaving or losing its lease.
//
//	lanes ──taken, to release──▶ scheduler ──flights──▶ launcher ──requests──▶ intenders ─▶ senders
//	                                ▲  ▲                                                       │
//	                                │  └─────────────────── a slot is free ────────────────────┤
//	                                └──── stored ──── finisher ◀─────────── outcomes ──────────┘
type incarnation struct {
	*Dispatcher
	replica *outbox.Replica

	news     *inbox[func(*scheduler)] // for the scheduler
	launches *inbox[*flight]
	requests *inbox[*flight] // prepared
	outcomes *inbox[*flight]
	breakers *inbox[outbox.BreakerRow]
	urgent   chan struct{} // holds one token where outcomes are to be stored soon

	// intending is how many batches of intents are being stored. The scheduler is reminded
	// of its news when one is. It changes under intentsMu.
	intending atomic.Int32
	intentsMu sync.Mutex

	held    laneSet // as the database was heard to say
	holding atomic.Pointer[controls]
	hungry  chan struct{}  // holds one token while something is to be leased
	sending *crew          // senders, and every call of a connector's Send
	waiting sync.WaitGroup // for mappings; see prepareAgain
}

// flight is one attempt on its way through the incarnation.
type flight struct {
	line        *line
	target      *target      // for the scheduler only
	destination *Destination // as it was configured at admission
	breaker     *breaker
	gate        *gate
	slots       *slots
	placed      bool // it has a place on the wire, which is free once the scheduler hears of its end
	delivery    *outbox.Delivery
	lease       outbox.Lease
	policy      Policy
	settle      func(error) // the breaker's; called once
	outcome     error       // what was settled; see health

	event   EventName          // once it was read
	key     string             // its own idempotency key
	step    *stepped           // where its route names steps
	request connectors.Request // from preparing it until it is sent
	batch   *batch
	sent    time.Time // when the connector was given the request
	attempt Attempt
	used    []outbox.LookedUp // on the way of the request
	shadow  bool              // it is prepared only: it has no slot, and its breaker was not asked
}

// batch counts the intents of one row that are still open. The finisher alone
// changes it once it is made.
type batch struct {
	number         int64
	open           int
	size           int
	began, durable time.Time // when it was stored
}

// incarnate joins, works until the context ends or the lease is in doubt, and leaves.
// It returns nil only after a graceful end.
func (d *Dispatcher) incarnate(ctx context.Context) error {
	replica, err := d.config.Store.Join(ctx)
	if err != nil {
		return err
	}
	n := &incarnation{
		Dispatcher: d, replica: replica,
		news: newInbox[func(*scheduler)](), launches: newInbox[*flight](), requests: newInbox[*flight](), outcomes: newInbox[*flight](), breakers: newInbox[outbox.BreakerRow](),
		urgent: make(chan struct{}, 1), hungry: make(chan struct{}, 1), sending: newCrew(),
	}
	d.current.Store(n)
	defer d.current.Store(nil)
	held, err := n.readControls(ctx)
	if err != nil {
		replica.Abandon()
		return err
	}
	n.holding.Store(&held)
	// The work goes on while what is on the wire is waited for.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	group.Go(func() error { return n.keepLease(work) })
	group.Go(func() error { return n.watchControls(work, held) })
	group.Go(func() error { return n.keepShares(work) })
	group.Go(func() error { return n.keepLanes(work, ctx.Done()) })
	group.Go(func() error { return n.launchAll(work) })
	for range intenders {
		group.Go(func() error { return n.intendAll(work) })
	}
	group.Go(func() error { return n.finishAll(work) })
	group.Go(func() error { return n.storeBreakers(work) })
	group.Go(func() error { return n.releaseAll(work) })
	group.Go(func() error {
		defer stop() // drained: everything else may end
		s := newScheduler(n)
		s.control(held)
		return s.run(work, ctx.Done())
	})
	err = group.Wait()
	n.sending.dismiss()
	n.waiting.Wait()

	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err == nil {
		return replica.Leave(end)
	}
	// What it was sending was told to stop. Once nothing is on the wire, nobody needs to
	// wait for the lease to run out, this process's next incarnation least of all.
	if n.quiet(replica.Deadline()) {
		if err := replica.Expire(end); err != nil {
			d.config.Log.WarnContext(ctx, "the lease is left to run out", "error", err)
		}
	}
	replica.Abandon()
	return err
}

// quiet waits until no connector sends any more, at most until the deadline, and
// tells whether that is so.
func (n *incarnation) quiet(deadline time.Time) bool {
	over := make(chan struct{})
	go func() {
		n.sending.Wait()
		close(over)
	}()
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case <-over:
		return true
	case <-late.C:
		return false
	}
}

// storeBreakers makes known how the breakers stand, each change in its turn.
func (n *incarnation) storeBreakers(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.breakers.signal:
		}
		for _, row := range n.breakers.take(1 << 20) {
			err := n.persist(ctx, "storing a breaker's state", func(ctx context.Context) error { return n.replica.StoreBreaker(ctx, row) })
			if err != nil {
				return unlessOver(ctx, err)
			}
		}
	}
}

// persist repeats f until it succeeds, the lease is lost, or the context ends. A call
// that hangs, as on a connection whose other end is gone, is given up and repeated.
func (n *incarnation) persist(ctx context.Context, what string, f func(context.Context) error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := within(ctx, n.config.Lease, f)
		if err == nil {
			return nil
		}
		if (errors.Is(err, outbox.ErrLeaseLost) || time.Now().After(n.replica.Deadline())) && !mutant.On(mutant.NoFence) {
			return fmt.Errorf("%w: %w", outbox.ErrLeaseLost, err)
		}
		if ctx.Err() != nil {
			return err
		}
		n.config.Log.WarnContext(ctx, what+" is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// unlessOver drops an error that is only the end of the work.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
