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

	"raffsync/outbox/mutant"
)

// EditRequest asks to change fields of an event's payload for one delivery, which is then
// prepared again.
type EditRequest struct {
	OperatorRequest
	Changes []Change
}

// Edit is a change of fields for one delivery. The event stays as it came.
type Edit struct {
	ID       int64
	Delivery DeliveryID
	Changes  []Change
	State    string // PENDING: it waits for a second person; APPLIED, REJECTED
	// Second: it needs, or needed, a second person.
	Second        bool
	Actor, Reason string
	AskedAt       time.Time
	// DecidedBy is who approved or rejected it; who asked, where nobody else had to.
	DecidedBy  *string
	DecidedAt  *time.Time
	DecidedWhy *string
}

// Names of an edit's states.
const (
	EditPending  = "PENDING"
	EditApplied  = "APPLIED"
	EditRejected = "REJECTED"
)

const (
	// editableSQL reads what an edit is judged by. Its lane is held.
	editableSQL = `
SELECT d.route, d.step, d.revision, d.state, e.payload,
       d.unknown_at IS NOT NULL OR EXISTS (SELECT FROM effects f WHERE f.destination = d.destination AND f.lane = d.lane AND f.seq = d.seq AND f.unknown_at IS NOT NULL) AS doubtful,
       coalesce((SELECT jsonb_path_query_first(document, '$.routes[*] ? (@.name == $name).edits', jsonb_build_object('name', d.route))
          FROM configuration WHERE tenant = d.tenant ORDER BY version DESC LIMIT 1), '{}'::jsonb)
  FROM deliveries d JOIN events e ON e.tenant = d.tenant AND e.accepted_at = d.event_at AND e.seq = d.event
 WHERE d.lane = $1 AND d.destination = $2 AND d.seq = $3`

	askEditSQL = `
INSERT INTO edits (tenant, event, event_at, destination, replay, changes, state, second, actor, reason, decided_by, decided_at, decided_why)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN 'PENDING' ELSE 'APPLIED' END, $7, $8, $9, CASE WHEN NOT $7 THEN $8 END, CASE WHEN NOT $7 THEN now() END, CASE WHEN NOT $7 THEN $9 END)
RETURNING id`

	// tellEditSQL names paths, never values: what was there stands in the event.
	tellEditSQL = `
INSERT INTO timeline (tenant, event, event_at, destination, replay, exception, what, state, reason, actor, detail)
SELECT tenant, event, event_at, destination, replay, $2::bigint, 'edit', $3, $4, $5,
       jsonb_build_object('edit', id, 'state', state, 'paths', jsonb_path_query_array(changes, '$[*].path'), 'asked_by', actor, 'second_person', second)
  FROM edits WHERE id = $1`

	// editedSQL starts it anew, as [retrySQL] does, under a key of its own.
	editedSQL = `
WITH changed AS (
  UPDATE deliveries
     SET state = 0, due_at = NULL, exception = NULL, attempts = 0, tried_at = NULL, version = version + 1, revision = revision + 1, edited = true
   WHERE lane = $1 AND destination = $2 AND seq = $3
  RETURNING lane, destination, seq, key_hash
)
INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed`

	decideEditSQL = `
UPDATE edits SET state = $2, decided_by = $3, decided_at = now(), decided_why = $4 WHERE id = $1 AND state = 'PENDING'`

	editColumns = `id, event, event_at, destination, replay, changes, state, second, actor, reason, asked_at, decided_by, decided_at, decided_why FROM edits`
	editSQL     = `SELECT ` + editColumns + ` WHERE id = $1`
	editsSQL    = `SELECT ` + editColumns + ` WHERE tenant = $1 AND id < $2 AND ($3 = '' OR state = $3) ORDER BY id DESC LIMIT $4`

	appliedEditsSQL = `
SELECT f.ord::integer - 1, e.changes
  FROM unnest($1::bigint[], $2::integer[], $3::integer[]) WITH ORDINALITY AS f(event, destination, replay, ord)
  JOIN edits e ON e.event = f.event AND e.destination = f.destination AND e.replay = f.replay AND e.state = 'APPLIED'
 ORDER BY f.ord, e.decided_at, e.id`
)

// applyEdits puts what was edited in place of events, for those deliveries only. Whatever
// else reads these events has them as they came.
func (r *Replica) applyEdits(ctx context.Context, deliveries []*Delivery, events []*LoadedEvent) error {
	var places []int
	var seqs []Seq
	var destinations, replays []int32
	for i, d := range deliveries {
		if d.Edited && events[i] != nil {
			places, seqs = append(places, i), append(seqs, d.Event)
			destinations, replays = append(destinations, d.Destination), append(replays, d.Replay)
		}
	}
	if len(places) == 0 || mutant.On(mutant.EditIgnored) {
		return nil
	}
	rows, err := r.pool.Query(ctx, appliedEditsSQL, seqs, destinations, replays)
	if err != nil {
		return fmt.Errorf("load edits: %w", err)
	}
	changes := make([][]Change, len(places))
	var ord int32
	var some []Change
	_, err = pgx.ForEachRow(rows, []any{&ord, &some}, func() error {
		changes[ord] = append(changes[ord], some...)
		some = nil
		return nil
	})
	if err != nil {
		return fmt.Errorf("load edits: %w", err)
	}
	for i, place := range places {
		edited := *events[place]
		if edited.Payload, err = patched(edited.Payload, changes[i]); err != nil {
			events[place] = nil // never as it came, which somebody has found wrong
			continue
		}
		events[place] = &edited
	}
	return nil
}

