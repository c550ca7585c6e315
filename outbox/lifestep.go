package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ExceptionRequest asks for a step of one exception.
type ExceptionRequest struct {
	// RequestID and Reason are as in [OperatorRequest]. The reason of a comment is what it
	// says.
	RequestID, Reason string
	Exception         int64
	Step              ExceptionStep
	// ExpectedVersion is the exception's version as the caller saw it; nil where that does
	// not matter. It is a conflict where a person has decided something since; that it has
	// gained or lost deliveries is none. Comments never conflict.
	ExpectedVersion *int32
	// Until is when an acknowledgement expires, [MaxAcknowledged] from now at most.
	Until time.Time
	// Assignee and Team, of 1 to 100 bytes, are for assign and start: nil leaves them as they
	// are, "" takes them off. Whoever starts without naming anybody is the assignee.
	Assignee, Team *string
	// At is when it happens; zero is the database's now, and tests steer it.
	At time.Time
}

// ExceptionStepped is an exception after a step.
type ExceptionStepped struct {
	Status  string `json:"status"`
	Version int32  `json:"version"`
	// Held is how many deliveries it let go of: those are tried again or skipped in the
	// background, by the owners of their lanes.
	Held int64 `json:"held"`
	// Until is when an acknowledgement expires.
	Until *time.Time `json:"until,omitempty"`
}

// StepConflict is an [ErrConflict] that says what is there now, and who was first.
type StepConflict struct {
	Status  string
	Version int32
	// What was done last, by whom, when and why; Actor is "" where it happened by itself.
	What, Actor, Reason string
	At                  time.Time
}

func (c *StepConflict) Error() string {
	by := ", by itself"
	if c.Actor != "" {
		by = " by " + c.Actor
	}
	last := ""
	if c.What != "" {
		last = fmt.Sprintf(", since %s: %s%s: %s", c.At.UTC().Format(time.RFC3339), c.What, by, c.Reason)
	}
	return fmt.Sprintf("it is %s (version %d)%s; look at it again before you decide", c.Status, c.Version, last)
}

func (*StepConflict) Unwrap() error { return ErrConflict }

const (
	stateOfExceptionSQL = `
SELECT class, status, version, stepped, held, holds_destination,
       EXISTS (SELECT FROM releases r WHERE r.exception = x.id) AS leaving,
       acknowledged_at, acknowledged_until, assignee, team, coalesce($2::timestamptz, now()) AS now
  FROM exceptions x WHERE id = $1 FOR NO KEY UPDATE`

	// stepSQL has the worker look at once at what was acknowledged: until then its chain
	// would go on.
	stepSQL = `
WITH changed AS (
  UPDATE exceptions
     SET status = $2, closed_at = CASE WHEN $2 IN ('RESOLVED', 'DISMISSED') THEN coalesce(closed_at, now()) END,
         version = version + 1, stepped = CASE WHEN $8 = 'comment' THEN stepped ELSE version + 1 END,
         acknowledged_at = $3, acknowledged_until = $4, assignee = $5, team = $6, reopened = reopened + $7
   WHERE id = $1
  RETURNING tenant, id, destination, version, held
), paused AS (
  UPDATE escalations SET next_at = $3 WHERE exception = $1 AND $8 = 'acknowledge'
), queued AS (
  INSERT INTO releases (exception, tenant, actor, reason, skips) SELECT id, tenant, $10, $9, $12 FROM changed WHERE $11
), told AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason, actor, detail)
  SELECT tenant, id, nullif(destination, 0), $8, $9, $10, $13::jsonb FROM changed
)
SELECT version FROM changed`

	lastStepSQL = `
SELECT t.what, coalesce(t.actor, ''), coalesce(t.reason, ''), t.at
  FROM exceptions x
  JOIN timeline t ON t.exception = x.id AND t.at >= x.opened_at - interval '1 hour'
 WHERE x.id = $1 AND t.event IS NULL
   AND t.what IN ('acknowledge', 'assign', 'start', 'resolved', 'dismissed', 'reopen')
 ORDER BY t.at DESC, t.entry DESC LIMIT 1`
)

// StepException takes a step, with its timeline entry in the same transaction. A repeat of
// a request gets the first answer and changes nothing. It returns [ErrNotFound], a
// [*StepConflict] where somebody was first, or a [*Refusal].
//
// What is retried or skipped by it is what the exception holds at that moment: what fails
// from then on is held by another. Whoever commits gives no hint: this does.
func (s *Store) StepException(ctx context.Context, actor Actor, q ExceptionRequest) (ExceptionStepped, error) {
	if err := q.validate(); err != nil {
		return ExceptionStepped{}, err
	}
	digest := q.digest()
	var done ExceptionStepped
	err := s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		x, err := exceptionStateOf(ctx, tx, &q)
		if err != nil {
			return err
		}
		// Under the lock: a repeat that came at the same time has waited for the first.
		repeated, err := answered(ctx, tx, q.RequestID, digest, &done)
		if err != nil || repeated {
			return err
		}
		if done, err = q.carryOut(ctx, tx, x, actor); err != nil {
			return err
		}
		answer, err := json.Marshal(done)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest, answer)
		return err
	})
	if err = stepError(err); err != nil {
		return ExceptionStepped{}, err
	}
	if done.Held > 0 {
		s.Hint(Hint{Releases: true})
	}
	return done, nil
}

