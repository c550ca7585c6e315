package outbox

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/jackc/pgx/v5"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Restored is what a start after a restore found of one tenant.
type Restored struct {
	Tenant string
	// Paused destinations: every one of them, whoever paused it and when.
	Paused []string
	// Replays that ran, and are paused.
	Replays int
	// Unknown are the open deliveries whose next request waits until it is known what
	// became of an earlier one that the backup may not tell of.
	Unknown int64
}

// restoredReason is for whoever reads the timeline.
const restoredReason = "restored from a backup"

// restorePage is how many deliveries are looked at in one transaction.
const restorePage = 512

const (
	// aliveSQL: replicas send, processes take in.
	aliveSQL = `
SELECT (SELECT count(*) FROM replicas WHERE lease_until > clock_timestamp()) + (SELECT count(*) FROM processes WHERE alive_until > clock_timestamp())`

	tenantsSQL = `SELECT DISTINCT tenant FROM configuration ORDER BY tenant`

	// restoredDestinationsSQL has those that drain, too. Teams are told as before: their
	// addresses alone have a colon in their names, and a notice twice is better than never.
	restoredDestinationsSQL = `
SELECT d.name, EXISTS (SELECT FROM controls c WHERE c.tenant = d.tenant AND c.kind = 'destination' AND c.name = d.name) AS paused
  FROM destinations d WHERE d.tenant = $1 AND d.removed_at IS NULL AND position(':' IN d.name) = 0 ORDER BY d.name`

	runningReplaysSQL = `SELECT id FROM replays WHERE tenant = $1 AND state = 'RUNNING' ORDER BY id`

	// takeForUnknownSQL gives a page of one lane's open deliveries an intent of the time
	// that was lost, by replica 0, as one leaves it that died: so whoever takes the lane settles
	// it as of unknown outcome. The first such request was made after the acceptance, and
	// nobody knows when. One that needs action stays that, and is asked about first when it
	// is retried. One that waits since its outcome was unknown is as it should be, as is
	// all of it after an earlier call.
	takeForUnknownSQL = `
WITH page AS MATERIALIZED (
  SELECT lane, destination, seq, step, requests + 1 AS attempt, revision, tenant,
         state = 0 OR state = 1 AND (kind <> $5 OR unknown_at IS NULL) AS open
    FROM deliveries
   WHERE lane = $1 AND (destination, seq) > ($2, $3)
   ORDER BY destination, seq LIMIT $4
), marked AS (
  UPDATE deliveries d SET unknown_at = d.accepted_at FROM page p
   WHERE d.lane = p.lane AND d.destination = p.destination AND d.seq = p.seq AND d.unknown_at IS NULL
), intended AS (
  INSERT INTO intents (replica, batch, lanes, destinations, seqs, steps, attempts, revisions)
  SELECT 0, (SELECT coalesce(max(batch), 0) + 1 FROM intents WHERE replica = 0),
         array_agg(lane), array_agg(destination), array_agg(seq), array_agg(step), array_agg(attempt), array_agg(revision)
    FROM page WHERE open HAVING count(*) > 0
)
SELECT destination, seq, tenant, open FROM page ORDER BY destination, seq`

	// renumberReplaysSQL: the number of a replay is part of its idempotency keys, and the
	// replays that the backup does not tell of have had some. So it goes on at the seconds
	// since 2026 began, where no clock of before has been: replays are asked for by people,
	// fewer than one a second. Where they have outrun that, a million is left out.
	renumberReplaysSQL = `
SELECT setval('replays_id_seq', CASE WHEN last_value < seconds THEN seconds ELSE last_value + 1000000 END)
  FROM replays_id_seq, (SELECT extract(epoch FROM now() - timestamptz '2026-01-01 00:00:00+00')::bigint AS seconds) AS clock`

	auditRestoreSQL = `
INSERT INTO timeline (tenant, what, reason, actor, detail)
VALUES ($1, 'restore', $2, $3, jsonb_build_object('destinations', $4::integer, 'replays', $5::integer, 'unknown', $6::bigint))`
)

