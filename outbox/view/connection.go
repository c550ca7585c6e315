package view

import (
	"context"
	"time"
)

// Connection is how a destination's authorisation at its platform stands. What is kept of
// it cannot be read by this role.
type Connection struct {
	Destination int32
	Connected   bool
	ConnectedBy *string
	ConnectedAt *time.Time
	RenewedAt   *time.Time
	ExpiresAt   *time.Time
	RenewBy     *time.Time
	Problem     *string
	ProblemAt   *time.Time
	Revoked     bool
}

var connectionsOfDestinations = register("connections", `
SELECT destination, renewed_at IS NOT NULL AS connected, connected_by, connected_at, renewed_at, expires_at, renew_by, problem, problem_at, revoked
  FROM connections`)

// connections are those of the tenant's destinations, by their numbers.
func (t *Tx) connections(ctx context.Context) (map[int32]*Connection, error) {
	rows, err := collect[Connection](ctx, t, "connections", connectionsOfDestinations)
	found := make(map[int32]*Connection, len(rows))
	for _, r := range rows {
		found[r.Destination] = r
	}
	return found, err
}
