package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// mostFailures is how many failures of a job are listed. All are counted.
const mostFailures = 1000

// JobFailure is a delivery to which nothing was done, and why.
type JobFailure struct {
	Number   int64 // rises
	Delivery DeliveryID
	Reason   string
}

const (
	jobColumns = `id, tenant, action, filter, rate, state, total, done, failed, requested_at, ended_at, actor, reason FROM jobs`
	jobSQL     = `SELECT ` + jobColumns + ` WHERE id = $1`
	jobsSQL    = `SELECT ` + jobColumns + ` WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3`

	changeJobSQL = `
UPDATE jobs SET state = $2, ended_at = CASE WHEN $2 = 'CANCELLED' THEN now() END, next_at = now()
 WHERE id = $1 AND state IN ('RUNNING', 'PAUSED') AND state <> $2`

	forgetMembersSQL = `DELETE FROM job_members WHERE job = $1`

	jobFailuresSQL = `
SELECT number, event, event_at, destination, replay, reason FROM job_failures WHERE job = $1 AND number > $2 ORDER BY number LIMIT $3`

	noteFailuresSQL = `
INSERT INTO job_failures (job, tenant, event, event_at, destination, replay, reason)
SELECT $1, $2, f.event, f.event_at, f.destination, f.replay, f.reason
  FROM unnest($3::bigint[], $4::timestamptz[], $5::integer[], $6::integer[], $7::text[]) WITH ORDINALITY AS f(event, event_at, destination, replay, reason, ord)
 ORDER BY f.ord
 LIMIT GREATEST($8 - (SELECT count(*) FROM job_failures WHERE job = $1), 0)`

	// lastOfSQL is what was told last of each delivery. The clock of an entry is that of its
	// transaction's start, which may be a little before its event's.
	lastOfSQL = `
SELECT f.ord::integer - 1, t.what, coalesce(t.state, ''), coalesce(t.actor, ''), t.at
  FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::integer[]) WITH ORDINALITY AS f(event, event_at, destination, replay, ord)
 CROSS JOIN LATERAL (
   SELECT what, state, actor, at FROM timeline
    WHERE event = f.event AND at >= f.event_at - interval '1 hour' AND (destination = f.destination AND coalesce(replay, 0) = f.replay)
    ORDER BY at DESC, entry DESC LIMIT 1) AS t`
)

func jobOf(ctx context.Context, tx pgx.Tx, id int64) (Job, error) {
	rows, err := tx.Query(ctx, jobSQL, id)
	if err != nil {
		return Job{}, err
	}
	j, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Job])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return j, err
}

// ChangeJob pauses a job, lets it run on, or cancels it: what it has done stays done, and
// the rest is as if nobody had asked. It returns [ErrNotFound] where there is none, and a
// [*Refusal] where it has ended. Asking for the state that it is in changes nothing.
func (s *Store) ChangeJob(ctx context.Context, actor Actor, id int64, to, reason string) (j Job, err error) {
	if err := validateRequest("none", reason); err != nil {
		return j, err
	}
	if to != JobRunning && to != JobPaused && to != JobCancelled {
		return j, &Refusal{Field: "state", Message: "a job can be made RUNNING, PAUSED or CANCELLED"}
	}
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		changed, err := tx.Exec(ctx, changeJobSQL, id, to)
		if err != nil {
			return err
		}
		if j, err = jobOf(ctx, tx, id); err != nil {
			return err
		}
		if changed.RowsAffected() == 0 {
			if j.State != to {
				return &Refusal{Message: "this job has ended: it is " + j.State}
			}
			return nil
		}
		if to == JobCancelled {
			if _, err := tx.Exec(ctx, forgetMembersSQL, id); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, auditJobSQL, id, strings.TrimSpace(reason), actor.Name)
		return err
	})
	return j, err
}

// Jobs lists the jobs of a tenant before an id, the newest first; 0: all.
func (s *Store) Jobs(ctx context.Context, tenant string, before int64, first int) (all []Job, err error) {
	if before == 0 {
		before = math.MaxInt64
	}
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, jobsSQL, tenant, before, first)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByName[Job])
		return err
	})
	return all, err
}

// Job is one of them, or [ErrNotFound].
func (s *Store) Job(ctx context.Context, tenant string, id int64) (j Job, err error) {
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		j, err = jobOf(ctx, tx, id)
		return err
	})
	return j, err
}

// JobFailures lists what did not work after a number, the first thousand of a job in all.
func (s *Store) JobFailures(ctx context.Context, tenant string, id, after int64, first int) (all []JobFailure, err error) {
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, jobFailuresSQL, id, after, first)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f JobFailure, err error) {
			d := &f.Delivery
			err = row.Scan(&f.Number, &d.Event.Seq, &d.Event.AcceptedAt, &d.Destination, &d.Replay, &f.Reason)
			d.Event.AcceptedAt = d.Event.AcceptedAt.UTC()
			return f, err
		})
		return err
	})
	return all, err
}

// deliveryColumnsOf turns names on their side for unnest.
func deliveryColumnsOf(ids []DeliveryID) (events []Seq, at []time.Time, destinations, replays []int32) {
	for _, d := range ids {
		events, at = append(events, d.Event.Seq), append(at, d.Event.AcceptedAt)
		destinations, replays = append(destinations, d.Destination), append(replays, d.Replay)
	}
	return events, at, destinations, replays
}

// noteFailures lists failures, as far as there is room.
func noteFailures(ctx context.Context, tx pgx.Tx, tenant string, job int64, failures []JobFailure) error {
	if len(failures) == 0 {
		return nil
	}
	var ids []DeliveryID
	var reasons []string
	for _, f := range failures {
		ids, reasons = append(ids, f.Delivery), append(reasons, f.Reason)
	}
	events, at, destinations, replays := deliveryColumnsOf(ids)
	_, err := tx.Exec(ctx, noteFailuresSQL, job, tenant, events, at, destinations, replays, reasons, mostFailures)
	return err
}

// whyNot says of deliveries that are not as they were what became of them, and by whom;
// otherwise stands where the timeline tells nothing of them.
func whyNot(ctx context.Context, tx pgx.Tx, ids []DeliveryID, otherwise string) ([]JobFailure, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	failures := make([]JobFailure, len(ids))
	for i, d := range ids {
		failures[i] = JobFailure{Delivery: d, Reason: otherwise}
	}
	events, at, destinations, replays := deliveryColumnsOf(ids)
	rows, err := tx.Query(ctx, lastOfSQL, events, at, destinations, replays)
	if err != nil {
		return nil, err
	}
	var ord int32
	var what, state, who string
	var when time.Time
	_, err = pgx.ForEachRow(rows, []any{&ord, &what, &state, &who, &when}, func() error {
		if who != "" {
			failures[ord].Reason = fmt.Sprintf("%s was first: %s, %s since %s", who, what, state, clockTime(when))
		} else {
			failures[ord].Reason = fmt.Sprintf("it has gone on by itself: it is %s since %s", state, clockTime(when))
		}
		return nil
	})
	return failures, err
}
