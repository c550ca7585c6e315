package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const throttleColumns = `destination, breaker, turn, reason, since, probe_at, prober, probe_until, paced_until,
  rate_at, rate_free_at, quota_limit, quota_used, quota_until, retry_from, retry_firsts, retry_granted`

func (t *Throttle) targets() []any {
	return []any{
		&t.Destination, &t.Breaker, &t.Turn, &t.Reason, &t.Since, &t.ProbeAt, &t.Prober, &t.ProbeUntil, &t.PacedUntil,
		&t.rateAt, &t.rateFreeAt, &t.quotaLimit, &t.quotaUsed, &t.quotaUntil, &t.retryFrom, &t.retryFirsts, &t.retryGranted,
	}
}

const (
	makeThrottlesSQL = `
INSERT INTO throttles (destination, tenant) SELECT * FROM unnest($1::integer[], $2::text[]) AS u(destination, tenant) ORDER BY 1
ON CONFLICT (destination) DO NOTHING`

	throttlesSQL     = `SELECT ` + throttleColumns + ` FROM throttles WHERE destination = ANY ($1) ORDER BY destination`
	lockThrottlesSQL = throttlesSQL + ` FOR UPDATE`

	// sharesSQL leaves out those of the dead. The time is that after the rows were locked.
	sharesSQL = `
SELECT s.destination, s.replica, s.slots, s.wanted, s.busy
  FROM shares s JOIN replicas r ON r.id = s.replica AND r.lease_until > clock_timestamp()
 WHERE s.destination = ANY ($1) ORDER BY s.destination, s.replica`
	clockSQL = `SELECT clock_timestamp()`

	storeThrottleSQL = `
WITH before AS (
  SELECT turn FROM throttles WHERE destination = $1
), stored AS (
  UPDATE throttles
     SET breaker = $2, turn = $3, reason = $4, since = $5, probe_at = $6, prober = $7, probe_until = $8, rate_at = $9, rate_free_at = $10,
         quota_limit = $11, quota_used = $12, quota_until = $13, retry_from = $14, retry_firsts = $15, retry_granted = $16, paced_until = $17
   WHERE destination = $1
  RETURNING tenant
)
INSERT INTO timeline (tenant, destination, what, reason)
SELECT tenant, $1, 'breaker', lower($2) || ': ' || $4 FROM stored WHERE (SELECT turn FROM before) <> $3`

	storeShareSQL = `
INSERT INTO shares (destination, replica, tenant, slots, wanted, busy) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (destination, replica) DO UPDATE SET slots = excluded.slots, wanted = excluded.wanted, busy = excluded.busy`

	forgetSharesSQL = `DELETE FROM shares WHERE replica = $1`
)

// Exchange asks for what the replica wants of destinations, and returns what it gets, in
// the order of the asks, which name no destination twice. Mostly nothing would change:
// then nothing is locked or written.
//
// After an error it is not known what was stored: what was asked for may be leased, and
// is lost; slots stay the replica's own until it asks again.
func (r *Replica) Exchange(ctx context.Context, asks []Ask) ([]Grant, error) {
	destinations, tenants := make([]int32, len(asks)), make([]string, len(asks))
	for i := range asks {
		destinations[i], tenants[i] = asks[i].Destination, asks[i].Tenant
		asks[i].Reason = storable(asks[i].Reason)
	}
	x := exchange{replica: r.id, asks: asks}
	if err := x.read(ctx, r.pool, throttlesSQL, destinations); err != nil {
		return nil, fmt.Errorf("look at limits: %w", err)
	}
	if x.answer() && x.unchanged() {
		return x.grants, nil
	}
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, makeThrottlesSQL, destinations, tenants); err != nil {
			return err
		}
		if err := x.read(ctx, tx, lockThrottlesSQL, destinations); err != nil {
			return err
		}
		x.answer()
		return x.store(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("lease of limits: %w", err)
	}
	return x.grants, nil
}

// exchange is one reading of what is shared, and what it makes of the asks.
type exchange struct {
	replica int64
	asks    []Ask

	now    time.Time
	rows   map[int32]Throttle
	shares map[int32][]share

	grants []Grant
	mine   []share
}

type batcher interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

func (x *exchange) read(ctx context.Context, db batcher, throttles string, destinations []int32) error {
	x.rows, x.shares = make(map[int32]Throttle), make(map[int32][]share)
	batch := &pgx.Batch{}
	batch.Queue(throttles, destinations).Query(func(rows pgx.Rows) error {
		var t Throttle
		_, err := pgx.ForEachRow(rows, t.targets(), func() error { x.rows[t.Destination] = t; return nil })
		return err
	})
	batch.Queue(sharesSQL, destinations).Query(func(rows pgx.Rows) error {
		var destination int32
		var s share
		_, err := pgx.ForEachRow(rows, []any{&destination, &s.replica, &s.slots, &s.wanted, &s.busy}, func() error {
			x.shares[destination] = append(x.shares[destination], s)
			return nil
		})
		return err
	})
	batch.Queue(clockSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&x.now) })
	return db.SendBatch(ctx, batch).Close()
}

// answer works out the grants, and tells whether there is a row for each.
func (x *exchange) answer() (complete bool) {
	x.grants, x.mine = make([]Grant, len(x.asks)), make([]share, len(x.asks))
	complete = true
	for i := range x.asks {
		a := &x.asks[i]
		t, found := x.rows[a.Destination]
		complete = complete && found
		x.grants[i], x.mine[i] = t.lease(a, x.shares[a.Destination], x.replica, x.now)
	}
	return complete
}

func (x *exchange) unchanged() bool {
	for i := range x.asks {
		if x.rowChanged(i) || x.shareChanged(i) {
			return false
		}
	}
	return true
}

func (x *exchange) rowChanged(i int) bool {
	return x.grants[i].Throttle != x.rows[x.asks[i].Destination]
}

func (x *exchange) shareChanged(i int) bool {
	for _, s := range x.shares[x.asks[i].Destination] {
		if s == x.mine[i] {
			return false
		}
	}
	return true
}

func (x *exchange) store(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	for i := range x.asks {
		a, t, s := &x.asks[i], &x.grants[i].Throttle, x.mine[i]
		if x.rowChanged(i) {
			batch.Queue(storeThrottleSQL, t.Destination, t.Breaker, t.Turn, t.Reason, t.Since, t.ProbeAt, t.Prober, t.ProbeUntil,
				t.rateAt, t.rateFreeAt, t.quotaLimit, t.quotaUsed, t.quotaUntil, t.retryFrom, t.retryFirsts, t.retryGranted, t.PacedUntil)
		}
		if x.shareChanged(i) {
			batch.Queue(storeShareSQL, a.Destination, x.replica, a.Tenant, s.slots, s.wanted, s.busy)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}
