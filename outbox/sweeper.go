package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Sweeper looks for what happens without anybody doing something: deliveries that take
// too long, sources that have fallen silent. Each replica has one, and they need not
// agree: whatever one of them stores, another would have stored too, and it is stored
// once. One goroutine uses it.
type Sweeper struct {
	store *Store
	pool  *pgxpool.Pool
	late  lateWalk
}

// OpenSweeper makes a sweeper, with sessions of its own: so that it waits for nobody,
// and its plans are those of the dispatcher.
func (s *Store) OpenSweeper(ctx context.Context) (*Sweeper, error) {
	pool, err := s.pool(ctx, sessionConfig{application: "raffsync sweeper", role: "raffsync_engine", conns: 2, settings: dispatchSettings})
	if err != nil {
		return nil, fmt.Errorf("open a sweeper: %w", err)
	}
	return &Sweeper{store: s, pool: pool}, nil
}

// Close ends its sessions.
func (w *Sweeper) Close() { w.pool.Close() }
