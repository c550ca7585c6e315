package outbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ControlKind is what an operator may hold.
type ControlKind string

// The kinds. A breaker goes by the name of its destination.
const (
	OfSource      ControlKind = "source"
	OfRoute       ControlKind = "route"
	OfDestination ControlKind = "destination"
	OfBreaker     ControlKind = "breaker"
)

// ControlState is how something is held until further notice. What is not held has no
// [Control].
type ControlState string

const (
	// Paused: nothing of it is sent. What a paused source sends is accepted all the same:
	// many platforms switch a feed off that is refused.
	Paused ControlState = "PAUSED"
	// ForcedOpen: the breaker lets nothing through, and no probe either.
	ForcedOpen ControlState = "OPEN"
	// ForcedClosed: the breaker lets everything through, whatever comes of it.
	ForcedClosed ControlState = "CLOSED"
	// Automatic: it is not held. It is never stored.
	Automatic ControlState = ""
)

// Control is what an operator has ordered until further notice.
type Control struct {
	Tenant string
	Kind   ControlKind
	Name   string
	State  ControlState
	Reason string
	Actor  string
	Since  time.Time
}

// ControlRequest asks to hold something, or to let go of it.
type ControlRequest struct {
	// RequestID is chosen by the caller, 1 to 100 bytes: a repeat of what was carried
	// out changes nothing.
	RequestID string
	Kind      ControlKind
	Name      string
	// State is what is asked for; [Automatic] lets go.
	State ControlState
	// Reason is for whoever reads the timeline, 1 to 500 bytes.
	Reason string
}

const (
	controlExistsSQL = `
SELECT CASE $1
  WHEN 'source' THEN EXISTS (SELECT FROM sources WHERE name = $2 AND removed_at IS NULL)
  WHEN 'route' THEN EXISTS (
    SELECT FROM (SELECT document FROM configuration ORDER BY version DESC LIMIT 1) AS newest
     WHERE jsonb_path_exists(document, '$.routes[*] ? (@.name == $name)', jsonb_build_object('name', $2)))
  ELSE EXISTS (SELECT FROM destinations WHERE name = $2 AND removed_at IS NULL)
END`

	// A setting that is made at once with another one waits for it here.
	controlLockSQL = `SELECT pg_advisory_xact_lock(hashtextextended('raffsync control ' || $1 || ' ' || $2 || ' ' || $3, 0))`

	controlOfSQL = `SELECT tenant, kind, name, state, reason, actor, since FROM controls WHERE kind = $1 AND name = $2`

	setControlSQL = `
INSERT INTO controls (tenant, kind, name, state, reason, actor) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant, kind, name) DO UPDATE SET state = excluded.state, reason = excluded.reason, actor = excluded.actor, since = now()`

	dropControlSQL = `DELETE FROM controls WHERE kind = $1 AND name = $2`

	auditControlSQL = `
INSERT INTO timeline (tenant, destination, what, reason, actor, detail)
SELECT $1, (SELECT id FROM destinations WHERE name = $3 AND $2 IN ('destination', 'breaker', 'authorisation')), $4, $5, $6,
       jsonb_build_object('kind', $2, 'name', $3, 'state', $7::text)`

	controlsSQL = `SELECT tenant, kind, name, state, reason, actor, since FROM controls ORDER BY tenant, kind, name`
)

// Control holds something or lets go of it, with its timeline entry in the same
// transaction; every replica takes it up within about a second, and after each start.
// What is on the wire finishes. It returns [ErrNotFound] where there is no such thing,
// and a [*Refusal] where the request is wrong, or nothing would change.
func (s *Store) Control(ctx context.Context, actor Actor, q ControlRequest) error {
	if err := q.validate(); err != nil {
		return err
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "control %q %q %q %q", q.Kind, q.Name, q.State, q.Reason))
	err := s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, controlLockSQL, actor.Tenant, q.Kind, q.Name); err != nil {
			return err
		}
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &struct{}{})
		if err != nil || repeated {
			return err
		}
		if err := q.carryOut(ctx, tx, actor); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest[:], []byte(`{}`))
		return err
	})
	if sqlState(err) == uniqueViolation {
		return ErrConflict // the same request id came at once for something else
	}
	if err == nil {
		s.Hint(Hint{Controls: true})
	}
	return err
}

