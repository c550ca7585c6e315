package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Answer says what a change of a tenant's mapping tables may have answered.
type Answer struct {
	Tenant string
	// Version of the mappings with the change.
	Version int64
	// Actor made the change, for Reason.
	Actor, Reason string
	// Tables that have changed; nil: any.
	Tables []string
	// Values that have changed, of all these tables; nil: any, as after a default was set,
	// which answers every value.
	Values []string
}

// Released is what an [Answer] sets free.
type Released struct {
	// Exceptions that are resolved by it.
	Exceptions int64
	// Deliveries that these held. One that hangs on another cause besides goes on holding.
	Deliveries int64
}

const (
	lockMappingVersionSQL = `SELECT version FROM mapping_versions WHERE tenant = $1 FOR UPDATE`

	// releaseAnsweredSQL resolves what the tables answer as they are now: by the
	// destination's own entries, by those that all share, by a default. $6 are the codes of
	// values.
	releaseAnsweredSQL = `
WITH answered AS MATERIALIZED (
  SELECT x.id FROM exceptions x
   WHERE x.tenant = $1 AND x.closed_at IS NULL AND x.looked_up IS NOT NULL AND ($5::text[] IS NULL OR x.field = ANY ($5)) AND ($6::text[] IS NULL OR x.code = ANY ($6))` + resolveAnswered

	// releaseValuesSQL is the same for a few values, with an index: however many others lack
	// one.
	releaseValuesSQL = `
WITH answered AS MATERIALIZED (
  SELECT x.id FROM exceptions x
   WHERE x.tenant = $1 AND x.closed_at IS NULL AND x.looked_up IS NOT NULL AND x.field = ANY ($5::text[]) AND x.code = ANY ($6::text[])` + resolveAnswered

	resolveAnswered = `
     AND EXISTS (
       SELECT FROM mapping_entries e
        WHERE e.tenant = x.tenant AND e.name = x.field AND e.destination = ANY (ARRAY[x.destination, 0]) AND e.value = ANY (ARRAY[x.looked_up, '']))
   ORDER BY ` + lockOrder + ` FOR UPDATE
), resolved AS (
  UPDATE exceptions x SET status = 'RESOLVED', closed_at = now(), version = x.version + 1 FROM answered WHERE x.id = answered.id
  RETURNING x.tenant, x.id, x.destination, x.held
), queued AS (
  INSERT INTO releases (exception, tenant, actor, reason) SELECT id, tenant, $2, $3 FROM resolved WHERE held > 0
), told AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason, actor, detail)
  SELECT tenant, id, destination, 'resolved', $3, $2, jsonb_build_object('mappings', $4::bigint) FROM resolved
)
SELECT count(*), coalesce(sum(held), 0)::bigint FROM resolved`
)

// ReleaseAnswered resolves every exception of a look-up that the tenant's mapping tables
// answer now, in the transaction that has changed them, by one statement however many
// there are. The owners of lanes set free what these hold once it is committed; see
// [Replica.ReleaseAll].
//
// It locks the version of the tenant's mappings: whoever would hold a delivery because of
// what is being changed has done so before, and is found here, or prepares it again.
// Called after the last entry is stored; the version may be raised before or after.
// Whoever commits gives [Hint] Releases; without it they are found within a second.
func ReleaseAnswered(ctx context.Context, tx pgx.Tx, a Answer) (Released, error) {
	sql, codes := releaseAnsweredSQL, []string(nil)
	if len(a.Values) > 0 && !slices.Contains(a.Values, "") {
		for _, value := range a.Values {
			codes = append(codes, causeOfValue(value))
		}
		if len(a.Tables) > 0 {
			sql = releaseValuesSQL
		}
	}
	var done Released
	err := lockMappingVersion(ctx, tx, a.Tenant)
	if err == nil {
		err = tx.QueryRow(ctx, sql, a.Tenant, a.Actor, a.Reason, a.Version, a.Tables, codes).Scan(&done.Exceptions, &done.Deliveries)
	}
	if err != nil {
		return Released{}, fmt.Errorf("release what the mappings answer: %w", err)
	}
	return done, nil
}