// editable is a delivery that is about to be edited, whose lane is held.
type editable struct {
	Position
	exception *int64
	version   int32
	second    bool
}

// AskEdit changes fields for one delivery and sets it free to be prepared from what it is
// then, under a new idempotency key; where one of the fields needs a second person, it
// waits for [Store.DecideEdit] instead.
//
// It is refused where the route does not allow a field, where the delivery is over or has
// not failed, where an earlier step is done, and where an earlier request is not proven to
// have had no effect.
func (s *Store) AskEdit(ctx context.Context, actor Actor, q EditRequest) (done Edit, err error) {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return done, err
	}
	changes, err := json.Marshal(q.Changes)
	if err != nil {
		return done, &Refusal{Field: "changes", Message: "a value is no JSON"}
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "edit %d %d %d %d %s %s", q.Delivery.Event.Seq, q.Delivery.Destination, q.Delivery.Replay, q.ExpectedVersion, q.Reason, changes))
	var lane int16
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if err := holdLaneOf(ctx, tx, actor, q.Delivery.Event, &lane); err != nil {
			return err
		}
		var id int64
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &id)
		if err != nil {
			return err
		}
		if !repeated {
			if id, err = askEdit(ctx, tx, actor, lane, q, changes); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest[:], fmt.Appendf(nil, "%d", id)); err != nil {
				return err
			}
		}
		done, err = editOf(ctx, tx, id)
		return err
	})
	if sqlState(err) == stateUnique {
		return Edit{}, &Refusal{Message: "an edit of this delivery waits for a second person already: approve or reject that one first"}
	}
	if err == nil {
		s.Hint(Hint{Lanes: []int16{lane}})
	}
	return done, err
}

func askEdit(ctx context.Context, tx pgx.Tx, actor Actor, lane int16, q EditRequest, changes []byte) (id int64, err error) {
	e, err := examineEdit(ctx, tx, lane, q.Delivery, q.Changes)
	if err != nil {
		return 0, err
	}
	if e.version != q.ExpectedVersion {
		return 0, ErrConflict
	}
	d, reason := q.Delivery, strings.TrimSpace(q.Reason)
	err = tx.QueryRow(ctx, askEditSQL, actor.Tenant, d.Event.Seq, d.Event.AcceptedAt, d.Destination, d.Replay, changes, e.second, actor.Name, reason).Scan(&id)
	if err != nil {
		return 0, err
	}
	if e.second {
		_, err = tx.Exec(ctx, tellEditSQL, id, e.exception, nil, reason, actor.Name)
		return id, err
	}
	return id, e.apply(ctx, tx, actor, id, reason)
}

// examineEdit tells whether changes may be made to a delivery as it is now.
func examineEdit(ctx context.Context, tx pgx.Tx, lane int16, id DeliveryID, changes []Change) (e editable, err error) {
	var state State
	var sending bool
	var unknownAt *time.Time
	e.Lane, e.Destination = lane, id.Destination
	err = tx.QueryRow(ctx, operandSQL, lane, id.Destination, id.Event.Seq, id.Replay).Scan(&e.Seq, &e.version, &state, &e.exception, &sending, &unknownAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return e, over(ctx, tx, id)
	case err != nil:
		return e, err
	case sending:
		return e, &Refusal{Message: "a request of this delivery is on the wire right now; try again in a moment"}
	}
	var route string
	var step, revision int16
	var payload []byte
	var doubtful bool
	var config EditsConfig
	if err := tx.QueryRow(ctx, editableSQL, lane, id.Destination, e.Seq).Scan(&route, &step, &revision, &state, &payload, &doubtful, &config); err != nil {
		return e, err
	}
	switch {
	case doubtful:
		return e, &Refusal{Message: "an earlier request may have had its effect: what it sent cannot be changed any more. Retry it, or put it right at the platform and skip it"}
	case step > 0:
		return e, &Refusal{Message: "an earlier step is done already, by what the event said: put it right at the platform"}
	case state == Pending:
		return e, &Refusal{Message: "this delivery has not failed: only what waits for a retry or needs action is edited"}
	case revision == 32767:
		return e, &Refusal{Message: "this delivery was prepared too often: skip it and replay its event"}
	}
	if e.second, err = config.judge(changes); err != nil {
		return e, err
	}
	_, err = patched(payload, changes)
	return e, err
}

// apply sets the delivery free, with the edit.
func (e *editable) apply(ctx context.Context, tx pgx.Tx, actor Actor, id int64, reason string) error {
	if _, err := tx.Exec(ctx, editedSQL, e.Lane, e.Destination, e.Seq); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, tellEditSQL, id, e.exception, StatePending, reason, actor.Name); err != nil {
		return err
	}
	if e.exception == nil {
		return nil
	}
	if err := offHold(ctx, tx, e.Position, reason, actor.Name); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, countOperatedSQL, actor.Tenant, e.Destination, 0, -1)
	return err
}
