package hooks

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Door leads into the broker in the same process.
type Door interface {
	// Dial connects to its Publish service.
	Dial(context.Context) (net.Conn, error)
	// Admit makes a key by which to send for a source, Dismiss ends it.
	Admit(tenant, source string, id int32) (key string)
	Dismiss(key string)
}

// Bounds of what waits for its acknowledgement, of each source. What a request gave up
// waiting for stays in line until it is acknowledged: it came first.
const (
	bufferEvents = 4096
	bufferBytes  = 16 << 20
)

// errUnavailable: nothing can be made durable now, or not in time.
var errUnavailable = errors.New("nothing can be made durable now")

// publisher streams the events of one source, in the order in which they are given to it,
// and tells each giver what became of its own.
type publisher struct {
	client *client.Client
	end    context.CancelFunc
	ended  chan struct{} // closed when the stream is over for good

	mu      sync.Mutex
	waiting map[*raffsyncv1.Event]chan client.Result
}

func newPublisher(door Door, s *Source, log *slog.Logger) (*publisher, error) {
	p := &publisher{ended: make(chan struct{}), waiting: make(map[*raffsyncv1.Event]chan client.Result)}
	key := door.Admit(s.Tenant, s.Name, s.ID)
	var err error
	p.client, err = client.New(client.Config{
		Dial: door.Dial, Key: key, Name: "webhook receiver", OnResult: p.told,
		BufferEvents: bufferEvents, BufferBytes: bufferBytes, RetryMin: 50 * time.Millisecond, RetryMax: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		door.Dismiss(key)
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	p.end = end
	go func() {
		defer close(p.ended)
		defer door.Dismiss(key)
		if err := p.client.Run(ctx); err != nil {
			log.WarnContext(ctx, "the stream of a webhook receiver has ended; the next webhook opens another", "tenant", s.Tenant, "source", s.Name, "error", err)
		}
	}()
	return p, nil
}

// told hands a result to whoever still waits for it.
func (p *publisher) told(e *raffsyncv1.Event, r client.Result) {
	p.mu.Lock()
	waits := p.waiting[e]
	delete(p.waiting, e)
	p.mu.Unlock()
	if waits != nil {
		waits <- r // it holds one
	}
}

// publish returns once the event is durable, or listed as invalid. After errUnavailable
// it may become so later: whoever sends it again gets a duplicate. An error of another
// kind is a [*client.EventError].
func (p *publisher) publish(ctx context.Context, e *raffsyncv1.Event) (client.Result, error) {
	waits := make(chan client.Result, 1)
	p.mu.Lock()
	p.waiting[e] = waits
	p.mu.Unlock()
	forget := func() {
		p.mu.Lock()
		delete(p.waiting, e)
		p.mu.Unlock()
	}
	if err := p.client.Send(ctx, e); err != nil {
		forget()
		var invalid *client.EventError
		if errors.As(err, &invalid) {
			return client.Result{}, err
		}
		return client.Result{}, errUnavailable
	}
	select {
	case r := <-waits:
		return r, nil
	case <-p.ended:
	case <-ctx.Done():
	}
	forget()
	select {
	case r := <-waits: // in this moment
		return r, nil
	default:
		return client.Result{}, errUnavailable
	}
}

func (p *publisher) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// publishers are those of the sources that something was received for.
type publishers struct {
	door Door
	log  *slog.Logger

	mu     sync.Mutex
	bySeat map[seat]*publisher
	closed bool
}

// seat is whom a publisher sends for.
type seat struct {
	tenant, source string
	id             int32
}

func (s *Source) seat() seat { return seat{s.Tenant, s.Name, s.ID} }

// of makes a source's publisher when it is first needed, and after it has ended.
func (all *publishers) of(s *Source) (*publisher, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed {
		return nil, errUnavailable
	}
	if p := all.bySeat[s.seat()]; p != nil && !p.over() {
		return p, nil
	}
	p, err := newPublisher(all.door, s, all.log)
	if err != nil {
		return nil, err
	}
	if all.bySeat == nil {
		all.bySeat = make(map[seat]*publisher)
	}
	all.bySeat[s.seat()] = p
	return p, nil
}

// keep ends the publishers of sources that are not there any more, once what they were
// given is acknowledged, or after a while.
func (all *publishers) keep(wanted map[seat]bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for at, p := range all.bySeat {
		if !wanted[at] {
			delete(all.bySeat, at)
			go p.close()
		}
	}
}

// closeTimeout is how long a publisher that is not needed any more may still take.
const closeTimeout = 5 * time.Second

func (p *publisher) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = p.client.Close(ctx) // what is left was acknowledged to nobody
	p.end()
	<-p.ended
}

// close ends all of them, at once.
func (all *publishers) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.closed = true
	for _, p := range all.bySeat {
		p.end()
	}
	for _, p := range all.bySeat {
		<-p.ended
	}
}
