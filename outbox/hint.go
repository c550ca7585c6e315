package outbox

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

// Hint is a wake-up between processes. It is never more than that: whoever misses
// one finds the same by polling.
type Hint struct {
	Lanes         []int16 `json:"lanes,omitempty"`
	Configuration bool    `json:"configuration,omitempty"`
	// Controls: an operator holds something or has let go of it, or a breaker has turned.
	Controls bool `json:"controls,omitempty"`
	// Releases: an exception was resolved while it held deliveries (see [ReleaseAnswered]).
	Releases bool `json:"releases,omitempty"`
	// Mappings: somebody's mapping tables have changed.
	Mappings bool `json:"mappings,omitempty"`
}

const (
	hintChannel = "raffsync"
	listenSQL   = `LISTEN ` + hintChannel
	notifySQL   = `SELECT pg_notify('` + hintChannel + `', $1)`
)

// hints gathers what is to be told, so that many commits cost one NOTIFY, which
// takes a lock over the whole database and so never stands in their transactions.
type hints struct {
	mu       sync.Mutex
	lanes    map[int16]bool
	config   bool
	controls bool
	releases bool
	mappings bool
	pending  chan struct{} // made by RunHints; nil while it does not run
}

// Hint tells all processes, soon and without waiting. It does nothing while
// [Store.RunHints] does not run.
func (s *Store) Hint(h Hint) {
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	if s.hints.pending == nil {
		return
	}
	for _, lane := range h.Lanes {
		s.hints.lanes[lane] = true
	}
	s.hints.config = s.hints.config || h.Configuration
	s.hints.controls = s.hints.controls || h.Controls
	s.hints.releases = s.hints.releases || h.Releases
	s.hints.mappings = s.hints.mappings || h.Mappings
	select {
	case s.hints.pending <- struct{}{}:
	default:
	}
}

// RunHints sends what [Store.Hint] gathers, and calls receive for what any process
// sends, this one included, until the context ends. It reconnects by itself.
func (s *Store) RunHints(ctx context.Context, log *slog.Logger, receive func(Hint)) error {
	pending := make(chan struct{}, 1)
	s.hints.mu.Lock()
	s.hints.lanes, s.hints.pending = make(map[int16]bool), pending
	s.hints.mu.Unlock()
	defer func() {
		s.hints.mu.Lock()
		s.hints.pending = nil
		s.hints.mu.Unlock()
	}()
	var wg sync.WaitGroup
	wg.Go(func() { s.sendHints(ctx, pending) })
	defer wg.Wait()
	for ctx.Err() == nil {
		if err := s.listen(ctx, receive); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "hints are interrupted; polling goes on", "error", err)
			waitFor(ctx, time.Second)
		}
	}
	return nil
}

func (s *Store) sendHints(ctx context.Context, pending <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-pending:
		}
		s.hints.mu.Lock()
		var h Hint
		for lane := range s.hints.lanes {
			h.Lanes = append(h.Lanes, lane)
		}
		h.Configuration, h.Controls = s.hints.config, s.hints.controls
		h.Releases, h.Mappings = s.hints.releases, s.hints.mappings
		clear(s.hints.lanes)
		s.hints.config, s.hints.controls, s.hints.releases, s.hints.mappings = false, false, false, false
		s.hints.mu.Unlock()
		payload, err := json.Marshal(h)
		if err == nil {
			// A hint that is lost costs a polling interval.
			_, _ = s.engine.Exec(ctx, notifySQL, string(payload))
		}
		waitFor(ctx, 10*time.Millisecond)
	}
}

func (s *Store) listen(ctx context.Context, receive func(Hint)) error {
	conn, err := s.connect(ctx, sessionConfig{application: "raffsync hints", role: "raffsync_engine"}, nil)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, listenSQL); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var h Hint
		if json.Unmarshal([]byte(n.Payload), &h) == nil {
			receive(h)
		}
	}
}

func waitFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
