package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Lease is a lane held at an epoch.
type Lease struct {
	Lane  int16
	Epoch int64
}

const (
	// rosterSQL tells who is there: whether the asker is alive, how many are, how many of
	// them are older than the asker, and whether any is late.
	rosterSQL = `
SELECT coalesce(bool_or(alive) FILTER (WHERE id = $1), false) AS self,
       count(*) FILTER (WHERE alive)::integer AS live,
       count(*) FILTER (WHERE alive AND id < $1)::integer AS rank,
       coalesce(bool_or(NOT alive), false) AS late
  FROM (SELECT id, lease_until > clock_timestamp() AS alive FROM replicas) AS r`

	// pronounceDeadSQL settles it: who is late by now renews never again. A renewal that
	// is being committed is waited for, and wins.
	pronounceDeadSQL = `UPDATE replicas SET lease_until = '-infinity' WHERE id <> $1 AND lease_until <= clock_timestamp() RETURNING id, application`

	endSessionsSQL = `
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ANY($1) AND datname = current_database()`

	// takeLanesSQL: a holder that is not even registered took its lanes in the moment in
	// which it was forgotten. The asker itself may have taken lanes and never have heard
	// that it did: nobody else would take those while it lives.
	takeLanesSQL = `
WITH free AS MATERIALIZED (
  SELECT lane FROM lanes
   WHERE replica IS NULL OR replica = ANY($2) OR replica = $1 AND lane <> ALL($4) OR NOT EXISTS (SELECT FROM replicas WHERE id = lanes.replica)
   ORDER BY lane LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE lanes l SET replica = $1, epoch = epoch + 1 FROM free WHERE l.lane = free.lane RETURNING l.lane, l.epoch`

	forgetDeadSQL = `
WITH gone AS (
  DELETE FROM replicas r WHERE id = ANY($1) AND NOT EXISTS (SELECT FROM lanes l WHERE l.replica = r.id) RETURNING id
), unshared AS (
  DELETE FROM shares USING gone WHERE shares.replica = gone.id
)
DELETE FROM breakers USING gone WHERE breakers.replica = gone.id`

	releaseSQL = `
WITH mine AS MATERIALIZED (
  SELECT l.lane FROM lanes l JOIN unnest($2::smallint[], $3::bigint[]) AS f(lane, epoch) ON f.lane = l.lane AND f.epoch = l.epoch
   WHERE l.replica = $1 ORDER BY l.lane FOR UPDATE OF l
)
UPDATE lanes l SET replica = NULL, epoch = epoch + 1 FROM mine WHERE l.lane = mine.lane`
)

// Spread takes lanes that nobody holds, or whose holder is dead, up to a fair share
// of all. It returns what it took, and how many of those held it should release for
// others to take. Where the lanes do not divide evenly, the oldest replicas have one
// more. [ErrLeaseLost]: the replica itself is late. After any other error it may hold
// lanes that it does not know of; the next call finds them.
//
// A dead holder's sessions are ended first: a client that stalls in the middle of a
// statement outlives every time-out otherwise. A lane on which something of it is
// still being stored is left for the next call.
func (r *Replica) Spread(ctx context.Context, held []int16) (taken []Lease, excess int, err error) {
	var self, late bool
	var live, rank int
	if err := r.pool.QueryRow(ctx, rosterSQL, r.id).Scan(&self, &live, &rank, &late); err != nil {
		return nil, 0, fmt.Errorf("look for lanes: %w", err)
	}
	if !self {
		return nil, 0, ErrLeaseLost
	}
	share := r.store.lanes / live
	if rank < r.store.lanes%live {
		share++
	}
	if len(held) > share {
		return nil, len(held) - share, nil
	}
	if len(held) == share && !late {
		return nil, 0, nil
	}
	dead, err := r.bury(ctx)
	if err != nil {
		return nil, 0, err
	}
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, takeLanesSQL, r.id, dead, share-len(held), held)
		if err != nil {
			return err
		}
		if taken, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Lease]); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, forgetDeadSQL, dead)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("take lanes: %w", err)
	}
	return taken, 0, nil
}

// bury finds the dead. When it returns, every session that they had is gone. A process
// that does not know yet may open another: what it stores there counts until its lane
// is taken, and is refused from then on.
func (r *Replica) bury(ctx context.Context) ([]int64, error) {
	dead := []int64{} // never NULL
	var applications []string
	rows, err := r.pool.Query(ctx, pronounceDeadSQL, r.id)
	if err != nil {
		return nil, fmt.Errorf("look for the dead: %w", err)
	}
	var id int64
	var application string
	_, err = pgx.ForEachRow(rows, []any{&id, &application}, func() error {
		dead, applications = append(dead, id), append(applications, application)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for the dead: %w", err)
	}
	return dead, r.store.endSessions(ctx, applications)
}

// endSessions ends every session of these applications, and returns once they are
// gone.
func (s *Store) endSessions(ctx context.Context, applications []string) error {
	if len(applications) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		var left int
		if err := s.admin.QueryRow(ctx, endSessionsSQL, applications).Scan(&left); err != nil {
			return fmt.Errorf("end the sessions of a dead replica: %w", err)
		}
		if left == 0 {
			return nil
		}
		waitFor(ctx, 20*time.Millisecond)
	}
}

// Release hands lanes back for others to take. One that is not held at its epoch any
// more is left alone.
func (r *Replica) Release(ctx context.Context, leases []Lease) error {
	lanes, epochs := fenceArguments(leases)
	if _, err := r.pool.Exec(ctx, releaseSQL, r.id, lanes, epochs); err != nil {
		return fmt.Errorf("release lanes: %w", err)
	}
	return nil
}
