package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/test/bufconn"

	"raffsync/outbox"
)

// Broker takes events in. Make one with [New].
type Broker struct {
	config Config
	log    *slog.Logger
	keys   keyring
	door   *door
	intake intake
	server *grpc.Server
	inner  *grpc.Server // serves the door
	health *health.Server

	ran          atomic.Bool
	flushTimeout time.Duration
	stopping     chan struct{} // closed when streams shall end
	sessions     sessions
	// running counts the goroutines of streams. They may outlive their handler by a
	// moment: until grpc-go has cancelled what they wait for.
	running sync.WaitGroup
}

// New checks the configuration and compiles the contract's rules. It starts nothing.
func New(c Config) (*Broker, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	v, err := NewValidator(c.MaxEventBytes)
	if err != nil {
		return nil, err
	}
	inside := &door{listener: bufconn.Listen(insideBuffer)}
	b := &Broker{
		config: c,
		log:    c.Log,
		door:   inside,
		keys:   keyring{authenticate: c.Store.Authenticate, ttl: c.RecheckEvery, log: c.Log, inside: inside.of},
		intake: intake{
			validator: v, budget: budget{limit: c.MemoryBudget}, lanes: c.Store.Lanes(), maxEvents: c.MaxBatchEvents,
			observe: c.Observe, log: c.Log, heard: c.OnHeard, full: c.Full,
		},
		flushTimeout: flushTimeout,
		stopping:     make(chan struct{}),
	}
	b.sessions.limit = c.MaxStreams
	b.server, b.health = b.newServer()
	b.inner = b.newInnerServer()
	return b, nil
}

// SetRules puts a tenant's rules in force, for every event that is taken in from now
// on. Without rules, as with nil, all its events are unrouted; under [HeldRules] its
// sources are turned away. It may be called at
// any time.
func (b *Broker) SetRules(tenant string, r *Rules) { b.intake.rules.set(tenant, r) }

// Run serves until the context ends, then lets streams end by themselves within
// [Config.DrainTimeout], and returns nil. It returns an error where Postgres cannot
// be reached at the start, or a listener fails. It runs once.
func (b *Broker) Run(ctx context.Context) (err error) {
	if b.ran.Swap(true) {
		return errors.New("broker: it has run already")
	}
	defer b.closeListeners()
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	writers, err := b.openWriters(ctx)
	defer b.closeWriters(work, writers)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	var committing sync.WaitGroup
	for _, w := range writers {
		c := newCommitter(w, b.config.OnCommitted, b.log)
		c.observe = b.config.Observe
		b.intake.committers = append(b.intake.committers, c)
		committing.Go(func() { c.run(work) })
	}
	b.running.Go(func() { b.recheckKeys(work) })

	serving, failed := errgroup.WithContext(ctx)
	for _, l := range b.config.Listeners {
		serving.Go(func() error {
			err := b.server.Serve(netutil.LimitListener(l, b.config.MaxConnections))
			// Stopped before it began: the context ended in this moment.
			if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	serving.Go(func() error {
		if err := b.inner.Serve(b.door.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return fmt.Errorf("serve inside: %w", err)
		}
		return nil
	})
	<-failed.Done() // also when ctx ends
	b.drain()
	err = serving.Wait()
	stopWork()
	b.running.Wait()
	committing.Wait()
	return err
}

func (b *Broker) openWriters(ctx context.Context) ([]writer, error) {
	shard := b.config.Shard
	if shard == 0 {
		shard = rand.Int64()
	}
	var writers []writer
	for i := range b.config.Committers {
		w, err := b.config.Store.OpenWriter(ctx, shard+int64(i))
		if err != nil {
			return writers, fmt.Errorf("broker: %w", err)
		}
		writers = append(writers, w)
	}
	return writers, nil
}

// closeListeners closes those that were never served; the server has closed the others.
func (b *Broker) closeListeners() {
	for _, l := range b.config.Listeners {
		_ = l.Close() // nothing was accepted on it
	}
	_ = b.door.listener.Close()
}

func (b *Broker) closeWriters(ctx context.Context, writers []writer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, w := range writers {
		_ = w.Close(ctx) // nothing is in flight, so nothing can be lost
	}
}

// drain asks every stream to end, waits for those that do, and ends the others.
func (b *Broker) drain() {
	b.health.Shutdown()
	close(b.stopping)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var both sync.WaitGroup
		both.Go(b.server.GracefulStop)
		both.Go(b.inner.GracefulStop)
		both.Wait()
	}()
	patience := time.NewTimer(b.config.DrainTimeout + b.flushTimeout)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		b.server.Stop()
		b.inner.Stop()
		<-ended
	}
}

// recheckKeys ends the streams of keys that were revoked meanwhile.
func (b *Broker) recheckKeys(ctx context.Context) {
	tick := time.NewTicker(b.config.RecheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.recheckOnce(ctx)
		}
	}
}

func (b *Broker) recheckOnce(ctx context.Context) {
	for key, open := range b.sessions.byKey() {
		// What cannot be checked now, because Postgres is away, is let alone: nothing
		// can be committed meanwhile either.
		if _, err := b.keys.ask(ctx, key); errors.Is(err, error(errBadKey)) {
			for _, s := range open {
				s.finish(errBadKey)
			}
		}
	}
}

// sessions are the open streams.
type sessions struct {
	limit int // of one tenant

	mu       sync.Mutex
	open     map[*session]struct{}
	byTenant map[string]int
}

func (o *sessions) add(s *session) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open, o.byTenant = make(map[*session]struct{}), make(map[string]int)
	}
	tenant := s.credential.Tenant
	if o.byTenant[tenant] >= o.limit {
		return errStreams
	}
	o.byTenant[tenant]++
	o.open[s] = struct{}{}
	return nil
}

func (o *sessions) remove(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, s)
	tenant := s.credential.Tenant
	if o.byTenant[tenant]--; o.byTenant[tenant] == 0 {
		delete(o.byTenant, tenant)
	}
}

func (o *sessions) byKey() map[string][]*session {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := make(map[string][]*session)
	for s := range o.open {
		keys[s.key] = append(keys[s.key], s)
	}
	return keys
}

// authenticate finds out who calls.
func (b *Broker) authenticate(ctx context.Context) (key string, c outbox.Credential, err error) {
	if key, err = keyOf(ctx); err != nil {
		return "", c, err
	}
	if c, err = b.keys.check(ctx, key); err == nil && b.intake.rules.of(c.Tenant) == HeldRules {
		err = errHeld
	}
	return key, c, err
}
