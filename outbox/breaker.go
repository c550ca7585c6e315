package outbox

import (
	"context"
	"fmt"
	"time"
)

// BreakerRow is what a replica's breaker for a destination looks like to others.
type BreakerRow struct {
	Tenant      string
	Destination int32
	State       string // CLOSED, OPEN, HALF_OPEN
	Reason      string
	// ProbeIn is how long until it is tried again, where OPEN; PacedFor is how long
	// the platform asked to be left alone. Zero where not.
	ProbeIn, PacedFor time.Duration
}

const storeBreakerSQL = `
INSERT INTO breakers (tenant, destination, replica, state, reason, probe_at, paced_until)
VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval, clock_timestamp() + $7::interval)
ON CONFLICT (destination, replica) DO UPDATE
  SET state = excluded.state, reason = excluded.reason, probe_at = excluded.probe_at, paced_until = excluded.paced_until,
      since = CASE WHEN breakers.state = excluded.state THEN breakers.since ELSE now() END`

// StoreBreaker makes known how a replica's own breaker stands. The one that all share,
// and its timeline entries, are [Replica.Exchange]'s.
func (r *Replica) StoreBreaker(ctx context.Context, b BreakerRow) error {
	_, err := r.pool.Exec(ctx, storeBreakerSQL, b.Tenant, b.Destination, r.id, b.State, storable(b.Reason), interval(b.ProbeIn), interval(b.PacedFor))
	if err != nil {
		return fmt.Errorf("store a breaker: %w", err)
	}
	return nil
}

func interval(d time.Duration) *time.Duration {
	if d <= 0 {
		return nil
	}
	return &d
}
