package outbox

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

const (
	// examineSQL tells which of a lane's deliveries are as they were at the click. The lane
	// is held: they stay so.
	examineSQL = `
WITH sending AS MATERIALIZED (
  SELECT p.destination, p.seq, p.step, p.attempt
    FROM intents i CROSS JOIN LATERAL unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS p(lane, destination, seq, step, attempt)
   WHERE $1::smallint = ANY (i.lanes) AND p.lane = $1
)
SELECT p.ord::integer - 1, d.exception,
       EXISTS (SELECT FROM sending s WHERE s.destination = d.destination AND s.seq = d.seq AND s.step = d.step AND s.attempt > d.requests)
  FROM unnest($2::integer[], $3::bigint[], $4::integer[]) WITH ORDINALITY AS p(destination, seq, version, ord)
 CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE lane = $1 AND destination = p.destination AND seq = p.seq OFFSET 0) AS d
 WHERE d.version = p.version`

	// transitMembers are found by the next place from each one's own on: only the primary key
	// can be searched so.
	transitMembers = `members AS MATERIALIZED (
  SELECT d.place, f.exception
    FROM unnest($2::integer[], $3::bigint[], $4::bigint[]) AS f(destination, seq, exception)
   CROSS JOIN LATERAL (
     SELECT ctid AS place, lane, destination, seq FROM deliveries WHERE (lane, destination, seq) >= ($1::smallint, f.destination, f.seq)
      ORDER BY lane, destination, seq LIMIT 1) AS d
   WHERE d.lane = $1 AND d.destination = f.destination AND d.seq = f.seq
), `

	// retryMembersSQL starts each anew, as [retrySQL] does. What is to be prepared by other
	// mappings gets a key of its own also where it waited, if all that was sent is proven to
	// have had no effect.
	retryMembersSQL = `WITH ` + transitMembers + `changed AS (
  UPDATE deliveries d
     SET state = 0, due_at = NULL, exception = NULL, attempts = 0, tried_at = NULL, version = d.version + 1,
         revision = d.revision + CASE WHEN (d.state = 2 OR $5 = 'reprocess') AND d.requests > 0 AND d.unknown_at IS NULL AND d.revision < 32767 THEN 1 ELSE 0 END
    FROM members m WHERE d.ctid = m.place
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.key_hash, d.replay, d.step, m.exception
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor, detail)
  SELECT tenant, event, event_at, destination, replay, step, exception, $5, 'PENDING', $6, $7, jsonb_build_object('job', $8::bigint) FROM changed
)
SELECT lane FROM changed`

	// skipMembersOfSQL ends each, as [skipSQL] does, with its claims and its waiting for those
	// of others.
	skipMembersOfSQL = `WITH ` + transitMembers + `gone AS (
  DELETE FROM deliveries d USING members m WHERE d.ctid = m.place
  RETURNING d.tenant, d.event, d.event_at, d.lane, d.destination, d.seq, d.key_hash, d.replay, d.step, d.claimed, d.unknown_at, m.exception
), unclaimed AS (
  UPDATE effects e
     SET lane = NULL, seq = NULL, claimed_at = NULL, unknown_at = coalesce(e.unknown_at, gone.unknown_at), content = CASE WHEN gone.unknown_at IS NULL THEN e.content END
    FROM gone WHERE gone.claimed AND e.destination = gone.destination AND e.lane = gone.lane AND e.seq = gone.seq
  RETURNING e.tenant, e.destination, e.effect
), woken AS (
  DELETE FROM effect_waits w USING unclaimed u WHERE w.tenant = u.tenant AND w.destination = u.destination AND w.effect = u.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash)
  SELECT lane, destination, clock_timestamp(), seq, key_hash FROM gone UNION ALL SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken
  ON CONFLICT DO NOTHING
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor, detail)
  SELECT tenant, event, event_at, destination, replay, step, exception, $5, 'SKIPPED', $6, $7, jsonb_build_object('job', $8::bigint) FROM gone
)
SELECT lane FROM gone UNION ALL SELECT lane FROM woken`

	// forgetWaitingSQL: what has ended waits for no effect of another.
	forgetWaitingSQL = `
DELETE FROM effect_waits w USING unnest($2::integer[], $3::bigint[]) AS f(destination, seq) WHERE w.lane = $1 AND w.destination = f.destination AND w.seq = f.seq`
)

