package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// jobPage is how many deliveries are done in one transaction, while their lane waits.
const jobPage = 500

// JobRunner carries out jobs, page by page: transitions, entries, counts and progress in
// one transaction, so that a crash repeats nothing and leaves nothing out. Any number of
// processes may run one; each page of a job is done by one of them. One goroutine uses it.
type JobRunner struct {
	store *Store
}

// JobRunner makes one.
func (s *Store) JobRunner() *JobRunner { return &JobRunner{store: s} }

const (
	jobDueSQL = `SELECT EXISTS (SELECT FROM jobs WHERE state = 'RUNNING' AND next_at <= now())`

	claimJobSQL = `
SELECT id, tenant, action, rate, actor, reason, lane FROM jobs WHERE state = 'RUNNING' AND next_at <= now() ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED`

	// jobPageSQL takes the next deliveries of one lane.
	jobPageSQL = `
SELECT lane, destination, seq, event, event_at, replay, version FROM job_members
 WHERE job = $1 AND lane = (SELECT lane FROM job_members WHERE job = $1 AND lane >= $2 ORDER BY lane LIMIT 1)
 ORDER BY destination, seq LIMIT $3`

	endMembersSQL = `
DELETE FROM job_members m USING unnest($2::integer[], $3::bigint[]) AS f(destination, seq)
 WHERE m.lane = $1 AND m.destination = f.destination AND m.seq = f.seq AND m.job = $4`

	// advanceJobSQL keeps the pace: what was done is paid for with time.
	advanceJobSQL = `
UPDATE jobs
   SET done = done + $2, failed = failed + $3, lane = $4, next_at = GREATEST(next_at, now() - interval '1 second') + make_interval(secs => $5),
       state = CASE WHEN more THEN state ELSE 'DONE' END, ended_at = CASE WHEN NOT more THEN now() END
  FROM (SELECT EXISTS (SELECT FROM job_members WHERE job = $1 AND lane >= $4) AS more) AS m
 WHERE id = $1
RETURNING more`
)

type claimedJob struct {
	id            int64
	tenant        string
	action        JobAction
	rate          int32
	actor, reason string
	lane          int16
}

// Step does one page of one job, if any is due, and returns the lanes in which something
// goes on. More tells whether to call again at once.
func (r *JobRunner) Step(ctx context.Context) (lanes []int16, more bool, err error) {
	var due bool
	if err := r.store.engine.QueryRow(ctx, jobDueSQL).Scan(&due); err != nil || !due {
		return nil, false, wrapJob(err)
	}
	err = pgx.BeginFunc(ctx, r.store.engine, func(tx pgx.Tx) error {
		var j claimedJob
		err := tx.QueryRow(ctx, claimJobSQL).Scan(&j.id, &j.tenant, &j.action, &j.rate, &j.actor, &j.reason, &j.lane)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		lanes, err = j.page(ctx, tx)
		return err
	})
	if err != nil {
		return nil, false, wrapJob(err)
	}
	return lanes, more, nil
}

func wrapJob(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("job: %w", err)
}

// page does the next deliveries of a job that this transaction holds.
func (j *claimedJob) page(ctx context.Context, tx pgx.Tx) (lanes []int16, err error) {
	// So few that the pace is even.
	rows, err := tx.Query(ctx, jobPageSQL, j.id, j.lane, min(max(int(j.rate)/5, 1), jobPage))
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m member, err error) {
		d := &m.DeliveryID
		err = row.Scan(&m.Lane, &m.Position.Destination, &m.Position.Seq, &d.Event.Seq, &d.Event.AcceptedAt, &d.Replay, &m.version)
		d.Destination = m.Position.Destination
		return m, err
	})
	if err != nil {
		return nil, err
	}
	var failures []JobFailure
	var done transited
	if len(all) > 0 {
		j.lane = all[0].Lane
		if _, err := tx.Exec(ctx, lockLaneSQL, j.lane); err != nil {
			return nil, err
		}
		var same []operand
		if same, failures, err = examine(ctx, tx, all); err != nil {
			return nil, err
		}
		if done, err = j.transit(ctx, tx, same); err != nil {
			return nil, err
		}
		if err := noteFailures(ctx, tx, j.tenant, j.id, failures); err != nil {
			return nil, err
		}
		destinations, seqs := placesOf(all)
		if _, err := tx.Exec(ctx, endMembersSQL, j.lane, destinations, seqs, j.id); err != nil {
			return nil, err
		}
	}
	var more bool
	pause := float64(done.n) / float64(j.rate)
	if err := tx.QueryRow(ctx, advanceJobSQL, j.id, done.n, len(failures), j.lane, pause).Scan(&more); err != nil {
		return nil, err
	}
	if !more {
		if _, err := tx.Exec(ctx, auditJobSQL, j.id, "all of it is done", nil); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(done.lanes)), nil
}

func placesOf(members []member) (destinations []int32, seqs []Seq) {
	for _, m := range members {
		destinations, seqs = append(destinations, m.Position.Destination), append(seqs, m.Position.Seq)
	}
	return destinations, seqs
}