func (q *ControlRequest) validate() error {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return err
	}
	var known []ControlState
	switch q.Kind {
	case OfSource, OfRoute, OfDestination:
		known = []ControlState{Paused, Automatic}
	case OfBreaker:
		known = []ControlState{ForcedOpen, ForcedClosed, Automatic}
	case OfAuthorisation:
		known = []ControlState{Automatic} // it is the platform that takes it away
	default:
		return &Refusal{Field: "kind", Message: fmt.Sprintf("%q cannot be held; expected source, route, destination, breaker or authorisation", q.Kind)}
	}
	for _, state := range known {
		if q.State == state {
			return nil
		}
	}
	return &Refusal{Field: "state", Message: fmt.Sprintf("a %s cannot be %s", q.Kind, q.State)}
}

// carryOut makes the change. The thing is locked.
func (q *ControlRequest) carryOut(ctx context.Context, tx pgx.Tx, actor Actor) error {
	rows, err := tx.Query(ctx, controlOfSQL, q.Kind, q.Name)
	if err != nil {
		return err
	}
	before, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Control])
	held := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if !held { // what is held may be let go of, though it is not configured any more
		var exists bool
		if err := tx.QueryRow(ctx, controlExistsSQL, q.Kind, q.Name).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			return fmt.Errorf("%s %q: %w", q.Kind, q.Name, ErrNotFound)
		}
	}
	switch {
	case held && before.State == q.State:
		return &Refusal{Message: fmt.Sprintf("%s %s is %s already, since %s, by %s: %s", q.Kind, q.Name, q.State.words(), before.Since.Format(time.RFC3339), before.Actor, before.Reason)}
	case !held && q.State == Automatic:
		return &Refusal{Message: fmt.Sprintf("%s %s is not held: there is nothing to let go of", q.Kind, q.Name)}
	}
	reason := strings.TrimSpace(q.Reason)
	if q.State == Automatic {
		_, err = tx.Exec(ctx, dropControlSQL, q.Kind, q.Name)
	} else {
		_, err = tx.Exec(ctx, setControlSQL, actor.Tenant, q.Kind, q.Name, q.State, reason, actor.Name)
	}
	if err != nil {
		return err
	}
	if q.Kind == OfAuthorisation {
		if _, err := tx.Exec(ctx, closeLostSQL, q.Name, reason, actor.Name); err != nil {
			return err
		}
	}
	what := "pause"
	switch {
	case q.Kind == OfBreaker:
		what, reason = "breaker", q.State.words()+": "+reason
	case q.State == Automatic:
		what = "resume"
	}
	_, err = tx.Exec(ctx, auditControlSQL, actor.Tenant, q.Kind, q.Name, what, reason, actor.Name, q.State.stored())
	return err
}

// words for people.
func (s ControlState) words() string {
	switch s {
	case Paused:
		return "paused"
	case ForcedOpen:
		return "held open"
	case ForcedClosed:
		return "held closed"
	case Lost:
		return "lost"
	default:
		return "automatic again"
	}
}

// stored is the state's name in the timeline.
func (s ControlState) stored() string {
	if s == Automatic {
		return "AUTOMATIC"
	}
	return string(s)
}

// Controls returns all that operators hold, of every tenant.
func (r *Replica) Controls(ctx context.Context) ([]Control, error) {
	rows, err := r.pool.Query(ctx, controlsSQL)
	if err != nil {
		return nil, fmt.Errorf("read what operators hold: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Control])
	if err != nil {
		return nil, fmt.Errorf("read what operators hold: %w", err)
	}
	return found, nil
}