func lockMappingVersion(ctx context.Context, tx pgx.Tx, tenant string) error {
	var version int64
	err := tx.QueryRow(ctx, lockMappingVersionSQL, tenant).Scan(&version)
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if _, err := tx.Exec(ctx, makeMappingVersionsSQL, []string{tenant}); err != nil {
		return err
	}
	return tx.QueryRow(ctx, lockMappingVersionSQL, tenant).Scan(&version)
}

const (
	releasesSQL = `SELECT exception, actor, reason, skips FROM releases WHERE exception > $1 ORDER BY exception LIMIT $2`

	// lockOwnLanesOfSQL is [fenceSQL] for work that may leave out what is not held any
	// more.
	lockOwnLanesOfSQL = `
SELECT l.lane FROM lanes l JOIN unnest($2::smallint[]) AS f(lane) ON f.lane = l.lane WHERE l.replica = $1 ORDER BY l.lane FOR KEY SHARE OF l`

	unholdPageSQL = `
WITH gone AS (
  DELETE FROM holds WHERE ctid = ANY (ARRAY(
    SELECT h.ctid
      FROM unnest($1::bigint[]) AS x(exception)
     CROSS JOIN unnest($2::smallint[]) AS l(lane)
     CROSS JOIN LATERAL (
       SELECT holds.ctid FROM holds WHERE holds.exception = x.exception AND holds.lane = l.lane ORDER BY holds.destination, holds.seq LIMIT $3) AS h
     LIMIT $3))
  RETURNING exception, lane, destination, seq, currency, amount, units, blocks, event_at, outlet
)
SELECT exception, lane, destination, seq, ` + heldColumns + ` FROM gone`

	// freeSQL sets free what nothing holds any more. It starts anew, as with an operator's
	// retry (see retrySQL). What something else holds is listed under that. A delivery is
	// found by the next place from its own on: only the primary key can be searched so.
	freeSQL = `
WITH members AS MATERIALIZED (
  SELECT d.place, f.exception, f.reason, f.actor, o.exception AS other
    FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS f(lane, destination, seq, exception, reason, actor)
   CROSS JOIN LATERAL (
     SELECT ctid AS place, lane, destination, seq FROM deliveries WHERE (lane, destination, seq) >= (f.lane, f.destination, f.seq)
      ORDER BY lane, destination, seq LIMIT 1) AS d
    LEFT JOIN LATERAL (
     SELECT holds.exception, EXISTS (SELECT FROM releases WHERE releases.exception = holds.exception) AS leaving
       FROM holds WHERE holds.lane = f.lane AND holds.destination = f.destination AND holds.seq = f.seq
      ORDER BY leaving, holds.exception LIMIT 1) AS o ON true
   WHERE d.lane = f.lane AND d.destination = f.destination AND d.seq = f.seq
), moved AS (
  UPDATE deliveries d SET exception = m.other FROM members m WHERE d.ctid = m.place AND d.state = 2 AND d.exception <> m.other
), freed AS (
  UPDATE deliveries d
     SET state = 0, due_at = NULL, exception = NULL, attempts = 0, tried_at = NULL, version = d.version + 1,
         revision = d.revision + CASE WHEN d.requests > 0 AND d.unknown_at IS NULL AND d.revision < 32767 THEN 1 ELSE 0 END
    FROM members m
   WHERE d.ctid = m.place AND d.state = 2 AND m.other IS NULL
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.key_hash, d.replay, d.step, m.exception, m.reason, m.actor
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM freed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, exception, 'release', 'PENDING', reason, actor FROM freed
)
SELECT tenant, destination, count(*) FROM freed GROUP BY tenant, destination ORDER BY tenant, destination`

	countFreedSQL = `
INSERT INTO tallies (tenant, destination, shard, needs_action)
SELECT tenant, destination, $4, -n FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS f(tenant, destination, n)
ON CONFLICT (tenant, destination, shard) DO UPDATE SET needs_action = tallies.needs_action + excluded.needs_action`
)

// Bounds of one page.
const (
	releaseCauses = 256
	releaseRows   = 1000
)

// releases are exceptions that were resolved while they held deliveries.
type releases struct {
	exceptions []int64
	of         map[int64]releaseOrder
}

type releaseOrder struct {
	actor  *string
	reason string
	skips  bool // it was dismissed
}

