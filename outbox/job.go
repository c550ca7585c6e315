package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// JobAction is what a job does with each of its deliveries.
type JobAction string

// The actions. Each is what an operator may do with one delivery, and is refused for the
// same reasons: nothing is done to a delivery that has changed since the click, or that has
// a request on the wire.
const (
	JobRetry JobAction = "RETRY"
	// JobReprocess prepares again, by today's mappings and routes, what waits for a retry as
	// well as what is held, under a new idempotency key where all that was sent is proven to
	// have had no effect.
	JobReprocess JobAction = "REPROCESS"
	JobSkip      JobAction = "SKIP"
)

// JobRequest asks for one action on many deliveries.
type JobRequest struct {
	// RequestID is chosen by the caller, 1 to 100 bytes: a repeat gets the first job.
	RequestID string
	Action    JobAction
	Filter    JobFilter
	Rate      int    // deliveries a second, 1 to [MaxJobRate]
	Reason    string // for the timeline, 1 to 500 bytes
}

const (
	// DefaultJobRate empties an hour's backlog in minutes. What goes to a platform keeps to
	// the limits of its destination besides.
	DefaultJobRate = 100
	MaxJobRate     = 10_000
)

// Job is a decision about many deliveries, and how far it is carried out.
type Job struct {
	ID     int64
	Tenant string
	Action JobAction
	Filter JobFilter
	Rate   int32
	State  string // RUNNING, PAUSED, DONE, CANCELLED
	// Total deliveries matched at the click. Of these so many are done, and so many could
	// not be: they have changed since, or another job had them first.
	Total, Done, Failed int64
	RequestedAt         time.Time
	EndedAt             *time.Time
	Actor, Reason       string
}

// Names of a job's states.
const (
	JobRunning   = "RUNNING"
	JobPaused    = "PAUSED"
	JobDone      = "DONE"
	JobCancelled = "CANCELLED"
)

// JobConflict says that all that a job would do is another's already.
type JobConflict struct {
	First   Job
	Matched int64
}

func (c *JobConflict) Error() string {
	return fmt.Sprintf("%s was first: job %d (%s, %s) has all %d since %s", c.First.Actor, c.First.ID, c.First.Action, c.First.State, c.Matched, clockTime(c.First.RequestedAt))
}

// Is tells that it is an [ErrConflict].
func (c *JobConflict) Is(target error) bool { return target == ErrConflict }

// clockTime is a time as it stands in words for people.
func clockTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

const (
	startJobSQL = `
INSERT INTO jobs (tenant, request_id, digest, action, filter, rate, actor, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant, request_id) DO NOTHING
RETURNING id`

	startedJobSQL = `SELECT id, digest FROM jobs WHERE request_id = $1`

	// jobPatienceSQL: a click that takes half a million deliveries may wait for another.
	jobPatienceSQL = `SELECT set_config('lock_timeout', '30s', true)`

	countJobSQL = `
UPDATE jobs SET total = $2::bigint, failed = $3::bigint, state = CASE WHEN $2::bigint = $3 THEN 'DONE' ELSE state END, ended_at = CASE WHEN $2 = $3 THEN now() END WHERE id = $1`

	auditJobSQL = `
INSERT INTO timeline (tenant, what, reason, actor, detail)
SELECT tenant, 'job', $2, $3, jsonb_build_object('job', id, 'action', action, 'state', state, 'total', total, 'done', done, 'failed', failed, 'rate', rate)
  FROM jobs WHERE id = $1`
)

func (q *JobRequest) validate() error {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return err
	}
	switch q.Action {
	case JobRetry, JobReprocess, JobSkip:
	default:
		return &Refusal{Field: "action", Message: "a job can RETRY, REPROCESS or SKIP"}
	}
	if q.Rate < 1 || q.Rate > MaxJobRate {
		return &Refusal{Field: "rate", Message: fmt.Sprintf("rate must be 1 to %d deliveries a second", MaxJobRate)}
	}
	return q.Filter.validate()
}

// StartJob begins to do the same with each delivery that the filter matches at this very
// moment, in the background and over restarts: see [JobRunner]. What fails later is not
// among them; what goes on by itself, or by somebody else, before its turn comes is left
// alone and listed.
//
// A delivery belongs to one job at a time. It returns a [*JobConflict] where others have
// all of what matches, and a [*Refusal] where the request is wrong or nothing matches.
func (s *Store) StartJob(ctx context.Context, actor Actor, q JobRequest) (j Job, err error) {
	if err := q.validate(); err != nil {
		return j, err
	}
	filter, err := json.Marshal(q.Filter)
	if err != nil {
		return j, err
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %q", q.Action, filter, q.Rate, q.Reason))
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, jobPatienceSQL); err != nil {
			return err
		}
		var id int64
		reason := strings.TrimSpace(q.Reason)
		err := tx.QueryRow(ctx, startJobSQL, actor.Tenant, q.RequestID, digest[:], q.Action, filter, q.Rate, actor.Name, reason).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			var first []byte
			if err := tx.QueryRow(ctx, startedJobSQL, q.RequestID).Scan(&id, &first); err != nil {
				return err
			}
			if !bytes.Equal(first, digest[:]) {
				return &Refusal{Field: "requestId", Message: "this requestId was used for another job; choose a new one"}
			}
			j, err = jobOf(ctx, tx, id)
			return err
		}
		if err == nil {
			err = enterMembers(ctx, tx, actor.Tenant, id, &q.Filter)
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, auditJobSQL, id, reason, actor.Name); err != nil {
			return err
		}
		j, err = jobOf(ctx, tx, id)
		return err
	})
	if err != nil {
		return Job{}, err
	}
	return j, nil
}

// enterMembers gives a job what its filter matches, but for what others have.
func enterMembers(ctx context.Context, tx pgx.Tx, tenant string, job int64, f *JobFilter) error {
	m, err := f.matcher(ctx, tx, tenant)
	if err != nil {
		return err
	}
	total, entered, left, err := m.enter(ctx, tx, job)
	if err != nil {
		return err
	}
	failures, first, err := takenBy(ctx, tx, left)
	if err != nil {
		return err
	}
	if entered == 0 && first != nil {
		return &JobConflict{First: *first, Matched: total}
	}
	if len(f.Deliveries) > 0 {
		missing, err := m.missing(ctx, tx, job, left)
		if err != nil {
			return err
		}
		total += int64(len(missing))
		failures = append(failures, missing...)
	}
	if total == 0 {
		return errNothingMatches
	}
	if err := noteFailures(ctx, tx, tenant, job, failures); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, countJobSQL, job, total, total-entered)
	return err
}
