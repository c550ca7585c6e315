package outbox

import (
	"context"
	"fmt"
)

const (
	buryAllSQL       = `UPDATE replicas SET lease_until = LEAST(lease_until, clock_timestamp())`
	buryProcessesSQL = `UPDATE processes SET alive_until = LEAST(alive_until, clock_timestamp())`
)

// BuryReplicas ends the lease of every replica that is registered, so that nobody
// waits for it to run out. Only for a process that is alone with the database, as
// the owner of an embedded Postgres is: whoever was registered has died, and what it
// had on the wire died with it.
func (s *Store) BuryReplicas(ctx context.Context) error {
	for _, sql := range []string{buryAllSQL, buryProcessesSQL} {
		if _, err := s.engine.Exec(ctx, sql); err != nil {
			return fmt.Errorf("end the leases of the dead: %w", err)
		}
	}
	return nil
}
