package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// MaxAcknowledged is for how long an acknowledgement may last: what nobody looks at for
// longer is not being worked on.
const MaxAcknowledged = 30 * 24 * time.Hour

// AcknowledgeRequest says that somebody takes an exception up.
type AcknowledgeRequest struct {
	// RequestID and Reason are as in [OperatorRequest].
	RequestID, Reason string
	Exception         int64
	// ExpectedVersion is the exception's version as the caller saw it; nil where that does
	// not matter.
	ExpectedVersion *int32
	// Until is when it expires, [MaxAcknowledged] from now at most: then escalation goes on.
	Until time.Time
	// At is when it begins; zero is the database's now, and tests steer it.
	At time.Time
}

// Acknowledged is an exception after that.
type Acknowledged struct {
	Version int32     `json:"version"`
	Until   time.Time `json:"until"`
}

const (
	acknowledgeableSQL = `
SELECT version, closed_at IS NULL, status, coalesce($2::timestamptz, now()) FROM exceptions WHERE id = $1 FOR NO KEY UPDATE`

	// acknowledgeSQL has the worker look at once: until then the chain would go on.
	acknowledgeSQL = `
WITH changed AS (
  UPDATE exceptions SET acknowledged_at = $2, acknowledged_until = $3, version = version + 1 WHERE id = $1
  RETURNING tenant, id, destination, version
), paused AS (
  UPDATE escalations SET next_at = $2 WHERE exception = $1
), audited AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason, actor, detail)
  SELECT tenant, id, NULLIF(destination, 0), 'acknowledge', $4, $5, jsonb_build_object('until', $3::timestamptz) FROM changed
)
SELECT version FROM changed`
)

// Acknowledge pauses the escalation of an exception until a moment: nobody else is told
// meanwhile. An earlier acknowledgement ends where this one begins. It returns
// [ErrNotFound], [ErrConflict] where the version is another, or a [*Refusal].
func (s *Store) Acknowledge(ctx context.Context, actor Actor, q AcknowledgeRequest) (Acknowledged, error) {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return Acknowledged{}, err
	}
	expected := int32(-1)
	if q.ExpectedVersion != nil {
		expected = *q.ExpectedVersion
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "acknowledge %d %d %d %s", q.Exception, expected, q.Until.UnixMicro(), q.Reason))
	done := Acknowledged{Until: q.Until.UTC()}
	err := s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		var version int32
		var open bool
		var status string
		var now time.Time
		at := &q.At
		if q.At.IsZero() {
			at = nil
		}
		err := tx.QueryRow(ctx, acknowledgeableSQL, q.Exception, at).Scan(&version, &open, &status, &now)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		// Under the lock: a repeat that came at the same time has waited for the first.
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &done)
		switch {
		case err != nil || repeated:
			return err
		case !open:
			return &Refusal{Message: fmt.Sprintf("this exception is over: it is %s", status)}
		case expected >= 0 && version != expected:
			return ErrConflict
		case !q.Until.After(now) || q.Until.Sub(now) > MaxAcknowledged:
			return &Refusal{Field: "until", Message: "until must be later than now, by 30 days at most"}
		}
		if err := tx.QueryRow(ctx, acknowledgeSQL, q.Exception, now, q.Until, strings.TrimSpace(q.Reason), actor.Name).Scan(&done.Version); err != nil {
			return err
		}
		answer, err := json.Marshal(done)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest[:], answer)
		return err
	})
	if sqlState(err) == uniqueViolation {
		return Acknowledged{}, ErrConflict // the same request id came at once for something else
	}
	if err != nil {
		return Acknowledged{}, err
	}
	return done, nil
}
