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
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Actor is who decides: a person, or a program in their name.
type Actor struct {
	Tenant, Name string
}

// OperatorRequest asks for a transition of one delivery.
type OperatorRequest struct {
	// RequestID is chosen by the caller, 1 to 100 bytes: a repeat within 30 days of what
	// was carried out gets the first answer and changes nothing. What was refused changed
	// nothing either, and is not remembered.
	RequestID string
	Delivery  DeliveryID
	// ExpectedVersion is the delivery's version as the caller saw it.
	ExpectedVersion int32
	// Reason is for whoever reads the timeline, 1 to 500 bytes.
	Reason string
}

// Operated is the delivery after a transition.
type Operated struct {
	State   string `json:"state"`
	Version int32  `json:"version"` // 0 where it is terminal
	Lane    int16  `json:"lane"`
}

// Refusal says why a transition is not made, in words for the one who asked.
type Refusal struct {
	Field   string // of the request; empty where it is about the delivery
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Retry sets a waiting or held delivery free to be tried now, with all its attempts
// before it, whatever held it: it is taken off all its causes. Where that would risk a second
// effect it is held again; see [Store.SendAnyway]. It is refused while a request of it is on
// the wire.
func (s *Store) Retry(ctx context.Context, actor Actor, q OperatorRequest) (Operated, error) {
	return s.operate(ctx, actor, q, "retry", retrySQL)
}

// Skip ends a delivery without sending it. What waits behind it goes on. It is
// refused while a request of it is on the wire.
func (s *Store) Skip(ctx context.Context, actor Actor, q OperatorRequest) (Operated, error) {
	return s.operate(ctx, actor, q, "skip", skipSQL)
}

const (
	// Operators count in shard 0 of the tallies, and there last of all, so that no two
	// wait in a circle; [Replica.Finish] says what the order is for all.

	tenantSQL    = `SELECT set_config('raffsync.tenant', $1, true)`
	eventLaneSQL = `SELECT lane FROM events WHERE tenant = $1 AND accepted_at = $2 AND seq = $3`
	holdLaneSQL  = `SELECT raffsync_hold_lane($1)`

	operandSQL = `
SELECT d.seq, d.version, d.state, d.exception,
       EXISTS (SELECT FROM intents i CROSS JOIN LATERAL unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS p(lane, destination, seq, step, attempt)
                WHERE d.lane = ANY (i.lanes) AND p.lane = d.lane AND p.destination = d.destination AND p.seq = d.seq AND p.step = d.step AND p.attempt > d.requests) AS sending,
       d.unknown_at
  FROM deliveries d
 WHERE d.lane = $1 AND d.destination = $2 AND d.replay = $4
   AND d.seq = CASE WHEN $4 = 0 THEN $3 ELSE (SELECT r.seq FROM deliveries r WHERE r.event = $3 AND r.replay > 0 AND r.replay = $4 AND r.destination = $2) END`

	// endedSQL: the clock of an entry is that of its transaction's start, which may be a
	// little before its event's; the time bounds which partitions are looked into.
	endedSQL = `
SELECT state FROM timeline
 WHERE event = $2 AND at >= $1::timestamptz - interval '1 hour' AND destination = $3 AND coalesce(replay, 0) = $4
   AND state IN ('DELIVERED', 'SKIPPED', 'SUPERSEDED')
 ORDER BY at DESC, entry DESC LIMIT 1`

	// retrySQL keeps what is known of earlier requests: one that may have had its effect
	// is asked about first, where that can be done, and keeps its idempotency key. Where
	// each is proven to have had none, what was refused gets a key of its own: platforms
	// answer a key that they have refused once with the same refusal again.
	retrySQL = `
WITH changed AS (
  UPDATE deliveries
     SET state = 0, due_at = NULL, exception = NULL, attempts = 0, tried_at = NULL, version = version + 1,
         revision = revision + CASE WHEN state = 2 AND requests > 0 AND unknown_at IS NULL AND revision < 32767 THEN 1 ELSE 0 END
   WHERE lane = $1 AND destination = $2 AND seq = $3 AND version = $4
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step, version
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, $5::bigint, 'retry', 'PENDING', $6, $7 FROM changed
)
SELECT 'PENDING', version FROM changed`

	skipSQL = `
WITH changed AS (
  DELETE FROM deliveries
   WHERE lane = $1 AND destination = $2 AND seq = $3 AND version = $4
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, $5::bigint, 'skip', 'SKIPPED', $6, $7 FROM changed
)
SELECT 'SKIPPED', 0 FROM changed`

	countOperatedSQL = `
INSERT INTO tallies (tenant, destination, shard, skipped, needs_action) VALUES ($1, $2, 0, $3, $4)
ON CONFLICT (tenant, destination, shard) DO UPDATE
  SET skipped = tallies.skipped + excluded.skipped, needs_action = tallies.needs_action + excluded.needs_action`

	answeredSQL = `SELECT digest, answer FROM operator_requests WHERE request_id = $1`
	answerSQL   = `INSERT INTO operator_requests (tenant, request_id, digest, answer) VALUES ($1, $2, $3, $4)`
)

// validateRequest looks at what every request of an operator carries.
func validateRequest(requestID, reason string) error {
	for _, f := range []struct {
		name, value string
		most        int
	}{{"requestId", requestID, 100}, {"reason", reason, 500}} {
		text := strings.TrimSpace(f.value)
		if text == "" || len(f.value) > f.most || !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, unicode.IsControl) {
			return &Refusal{Field: f.name, Message: fmt.Sprintf("%s must be one line of text, 1 to %d bytes", f.name, f.most)}
		}
	}
	return nil
}

