package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"raffsync/outbox"
)

// Config of a dispatcher. Zero durations take the defaults named beside them.
type Config struct {
	Store *outbox.Store
	Log   *slog.Logger
	// Lease is the store's, which is also what zero means. Renewed five times in its
	// length.
	Lease time.Duration
	// Margin between the end of the last request and the end of the lease; 2 s, or an
	// eighth of the lease where that is less.
	Margin time.Duration
	// Sweep is how often everything is looked at, whether or not a hint came; 1 s.
	Sweep time.Duration
	// Dice is the jitter of back-offs, in [0, 1); math/rand where nil.
	Dice func() float64
	// Mappings are the mapping tables as this process knows them; nil where there are none.
	Mappings Mappings
	// Observe is told what happens.
	Observe Observer
}

// Mappings are the mapping tables as this process knows them: it learns of a change a
// moment after it was made.
type Mappings interface {
	// Version of the tenant's mappings. What is looked up after the call is of that version
	// or a later one.
	Version(tenant string) int64
	// Lookup is what a value is called at a destination, by its table; ok is false where
	// nobody has said.
	Lookup(tenant string, destination int32, table, value string) (e outbox.MappingEntry, ok bool)
}

// Dispatcher delivers. It holds a share of the lanes while it runs.
type Dispatcher struct {
	config Config
	plan   atomic.Pointer[Plan]
	woken  chan struct{} // one token: lanes were woken, or the plan changed
	// current is the incarnation that works; for others to look at.
	current atomic.Pointer[incarnation]
	// ordered holds one token where operators may hold something else than before.
	ordered chan struct{}
	// released holds one token where something may have been released.
	released chan struct{}

	mu    sync.Mutex
	lanes map[int16]bool // woken and not yet looked at
}

// New checks the configuration. Nothing runs before [Dispatcher.Run].
func New(c Config) (*Dispatcher, error) {
	if c.Store == nil {
		return nil, errors.New("dispatch: a store is needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Lease == 0 {
		c.Lease = c.Store.Lease()
	}
	if c.Lease != c.Store.Lease() {
		return nil, fmt.Errorf("dispatch: a lease of %s, where the store's is %s", c.Lease, c.Store.Lease())
	}
	if c.Margin == 0 {
		c.Margin = min(2*time.Second, c.Lease/8)
	}
	if c.Sweep == 0 {
		c.Sweep = time.Second
	}
	if c.Dice == nil {
		c.Dice = rand.Float64
	}
	return &Dispatcher{config: c, woken: make(chan struct{}, 1), ordered: make(chan struct{}, 1), released: make(chan struct{}, 1), lanes: make(map[int16]bool)}, nil
}

// SetPlan makes p what is configured, soon.
func (d *Dispatcher) SetPlan(p *Plan) {
	d.plan.Store(p)
	d.wakeUp()
}

// Wake says that these lanes have something new. It never waits.
func (d *Dispatcher) Wake(lanes []int16) {
	d.mu.Lock()
	for _, lane := range lanes {
		d.lanes[lane] = true
	}
	d.mu.Unlock()
	d.wakeUp()
}

// HeldLanes are those that it holds at present, as far as it knows: for work that is to be
// shared among replicas, and that another may be doing too.
func (d *Dispatcher) HeldLanes() []int16 {
	n := d.current.Load()
	if n == nil {
		return nil
	}
	return n.held.lanes()
}

func (d *Dispatcher) wakeUp() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

func (d *Dispatcher) takeWoken() map[int16]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.lanes) == 0 {
		return nil
	}
	woken := d.lanes
	d.lanes = make(map[int16]bool, len(woken))
	return woken
}

// Run delivers until the context ends; then it admits nothing more, waits for what
// is on the wire, and hands its lanes back. It lives as one replica after another:
// whatever makes an incarnation doubt its lease ends it, and the next one finds what
// it left behind as it would find what a crash left. It begins with the first plan.
func (d *Dispatcher) Run(ctx context.Context) error {
	// What a dead owner left open is settled by the policies of the plan: without one,
	// whatever has an unknown outcome would seem to need a person.
	for d.plan.Load() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-d.woken:
		}
	}
	for ctx.Err() == nil {
		err := d.incarnate(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			d.config.Log.ErrorContext(ctx, "the dispatcher stopped in the middle; what it was sending is settled at the next start", "error", err)
			return nil
		}
		d.config.Log.WarnContext(ctx, "the dispatcher starts anew", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(float64(time.Second) * (0.5 + d.config.Dice()))):
		}
	}
	return nil
}