// ReleaseAll sets free what resolved exceptions hold in these lanes, and nothing else
// holds, in pages: each delivery goes on in the order of its key, with all its attempts
// before it, and what is proven to have had no effect gets a new revision. Lanes that the
// replica does not hold any more are left to their owner. Whatever stops it, what is
// stored stays, and the next call goes on. It returns how many were set free.
func (r *Replica) ReleaseAll(ctx context.Context, lanes []int16) (freed int, err error) {
	for after := int64(0); ; {
		page, err := r.releasesAfter(ctx, after)
		if err != nil || len(page.exceptions) == 0 {
			return freed, err
		}
		for {
			n, taken, err := r.releasePage(ctx, lanes, page)
			if err != nil {
				return freed, fmt.Errorf("release what was held: %w", err)
			}
			freed += n
			if taken < releaseRows {
				break
			}
		}
		after = page.exceptions[len(page.exceptions)-1]
	}
}

func (r *Replica) releasesAfter(ctx context.Context, after int64) (page releases, err error) {
	rows, err := r.pool.Query(ctx, releasesSQL, after, releaseCauses)
	if err != nil {
		return page, fmt.Errorf("look for releases: %w", err)
	}
	page.of = make(map[int64]releaseOrder)
	var exception int64
	var order releaseOrder
	_, err = pgx.ForEachRow(rows, []any{&exception, &order.actor, &order.reason, &order.skips}, func() error {
		page.exceptions = append(page.exceptions, exception)
		page.of[exception] = order
		order.actor = nil // not to be shared with the next row
		return nil
	})
	if err != nil {
		return page, fmt.Errorf("look for releases: %w", err)
	}
	return page, nil
}

// releasePage takes a page of members off the exceptions, and sets free what nothing else
// holds.
func (r *Replica) releasePage(ctx context.Context, lanes []int16, page releases) (freed, taken int, err error) {
	err = pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, lockOwnLanesOfSQL, r.id, lanes)
		if err != nil {
			return err
		}
		own, err := pgx.CollectRows(rows, pgx.RowTo[int16])
		if err != nil || len(own) == 0 {
			return err
		}
		if rows, err = tx.Query(ctx, unholdPageSQL, page.exceptions, own, releaseRows); err != nil {
			return err
		}
		members, err := pgx.CollectRows(rows, pgx.RowToStructByPos[heldMember])
		if err != nil || len(members) == 0 {
			return err
		}
		taken = len(members)
		freed, err = r.free(ctx, tx, members, page)
		return err
	})
	return freed, taken, err
}

// heldMember is a delivery that was taken off an exception.
type heldMember struct {
	Exception   int64
	Lane        int16
	Destination int32
	Seq         Seq
	// As in [unheld].
	Currency, Amount, Units *string
	Blocks                  bool
	EventAt                 *time.Time
	Outlet                  string
}

// setFree is what becomes of a page of members.
type setFree struct {
	tenants      []string // of each destination that lost some
	destinations []int32
	counts       []int64
	n            int
}

// free lets go of members: those of dismissed exceptions are skipped, the others go on
// where nothing else holds them.
func (r *Replica) free(ctx context.Context, tx pgx.Tx, members []heldMember, page releases) (int, error) {
	var gone []unheld
	var released, skipped memberColumns
	skips := make(map[Position]bool)
	for _, m := range members {
		gone = append(gone, unheld{m.Exception, 1, m.Currency, m.Amount, m.Units, m.Blocks, m.EventAt, m.Outlet})
		if page.of[m.Exception].skips {
			skips[m.position()] = true
			skipped.add(m, page)
		}
	}
	for _, m := range members {
		if !skips[m.position()] { // else two of its causes go at once, and one takes it along
			released.add(m, page)
		}
	}
	also, over, err := skipped.skip(ctx, tx)
	if err != nil {
		return 0, err
	}
	freed, err := released.free(ctx, tx)
	if err != nil {
		return 0, err
	}
	if err := unhold(ctx, tx, append(gone, also...), "nothing is held any more", nil); err != nil {
		return 0, err
	}
	if freed.n > 0 {
		if _, err := tx.Exec(ctx, countFreedSQL, freed.tenants, freed.destinations, freed.counts, r.shard); err != nil {
			return 0, err
		}
	}
	if over.n > 0 {
		if _, err := tx.Exec(ctx, countSkippedSQL, over.tenants, over.destinations, over.counts, r.shard); err != nil {
			return 0, err
		}
	}
	return freed.n, nil
}
