package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// OfAuthorisation is a destination, by its name, whose platform has taken its
// authorisation away or suspended the account. It is held by what the platform answers,
// see [Replica.Lose], and let go by an operator who says that it is connected again, by
// [Store.Control], or by a request that succeeds.
const OfAuthorisation ControlKind = "authorisation"

// Lost: the platform accepts nothing until a person has done something there. Nothing is
// sent, but for a probe now and then.
const Lost ControlState = "LOST"

// DefaultAuthorisationProbe is how often a process tries one request of a destination
// whose authorisation is lost. Seldom enough that no platform minds: it is what a
// program does that is configured wrongly, and a platform that counts failed logins
// counts by the minute. Often enough that an account that is paid again, or a permission
// that is given back over there, is found without anybody telling us.
const DefaultAuthorisationProbe = 5 * time.Minute

// Loss is an answer by which a platform takes its authorisation away.
type Loss struct {
	Tenant      string
	Destination int32
	Name        string // of the destination
	Class       string // of the exception: that of the answer's kind
	Reason      string
	SentAt      time.Time // of the request, by the database
}

const (
	regainedSinceSQL = `
SELECT EXISTS (SELECT FROM exceptions WHERE destination = $1 AND holds_destination AND closed_at >= $2)`

	raiseLostSQL = `
WITH raised AS (
  INSERT INTO exceptions (tenant, class, destination, sample, holds_destination) VALUES ($1, $2, $3, $4, true)
  ON CONFLICT (tenant, class, destination, source, rule, code, field) WHERE closed_at IS NULL
  DO UPDATE SET last_at = now(), version = exceptions.version + 1, holds_destination = true
  RETURNING id, xmax = 0 AS opened
), told AS (
  INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT $1, id, $3, 'exception', $4 FROM raised WHERE opened
)
INSERT INTO controls (tenant, kind, name, state, reason, actor) VALUES ($1, 'authorisation', $5, 'LOST', $4, 'raffsync')
ON CONFLICT (tenant, kind, name) DO NOTHING`

	// regainSQL is for a request that succeeded: one from before the loss proves nothing.
	regainSQL = `DELETE FROM controls WHERE kind = 'authorisation' AND name = $1 AND since < $2`

	// closeLostSQL takes the clock of the moment: what is answered to requests from before
	// it is not a loss anew.
	closeLostSQL = `
WITH closed AS (
  UPDATE exceptions SET status = 'RESOLVED', closed_at = clock_timestamp(), version = version + 1
   WHERE destination = (SELECT id FROM destinations WHERE name = $1) AND holds_destination AND closed_at IS NULL
  RETURNING tenant, id, destination
)
INSERT INTO timeline (tenant, exception, destination, what, reason, actor) SELECT tenant, id, destination, 'resolved', $2, $3 FROM closed`
)

// Lose holds a destination as a whole, with one exception for it, however many requests
// are answered so. A request from before the destination was given back last changes
// nothing. Deliveries are not touched: that they wait is computed.
func (r *Replica) Lose(ctx context.Context, l Loss) error {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, controlLockSQL, l.Tenant, OfAuthorisation, l.Name); err != nil {
			return err
		}
		var regained bool
		if err := tx.QueryRow(ctx, regainedSinceSQL, l.Destination, l.SentAt).Scan(&regained); err != nil || regained {
			return err
		}
		_, err := tx.Exec(ctx, raiseLostSQL, l.Tenant, l.Class, l.Destination, storable(l.Reason), l.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("hold destination %s, whose authorisation is lost: %w", l.Name, err)
	}
	r.store.Hint(Hint{Controls: true})
	return nil
}

// Regain lets go of a destination by itself, since a request that was made after its
// authorisation was lost has succeeded.
func (r *Replica) Regain(ctx context.Context, tenant, destination string, sentAt time.Time) error {
	err := r.store.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, controlLockSQL, tenant, OfAuthorisation, destination); err != nil {
			return err
		}
		gone, err := tx.Exec(ctx, regainSQL, destination, sentAt)
		if err != nil || gone.RowsAffected() == 0 {
			return err
		}
		const reason = "a request has succeeded: the authorisation is back"
		if _, err := tx.Exec(ctx, closeLostSQL, destination, reason, nil); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, auditControlSQL, tenant, OfAuthorisation, destination, "resume", reason, nil, Automatic.stored())
		return err
	})
	if err != nil {
		return fmt.Errorf("let go of destination %s, whose authorisation is back: %w", destination, err)
	}
	r.store.Hint(Hint{Controls: true})
	return nil
}