func exceptionStateOf(ctx context.Context, tx pgx.Tx, q *ExceptionRequest) (exceptionState, error) {
	rows, err := tx.Query(ctx, stateOfExceptionSQL, q.Exception, nullTime(q.At))
	if err != nil {
		return exceptionState{}, err
	}
	x, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[exceptionState])
	if errors.Is(err, pgx.ErrNoRows) {
		return x, ErrNotFound
	}
	x.Status = statusNow(x.Status, x.AcknowledgedUntil, x.Now)
	return x, err
}

// carryOut takes the step. The exception is locked.
func (q *ExceptionRequest) carryOut(ctx context.Context, tx pgx.Tx, x exceptionState, actor Actor) (ExceptionStepped, error) {
	t, err := x.take(q, actor.Name)
	if errors.Is(err, ErrConflict) {
		conflict := &StepConflict{Status: x.Status, Version: x.Version}
		err = tx.QueryRow(ctx, lastStepSQL, q.Exception).Scan(&conflict.What, &conflict.Actor, &conflict.Reason, &conflict.At)
		if err == nil || errors.Is(err, pgx.ErrNoRows) {
			return ExceptionStepped{}, conflict
		}
	}
	if err != nil {
		return ExceptionStepped{}, err
	}
	done := ExceptionStepped{Status: t.Status}
	if t.queued {
		done.Held = x.Held
	}
	if t.Status == AcknowledgedStatus || q.Step == StepAcknowledge {
		done.Until = t.AcknowledgedUntil
	}
	reason := strings.TrimSpace(q.Reason)
	if t.again {
		if _, err := tx.Exec(ctx, markWebhooksSQL, q.Exception, actor.Name, reason); err != nil {
			return done, err
		}
	}
	if x.Class == ClassQuarantined && q.Step == StepDismiss {
		if _, err := tx.Exec(ctx, leaveWebhooksSQL, q.Exception); err != nil {
			return done, err
		}
	}
	err = tx.QueryRow(ctx, stepSQL, q.Exception, t.Status, t.AcknowledgedAt, t.AcknowledgedUntil, t.Assignee, t.Team, t.reopened, t.what, reason, actor.Name,
		t.queued, t.skips, q.detail(&t, x.Held)).Scan(&done.Version)
	return done, err
}

// detail is what the timeline keeps beside the reason; nil where that is all.
func (q *ExceptionRequest) detail(t *taken, held int64) *string {
	var detail any
	switch {
	case t.skips:
		detail = map[string]any{"skips": held}
	case t.queued:
		detail = map[string]any{"retries": held}
	case q.Step == StepAcknowledge:
		detail = map[string]any{"until": q.Until.UTC()}
	case q.Step == StepAssign, q.Step == StepStart:
		detail = map[string]any{"assignee": t.Assignee, "team": t.Team}
	default:
		return nil
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return nil // it is a number, a time or two names
	}
	return new(string(text))
}

func (q *ExceptionRequest) validate() error {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return err
	}
	if !q.Step.known() {
		return &Refusal{Field: "step", Message: fmt.Sprintf("there is no step %q", q.Step)}
	}
	for field, name := range map[string]*string{"assignee": q.Assignee, "team": q.Team} {
		if name != nil && (len(*name) > 100 || !utf8.ValidString(*name) || strings.ContainsFunc(*name, unicode.IsControl) || *name != strings.TrimSpace(*name)) {
			return &Refusal{Field: field, Message: field + " must be one line of text, at most 100 bytes"}
		}
	}
	return nil
}

func (q *ExceptionRequest) digest() []byte {
	expected := int32(-1)
	if q.ExpectedVersion != nil {
		expected = *q.ExpectedVersion
	}
	told := func(name *string) string {
		if name == nil {
			return "-"
		}
		return "+" + *name
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "exception %s %d %d %d %q %q %s", q.Step, q.Exception, expected, q.Until.UnixMicro(), told(q.Assignee), told(q.Team), q.Reason))
	return digest[:]
}

// stepError tells apart what may be there already.
func stepError(err error) error {
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg) || pg.Code != uniqueViolation:
		return err
	case pg.ConstraintName == "exceptions_cause":
		return &Refusal{Message: "another exception of the same cause is open: see the list"}
	}
	return ErrConflict // the same request id came at once for something else
}
