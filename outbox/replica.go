package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox/mutant"
)

// Replica is one incarnation of a dispatcher: a lease, the lanes that it holds, and
// sessions of its own, so that a successor can end them all by name.
//
//	Join ─▶ (Renew …) ─▶ Leave
//	           └─ silent for a lease ─▶ dead: its sessions are ended, its lanes taken
//
// A replica that was late once never renews again: it joins anew, as another.
type Replica struct {
	store *Store
	pool  *pgxpool.Pool
	id    int64
	shard int16

	batch atomic.Int64 // of intents
	lease atomic.Pointer[renewal]
}

// renewal is the last one that succeeded.
type renewal struct {
	asked    time.Time // on the local monotonic clock, before it was asked for
	answered time.Time // and after the answer had come
	by       time.Time // the database's clock in between
}

const (
	nextReplicaSQL = `SELECT nextval('replica_ids')`
	joinSQL        = `INSERT INTO replicas (id, application, lease_until) VALUES ($1, $2, clock_timestamp() + $3::interval) RETURNING clock_timestamp()`
	renewSQL       = `UPDATE replicas SET lease_until = clock_timestamp() + $2::interval WHERE id = $1 AND lease_until > clock_timestamp() RETURNING clock_timestamp()`
	expireSQL      = `UPDATE replicas SET lease_until = LEAST(lease_until, clock_timestamp()) WHERE id = $1`

	lockOwnLanesSQL    = `SELECT FROM lanes WHERE replica = $1 ORDER BY lane FOR UPDATE`
	freeOwnLanesSQL    = `UPDATE lanes SET replica = NULL, epoch = epoch + 1 WHERE replica = $1`
	forgetBreakersSQL  = `DELETE FROM breakers WHERE replica = $1`
	forgetReplicaSQL   = `DELETE FROM replicas WHERE id = $1`
	applicationPattern = "raffsync replica %d"
)

// dispatchSettings are those of a replica's sessions. Their statements join arrays of
// a few hundred rows to one large table each. The planner does not know the arrays,
// so it is told the only plan that is ever right.
var dispatchSettings = map[string]string{
	"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_mergejoin": "off", "enable_hashjoin": "off",
}

// Join registers a replica. It holds no lane yet.
func (s *Store) Join(ctx context.Context) (*Replica, error) {
	r := &Replica{store: s}
	if err := s.engine.QueryRow(ctx, nextReplicaSQL).Scan(&r.id); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	r.shard = int16((r.id*2 + 1) & 63)
	application := fmt.Sprintf(applicationPattern, r.id)
	var err error
	// More than are ever in use at once, so that a renewal waits for none.
	r.pool, err = s.pool(ctx, sessionConfig{application: application, role: "raffsync_engine", conns: 8, settings: dispatchSettings})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if err := s.durable(ctx, r.pool); err != nil {
		r.pool.Close()
		return nil, fmt.Errorf("join: %w", err)
	}
	granted := renewal{asked: time.Now()}
	if err := r.pool.QueryRow(ctx, joinSQL, r.id, application, s.config.Lease).Scan(&granted.by); err != nil {
		r.pool.Close()
		return nil, fmt.Errorf("join: %w", err)
	}
	granted.answered = time.Now()
	r.lease.Store(&granted)
	return r, nil
}

// Pool tells how its sessions are used.
func (r *Replica) Pool() *pgxpool.Stat { return r.pool.Stat() }

// ID is the number of this incarnation, never used again.
func (r *Replica) ID() int64 { return r.id }

// Deadline is when the lease ends at the latest, counted from before it was asked
// for: no request may be on the wire after it. It is of the local monotonic clock.
func (r *Replica) Deadline() time.Time { return r.lease.Load().asked.Add(r.store.config.Lease) }

// Now is the database's time, or a little earlier: by the round trip of the last renewal
// at most. So nothing that is waited for is ever taken for over too soon, however long
// Postgres took to answer. This machine's own idea of the time of day is not asked.
func (r *Replica) Now() time.Time {
	if mutant.On(mutant.LocalClock) {
		return time.Now()
	}
	granted := r.lease.Load()
	return granted.by.Add(time.Since(granted.answered))
}

// Latest is the database's time, or a little later: what must not come too late is
// held against it.
func (r *Replica) Latest() time.Time {
	granted := r.lease.Load()
	return granted.by.Add(time.Since(granted.asked))
}

// Renew prolongs the lease. [ErrLeaseLost] means that it ran out before: this
// incarnation is over. On a Postgres that may lose what it commits there is no renewal:
// an intent that is lost makes a request that nobody knows of.
func (r *Replica) Renew(ctx context.Context) error {
	if err := r.store.durable(ctx, r.pool); err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	granted := renewal{asked: time.Now()}
	err := r.pool.QueryRow(ctx, renewSQL, r.id, r.store.config.Lease).Scan(&granted.by)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrLeaseLost
	}
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	granted.answered = time.Now()
	r.lease.Store(&granted)
	return nil
}

// Leave hands back every lane and ends the lease and the sessions. Whoever calls it
// has waited for what was in flight.
func (r *Replica) Leave(ctx context.Context) error {
	defer r.pool.Close()
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		for _, sql := range []string{lockOwnLanesSQL, freeOwnLanesSQL, forgetBreakersSQL, forgetSharesSQL, forgetReplicaSQL} {
			if _, err := tx.Exec(ctx, sql, r.id); err != nil {
				return fmt.Errorf("leave: %w", err)
			}
		}
		return nil
	})
}

// Abandon gives the incarnation up without a word to Postgres, as a crash does: its
// lanes stay its own until the lease ends, unless [Replica.Expire] was stored.
func (r *Replica) Abandon() { r.pool.Close() }

// Expire ends the lease at once, so that a successor need not wait for it. Only for
// a replica with no request on the wire.
func (r *Replica) Expire(ctx context.Context) error {
	if _, err := r.pool.Exec(ctx, expireSQL, r.id); err != nil {
		return fmt.Errorf("end the lease: %w", err)
	}
	return nil
}