func (s *Store) operate(ctx context.Context, actor Actor, q OperatorRequest, what, sql string) (Operated, error) {
	return s.operateBy(ctx, actor, q, what, func(ctx context.Context, tx pgx.Tx, done *Operated) error {
		return transit(ctx, tx, actor, q, sql, done)
	})
}

// operateBy has a transition made while the delivery's lane is held, once for each request.
// What says all of the request that q does not.
func (s *Store) operateBy(ctx context.Context, actor Actor, q OperatorRequest, what string, do func(context.Context, pgx.Tx, *Operated) error) (Operated, error) {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return Operated{}, err
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "%s %d %d %d %d %s", what, q.Delivery.Event.Seq, q.Delivery.Destination, q.Delivery.Replay, q.ExpectedVersion, q.Reason))
	var done Operated
	err := s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if err := holdLaneOf(ctx, tx, actor, q.Delivery.Event, &done.Lane); err != nil {
			return err
		}
		// Under the lock: a repeat that came at the same time has waited for the first.
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &done)
		if err != nil || repeated {
			return err
		}
		if err := do(ctx, tx, &done); err != nil {
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
		// The same request id came at once for a delivery of another lane.
		err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
			repeated, err := answered(ctx, tx, q.RequestID, digest[:], &done)
			if err == nil && !repeated {
				err = ErrConflict // and that one was rolled back: asking again settles it
			}
			return err
		})
	}
	if err != nil {
		return Operated{}, err
	}
	s.Hint(Hint{Lanes: []int16{done.Lane}})
	return done, nil
}

// holdLaneOf holds the lane of the event's deliveries until the transaction ends: no
// intent of the lane commits meanwhile, and those that did are seen.
func holdLaneOf(ctx context.Context, tx pgx.Tx, actor Actor, id EventID, lane *int16) error {
	err := tx.QueryRow(ctx, eventLaneSQL, actor.Tenant, id.AcceptedAt, id.Seq).Scan(lane)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, holdLaneSQL, *lane)
	return err
}

func answered(ctx context.Context, tx pgx.Tx, requestID string, digest []byte, done any) (bool, error) {
	var first, answer []byte
	err := tx.QueryRow(ctx, answeredSQL, requestID).Scan(&first, &answer)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !bytes.Equal(first, digest) {
		return false, &Refusal{Field: "requestId", Message: "this requestId was used for another request; choose a new one"}
	}
	return true, json.Unmarshal(answer, done)
}

// changeable is a delivery that an operator may change: no request of it is on the wire.
type changeable struct {
	Position
	version   int32
	state     State
	exception *int64
	unknownAt *time.Time
}

// changeableOf reads it as it was expected. Its lane is held.
func changeableOf(ctx context.Context, tx pgx.Tx, q OperatorRequest, lane int16) (d changeable, err error) {
	id := q.Delivery
	d.Lane, d.Destination = lane, id.Destination
	var sending bool
	err = tx.QueryRow(ctx, operandSQL, lane, id.Destination, id.Event.Seq, id.Replay).Scan(&d.Seq, &d.version, &d.state, &d.exception, &sending, &d.unknownAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return d, over(ctx, tx, id)
	case err != nil:
		return d, err
	case sending:
		return d, &Refusal{Message: "a request of this delivery is on the wire right now; try again in a moment"}
	case d.version != q.ExpectedVersion:
		return d, ErrConflict
	}
	return d, nil
}

// transit makes the transition. Its lane is held.
func transit(ctx context.Context, tx pgx.Tx, actor Actor, q OperatorRequest, sql string, done *Operated) error {
	d, err := changeableOf(ctx, tx, q, done.Lane)
	switch {
	case err != nil:
		return err
	case d.state == Pending && sql != skipSQL:
		return &Refusal{Message: "this delivery has not failed: it goes by itself when its turn comes. Where an earlier event of its key is in the way, retry or skip that one"}
	case d.unknownAt == nil && sql == sendAnywaySQL:
		return &Refusal{Message: "no request of this delivery may have had its effect: retry it"}
	}
	reason := strings.TrimSpace(q.Reason)
	err = tx.QueryRow(ctx, sql, d.Lane, d.Destination, d.Seq, d.version, d.exception, reason, actor.Name).Scan(&done.State, &done.Version)
	if err != nil {
		return err
	}
	var skipped, needsAction int
	if done.State == StateSkipped {
		skipped = 1
		if _, err := tx.Exec(ctx, skipClaimsSQL, d.Lane, d.Destination, d.Seq, d.unknownAt); err != nil {
			return err
		}
	}
	if d.exception != nil {
		if err := offHold(ctx, tx, d.Position, reason, actor.Name); err != nil {
			return err
		}
		needsAction = -1
	}
	if skipped != 0 || needsAction != 0 {
		_, err = tx.Exec(ctx, countOperatedSQL, actor.Tenant, d.Destination, skipped, needsAction)
	}
	return err
}

// over says of a delivery that is not open that it has ended, and how, or that it never
// was.
func over(ctx context.Context, tx pgx.Tx, id DeliveryID) error {
	var state string
	err := tx.QueryRow(ctx, endedSQL, id.Event.AcceptedAt, id.Event.Seq, id.Destination, id.Replay).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	}
	return &Refusal{Message: fmt.Sprintf("this delivery is over: it is %s", state)}
}

// asTenant runs f in a transaction of the API's role that sees this tenant only. The
// setting ends with the transaction, so nothing of it leaks through the pool.
func (s *Store) asTenant(ctx context.Context, tenant string, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.api, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, tenantSQL, tenant); err != nil {
			return err
		}
		return f(tx)
	})
}