// operand is a delivery to which a job is about to do something.
type operand struct {
	member
	exception *int64
}

// examine parts a lane's deliveries into those that are as they were and those that are
// not, or that have a request on the wire.
func examine(ctx context.Context, tx pgx.Tx, all []member) (same []operand, failures []JobFailure, err error) {
	destinations, seqs := placesOf(all)
	versions := make([]int32, len(all))
	for i, m := range all {
		versions[i] = m.version
	}
	rows, err := tx.Query(ctx, examineSQL, all[0].Lane, destinations, seqs, versions)
	if err != nil {
		return nil, nil, err
	}
	found := make([]bool, len(all))
	var ord int32
	var exception *int64
	var sending bool
	_, err = pgx.ForEachRow(rows, []any{&ord, &exception, &sending}, func() error {
		if found[ord] = true; sending {
			failures = append(failures, JobFailure{Delivery: all[ord].DeliveryID, Reason: "a request of it was on the wire when its turn came"})
		} else {
			same = append(same, operand{all[ord], exception})
		}
		exception = nil // not to be shared with the next row
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	var changed []DeliveryID
	for i, m := range all {
		if !found[i] {
			changed = append(changed, m.DeliveryID)
		}
	}
	others, err := whyNot(ctx, tx, changed, "it has changed since")
	return same, append(failures, others...), err
}

// transited is what a page has done.
type transited struct {
	n     int
	lanes map[int16]bool // in which something goes on
}

// transit does it to deliveries of one lane, which is held. What it locks comes in the
// order of [Store.operate]: claims, deliveries, exceptions, and tallies last.
func (j *claimedJob) transit(ctx context.Context, tx pgx.Tx, all []operand) (done transited, err error) {
	done.lanes = make(map[int16]bool)
	if done.n = len(all); done.n == 0 {
		return done, nil
	}
	lane := all[0].Lane
	members := make([]member, len(all))
	exceptions := make([]*int64, len(all))
	of := make(map[int32][2]int) // by destination: deliveries, and those that were held
	for i, o := range all {
		members[i], exceptions[i] = o.member, o.exception
		n := of[o.Position.Destination]
		if n[0]++; o.exception != nil {
			n[1]++
		}
		of[o.Position.Destination] = n
	}
	destinations, seqs := placesOf(members)
	sql, what := retryMembersSQL, "retry"
	switch j.action {
	case JobReprocess:
		what = "reprocess"
	case JobSkip:
		sql, what = skipMembersOfSQL, "skip"
		if _, err := tx.Exec(ctx, lockClaimsSQL, slices.Repeat([]int16{lane}, len(seqs)), destinations, seqs); err != nil {
			return done, err
		}
	}
	rows, err := tx.Query(ctx, sql, lane, destinations, seqs, exceptions, what, j.reason, j.actor, j.id)
	if err != nil {
		return done, err
	}
	var woken int16
	if _, err := pgx.ForEachRow(rows, []any{&woken}, func() error { done.lanes[woken] = true; return nil }); err != nil {
		return done, err
	}
	if j.action == JobSkip {
		if _, err := tx.Exec(ctx, forgetWaitingSQL, lane, destinations, seqs); err != nil {
			return done, err
		}
	}
	if err := offHolds(ctx, tx, lane, destinations, seqs, j.reason, j.actor); err != nil {
		return done, err
	}
	for _, destination := range slices.Sorted(maps.Keys(of)) {
		n, skipped := of[destination], 0
		if j.action == JobSkip {
			skipped = n[0]
		}
		if _, err := tx.Exec(ctx, countOperatedSQL, j.tenant, destination, skipped, -n[1]); err != nil {
			return done, err
		}
	}
	return done, nil
}

// offHolds takes deliveries of a lane, which is held, off all that holds them.
func offHolds(ctx context.Context, tx pgx.Tx, lane int16, destinations []int32, seqs []Seq, reason, actor string) error {
	rows, err := tx.Query(ctx, alsoHeldSQL, slices.Repeat([]int16{lane}, len(seqs)), destinations, seqs)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowToStructByPos[unheld])
	if err != nil {
		return err
	}
	return unhold(ctx, tx, gone, reason, &actor)
}
