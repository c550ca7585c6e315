package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// LaneDestination is one lane's traffic to one destination.
type LaneDestination struct {
	Lane        int16
	Destination int32
}

func columnsOf(pairs []LaneDestination) (lanes []int16, destinations []int32) {
	for _, p := range pairs {
		lanes = append(lanes, p.Lane)
		destinations = append(destinations, p.Destination)
	}
	return lanes, destinations
}

// Due is a delivery that is to be looked at again: its time has come, or an operator
// released it. Delivery is nil where it is gone: an operator skipped it, and what
// waited behind it may go.
type Due struct {
	Lane        int16
	Destination int32
	Seq         Seq
	KeyHash     int64
	Delivery    *Delivery
}

// anyDueSQL takes no lock: most of the time nothing is due. The time is now(), since
// clock_timestamp() would be compared with each row that waits, instead of ending the
// search in the index.
const anyDueSQL = `
SELECT p.lane, p.destination
  FROM unnest($1::smallint[], $2::integer[]) AS p(lane, destination)
 WHERE EXISTS (SELECT FROM due WHERE due.lane = p.lane AND due.destination = p.destination AND due.at <= now())`

// dueSQL takes what is due. A row may be older than what its delivery waits for now:
// such a one says nothing, and the delivery has a row of its own.
const dueSQL = `
WITH taken AS (
  DELETE FROM due WHERE ctid = ANY (ARRAY(
    SELECT f.ctid
      FROM unnest($1::smallint[], $2::integer[]) AS p(lane, destination)
     CROSS JOIN LATERAL (
       SELECT due.ctid FROM due
        WHERE due.lane = p.lane AND due.destination = p.destination AND due.at <= now()
        ORDER BY due.at, due.seq LIMIT $3) AS f))
  RETURNING lane, destination, at, seq, key_hash)
SELECT d.ctid, t.lane, t.destination, t.seq, t.key_hash, d.event, d.event_at, d.accepted_at, d.tenant, d.route,
       d.replay, d.step, d.revision, d.requests, d.attempts, d.version, d.unknown_at, d.tried_at, d.kind, d.claimed, d.edited
  FROM taken t
  LEFT JOIN deliveries d ON d.lane = t.lane AND d.destination = t.destination AND d.seq = t.seq AND d.key_hash = t.key_hash
 WHERE d.seq IS NULL OR d.state = 0 OR d.due_at = t.at`

// TakeDue takes what has become due out of the line of waiting, at most limit for
// each pair of lane and destination. It may be taken away since whoever reads the
// lane anew finds that the delivery is due.
//
// After an error that is not Postgres' own answer they may be gone without a word of
// which they were: then only reading anew tells.
func (r *Replica) TakeDue(ctx context.Context, leases map[int16]Lease, from []LaneDestination, limit int) ([]Due, error) {
	lanes, destinations := columnsOf(from)
	rows, err := r.pool.Query(ctx, anyDueSQL, lanes, destinations)
	if err != nil {
		return nil, fmt.Errorf("look for what is due: %w", err)
	}
	places, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LaneDestination])
	if err != nil || len(places) == 0 {
		return nil, err
	}
	held := make(map[int16]Lease)
	for _, p := range places {
		held[p.Lane] = leases[p.Lane]
	}
	fencedLanes, epochs := fenceArguments(heeded(slices.Collect(maps.Values(held))))
	lanes, destinations = columnsOf(places)
	var found []Due
	batch := &pgx.Batch{}
	batch.Queue(fenceSQL, r.id, fencedLanes, epochs)
	batch.Queue(dueSQL, lanes, destinations, limit).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, scanDue)
		return err
	})
	if err := r.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("take what is due: %w", leaseError(err))
	}
	return found, nil
}

func scanDue(r pgx.CollectableRow) (Due, error) {
	var due Due
	var row pgtype.TID
	var event *Seq
	var eventAt, acceptedAt, unknownAt, triedAt *time.Time
	var tenant, route *string
	var replay, requests, attempts, version, last *int32
	var step, revision *int16
	var claimed, edited *bool
	err := r.Scan(&row, &due.Lane, &due.Destination, &due.Seq, &due.KeyHash, &event, &eventAt, &acceptedAt, &tenant, &route,
		&replay, &step, &revision, &requests, &attempts, &version, &unknownAt, &triedAt, &last, &claimed, &edited)
	if err != nil || event == nil {
		return due, err
	}
	due.Delivery = &Delivery{
		Row: row, Lane: due.Lane, Destination: due.Destination, Seq: due.Seq, Event: *event, EventAt: *eventAt, AcceptedAt: *acceptedAt,
		KeyHash: due.KeyHash, Tenant: *tenant, Route: *route, Replay: *replay, Step: *step, Revision: *revision, State: Pending,
		Requests: *requests, Attempts: *attempts, Version: *version, UnknownAt: unknownAt, TriedAt: triedAt,
		Last: raffsyncv1.OutcomeKind(*last), Claimed: *claimed, Edited: *edited,
	}
	return due, nil
}
