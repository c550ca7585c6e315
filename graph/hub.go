package graph

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

const (
	pollEvery = 500 * time.Millisecond
	// pollGap is the least time between two polls of a tenant, however often poked.
	pollGap = 100 * time.Millisecond
	// pollTimeout bounds one poll; after one that failed the next waits for it.
	pollTimeout = 5 * time.Second
	// mostWindow bounds the entries that are remembered between the horizon and now.
	mostWindow = 20_000
	// mostBehind bounds what a cursor may go on from.
	mostBehind = 10_000
	// batchSize bounds the entries of one batch of the feed.
	batchSize = 500
	// bufferedBatches is how far a reader may fall behind.
	bufferedBatches = 16

	mostSubscribers       = 512
	mostSubscribersTenant = 64
)

// hub is the live feed of this process. One goroutine polls for each tenant that
// anybody watches.
type hub struct {
	view *view.View
	log  *slog.Logger

	mu          sync.Mutex
	feeds       map[string]*feed
	subscribers int
	group       *errgroup.Group // nil while Run is not under way
	ctx         context.Context
}

func newHub(v *view.View, log *slog.Logger) *hub {
	return &hub{view: v, log: log, feeds: make(map[string]*feed)}
}

// Run polls for those who subscribe, until the context ends; then it ends them.
func (h *hub) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	h.mu.Lock()
	h.group, h.ctx = group, groupCtx
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.group = nil
	h.mu.Unlock()
	return group.Wait()
}

// Poke says that something has happened, so that nobody waits for the next poll.
func (h *hub) Poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		f.poke()
	}
}

// subscriber is one reader of a tenant's feed. The feed fills batches and never
// waits; when it closes them, ended says why.
type subscriber struct {
	batches chan *model.Changes
	lagged  bool // read once batches is closed
}

var errStopping = &callerError{codeUnavailable, "this process is starting or stopping; try again"}

// join adds a reader to the tenant's feed.
func (h *hub) join(tenant string) (*feed, *subscriber, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.group == nil {
		return nil, nil, errStopping
	}
	if h.subscribers >= mostSubscribers {
		return nil, nil, tooMany("subscriptions of this process", mostSubscribers)
	}
	f := h.feeds[tenant]
	if f == nil {
		f = newFeed(h, tenant)
		h.feeds[tenant] = f
		h.group.Go(func() error { f.run(h.ctx); return nil })
	}
	if len(f.readers) >= mostSubscribersTenant {
		return nil, nil, tooMany("subscriptions of this tenant", mostSubscribersTenant)
	}
	s := &subscriber{batches: make(chan *model.Changes, bufferedBatches)}
	f.readers[s] = struct{}{}
	h.subscribers++
	return f, s, nil
}

// leave removes a reader that has not been ended.
func (h *hub) leave(f *feed, s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(f, s, false)
}

// end closes a reader's batches. The hub is locked.
func (h *hub) end(f *feed, s *subscriber, lagged bool) {
	if _, there := f.readers[s]; !there {
		return
	}
	delete(f.readers, s)
	h.subscribers--
	s.lagged = lagged
	close(s.batches)
}

// broadcast gives a batch to each reader of the feed that has room for it, and ends
// the others.
func (h *hub) broadcast(f *feed, batch *model.Changes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range f.readers {
		select {
		case s.batches <- batch:
		default:
			h.end(f, s, true)
		}
	}
}

// endAll ends every reader of the feed.
func (h *hub) endAll(f *feed, lagged bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range f.readers {
		h.end(f, s, lagged)
	}
}

// retire takes the feed away if nobody reads it any more.
func (h *hub) retire(f *feed) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(f.readers) > 0 {
		return false
	}
	delete(h.feeds, f.tenant)
	return true
}