// AfterRestore makes a database that was restored from a backup safe to start with. The
// world is ahead of it: what it holds for open may have been sent. Every destination is
// paused, as is every replay that runs; every open delivery is taken as of unknown outcome;
// and each tenant's timeline has an entry of it, all in the name of the actor. Replays get
// numbers from then on that none can have had that the backup does not tell of.
//
// It must be called before anything is dispatched, and returns a [*Refusal] while another
// process works on the database. What was done before an error stays; calling again does
// the rest, and what is done is not done twice.
func (s *Store) AfterRestore(ctx context.Context, actor string) ([]Restored, error) {
	all, err := s.afterRestore(ctx, actor)
	if err != nil {
		return nil, fmt.Errorf("start after a restore: %w", err)
	}
	return all, nil
}

func (s *Store) afterRestore(ctx context.Context, actor string) ([]Restored, error) {
	if err := s.refuseCompany(ctx); err != nil {
		return nil, err
	}
	// The backup may be older than the partitions that it was to last for.
	if _, err := s.engine.Exec(ctx, ensurePartitionsSQL); err != nil {
		return nil, err
	}
	if _, err := s.admin.Exec(ctx, renumberReplaysSQL); err != nil {
		return nil, err
	}
	rows, err := s.engine.Query(ctx, tenantsSQL)
	if err != nil {
		return nil, err
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	all := make([]Restored, len(tenants))
	by := make(map[string]*Restored)
	for i, tenant := range tenants {
		all[i].Tenant, by[tenant] = tenant, &all[i]
		if err := s.holdTenant(ctx, Actor{Tenant: tenant, Name: actor}, &all[i]); err != nil {
			return nil, fmt.Errorf("tenant %s: %w", tenant, err)
		}
	}
	// Whoever starts from here on finds everything paused.
	if err := s.refuseCompany(ctx); err != nil {
		return nil, err
	}
	for lane := range int16(s.lanes) {
		if err := s.takeForUnknown(ctx, lane, by); err != nil {
			return nil, err
		}
	}
	for _, r := range all {
		if _, err := s.engine.Exec(ctx, auditRestoreSQL, r.Tenant, restoredReason, actor, len(r.Paused), r.Replays, r.Unknown); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// refuseCompany wants nobody else at work.
func (s *Store) refuseCompany(ctx context.Context) error {
	var alive int
	if err := s.engine.QueryRow(ctx, aliveSQL).Scan(&alive); err != nil {
		return err
	}
	if alive > 0 {
		return &Refusal{Message: fmt.Sprintf(
			"another process works on this database, or did so less than %s ago; stop all of them first, and start this one alone", s.config.Lease)}
	}
	return nil
}

// holdTenant pauses all that sends or makes something to be sent.
func (s *Store) holdTenant(ctx context.Context, actor Actor, r *Restored) error {
	rows, err := s.engine.Query(ctx, restoredDestinationsSQL, actor.Tenant)
	if err != nil {
		return err
	}
	type destination struct {
		Name   string
		Paused bool
	}
	destinations, err := pgx.CollectRows(rows, pgx.RowToStructByPos[destination])
	if err != nil {
		return err
	}
	for _, d := range destinations {
		r.Paused = append(r.Paused, d.Name)
		if d.Paused {
			continue
		}
		q := ControlRequest{RequestID: "restore " + rand.Text(), Kind: OfDestination, Name: d.Name, State: Paused, Reason: restoredReason}
		if err := s.Control(ctx, actor, q); err != nil {
			return err
		}
	}
	rows, err = s.engine.Query(ctx, runningReplaysSQL, actor.Tenant)
	if err != nil {
		return err
	}
	replays, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	for _, number := range replays {
		if _, err := s.ChangeReplay(ctx, actor, number, ReplayPaused, restoredReason); err != nil {
			return err
		}
	}
	r.Replays = len(replays)
	return nil
}

// takeForUnknown goes through one lane, a page at a time.
func (s *Store) takeForUnknown(ctx context.Context, lane int16, by map[string]*Restored) error {
	var destination int32
	var seq Seq
	for {
		rows, err := s.engine.Query(ctx, takeForUnknownSQL, lane, destination, seq, restorePage, int16(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME))
		if err != nil {
			return err
		}
		var tenant string
		var open bool
		n := 0
		_, err = pgx.ForEachRow(rows, []any{&destination, &seq, &tenant, &open}, func() error {
			n++
			if r := by[tenant]; open && r != nil {
				r.Unknown++
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n < restorePage {
			return nil
		}
	}
}
