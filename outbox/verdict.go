package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// MarkRequest says that a person has seen at the platform what the step under way of a
// delivery was to bring about.
type MarkRequest struct {
	OperatorRequest
	// Receipt is what the platform calls it. ExternalID has 1 to 500 bytes.
	Receipt Receipt
}

// StepUnderWay is what the step of a delivery is about, by its route as it is configured.
type StepUnderWay struct {
	Step int16
	// Name of the step; empty where the route names none. More: another one follows.
	Name string
	More bool
	// Effect names what it brings about; empty where the route does not.
	Effect string
	// Snapshot that the destination has with it; nil where the route names no version, where
	// another step follows, or where a newer one has been applied.
	Snapshot *Snapshot
}

const (
	// sendAnywaySQL forgets that an earlier request may have had its effect: a person has
	// seen that it had none. The idempotency key stays: should they be mistaken, a platform
	// that knows keys knows this one.
	sendAnywaySQL = `
WITH changed AS (
  UPDATE deliveries
     SET state = 0, due_at = NULL, exception = NULL, attempts = 0, tried_at = NULL, unknown_at = NULL, version = version + 1
   WHERE lane = $1 AND destination = $2 AND seq = $3 AND version = $4
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step, version
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, what, state, reason, actor)
  SELECT tenant, event, event_at, destination, replay, step, $5::bigint, 'resend', 'PENDING', $6, $7 FROM changed
)
SELECT 'PENDING', version FROM changed`

	// foundEffectSQL enters into the ledger what is there, whether or not the delivery had
	// claimed it; not where another one has. What is there was not sent as it would be now.
	foundEffectSQL = `
WITH settled AS (
  INSERT INTO effects AS f (tenant, destination, effect, revision, external_id, url, fields, source, event, at)
  SELECT d.tenant, d.destination, $5, 1, $6, $7, $8::jsonb, s.name, e.id, now()
    FROM deliveries d
    JOIN events e ON e.tenant = d.tenant AND e.accepted_at = d.event_at AND e.seq = d.event
    JOIN sources s ON s.id = e.source
   WHERE d.lane = $1 AND d.destination = $2 AND d.seq = $3 AND d.version = $4
  ON CONFLICT (tenant, destination, effect) DO UPDATE
    SET revision = f.revision + 1, at = excluded.at, source = excluded.source, event = excluded.event, content = NULL,
        external_id = excluded.external_id, url = coalesce(nullif(excluded.url, ''), f.url), fields = coalesce(f.fields, '{}') || excluded.fields,
        lane = NULL, seq = NULL, claimed_at = NULL, key = '', unknown_at = NULL
    WHERE f.lane IS NULL OR (f.lane, f.seq) = ($1, $3)
  RETURNING f.tenant, f.destination, f.effect
), woken AS (
  DELETE FROM effect_waits w USING settled s WHERE w.tenant = s.tenant AND w.destination = s.destination AND w.effect = s.effect
  RETURNING w.lane, w.destination, w.seq, w.key_hash
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM woken ON CONFLICT DO NOTHING
)
SELECT count(*) FROM settled`

	// foundSQL ends a delivery whose last step is done.
	foundSQL = `
WITH changed AS (
  DELETE FROM deliveries
   WHERE lane = $1 AND destination = $2 AND seq = $3 AND version = $4 AND step = $8
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, kind, what, state, reason, actor, detail)
  SELECT tenant, event, event_at, destination, replay, step, $5::bigint, 1, 'found', 'DELIVERED', $6, $7, $9::jsonb FROM changed
)
SELECT 'DELIVERED', 0 FROM changed`

	// foundStepSQL keeps a delivery open for its next step.
	foundStepSQL = `
WITH changed AS (
  UPDATE deliveries
     SET state = 0, due_at = NULL, exception = NULL, step = step + 1, requests = 0, attempts = 0, revision = 0, kind = 1, version = version + 1,
         unknown_at = NULL, tried_at = NULL, receipts = coalesce(receipts, '{}') || jsonb_build_object($10::text, $11::jsonb)
   WHERE lane = $1 AND destination = $2 AND seq = $3 AND version = $4 AND step = $8
  RETURNING tenant, event, event_at, lane, destination, seq, key_hash, replay, step - 1 AS step, version
), queued AS (
  INSERT INTO due (lane, destination, at, seq, key_hash) SELECT lane, destination, clock_timestamp(), seq, key_hash FROM changed
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, step, exception, kind, what, state, reason, actor, detail)
  SELECT tenant, event, event_at, destination, replay, step, $5::bigint, 1, 'found', 'PENDING', $6, $7, $9::jsonb FROM changed
)
SELECT 'PENDING', version FROM changed`

	countFoundSQL = `
INSERT INTO tallies (tenant, destination, shard, delivered, needs_action) VALUES ($1, $2, 0, $3, $4)
ON CONFLICT (tenant, destination, shard) DO UPDATE
  SET delivered = tallies.delivered + excluded.delivered, needs_action = tallies.needs_action + excluded.needs_action`
)

// SendAnyway has a delivery sent of which an earlier request may have had its effect: a
// person has seen at the platform that it had none, and answers for it. Nothing is asked
// first, and the platform's deduplication window does not matter. It is refused where no
// request may have had its effect, and while one is on the wire.
func (s *Store) SendAnyway(ctx context.Context, actor Actor, q OperatorRequest) (Operated, error) {
	return s.operate(ctx, actor, q, "send anyway", sendAnywaySQL)
}

// MarkDelivered says that the platform has what the step under way of a delivery was to
// bring about: it is done with that receipt, and nothing is sent for it. The ledger has the
// effect from then on, the destination the snapshot, and a next step goes on. It is for what
// waits for a retry or needs action; refused while a request of it is on the wire, and while
// another delivery is about to bring the same effect about. [ErrConflict] where the delivery
// is at another step than this one.
func (s *Store) MarkDelivered(ctx context.Context, actor Actor, q MarkRequest, of StepUnderWay) (Operated, error) {
	if err := q.Receipt.check(); err != nil {
		return Operated{}, err
	}
	what := fmt.Sprintf("mark delivered %s:", q.Receipt.json())
	return s.operateBy(ctx, actor, q.OperatorRequest, what, func(ctx context.Context, tx pgx.Tx, done *Operated) error {
		return q.markIn(ctx, tx, actor, of, done)
	})
}

// check that the receipt is kept as it was given.
func (r Receipt) check() error {
	bad := func(text string, most int) bool {
		return len(text) > most || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl)
	}
	switch {
	case strings.TrimSpace(r.ExternalID) == "" || bad(r.ExternalID, 500):
		return &Refusal{Field: "externalId", Message: "externalId must be one line of text, 1 to 500 bytes"}
	case bad(r.URL, 2000):
		return &Refusal{Field: "url", Message: "url must be one line of text, at most 2,000 bytes"}
	case len(r.Fields) > maxReceiptFields:
		return &Refusal{Field: "fields", Message: fmt.Sprintf("a receipt has at most %d fields", maxReceiptFields)}
	}
	for name, text := range r.Fields {
		if name == "" || bad(name, longestField) || bad(text, longestField) {
			return &Refusal{Field: "fields", Message: fmt.Sprintf("each field of a receipt is one line of text, at most %d bytes", longestField)}
		}
	}
	return nil
}

// markIn makes the transition. Its lane is held.
func (q *MarkRequest) markIn(ctx context.Context, tx pgx.Tx, actor Actor, of StepUnderWay, done *Operated) error {
	d, err := changeableOf(ctx, tx, q.OperatorRequest, done.Lane)
	if err != nil {
		return err
	}
	if d.state == Pending {
		return &Refusal{Message: "this delivery has not failed: it goes by itself when its turn comes"}
	}
	fields := q.Receipt.fieldsJSON()
	if of.Effect != "" { // before the delivery, in the order in which everybody locks
		var settled int
		err := tx.QueryRow(ctx, foundEffectSQL, d.Lane, d.Destination, d.Seq, d.version, of.Effect, q.Receipt.ExternalID, q.Receipt.URL, fields).Scan(&settled)
		if err != nil {
			return err
		}
		if settled == 0 {
			return &Refusal{Message: fmt.Sprintf("another delivery is about to bring %s about; look at it again when that has ended", of.Effect)}
		}
	}
	if s := of.Snapshot; s != nil && !of.More {
		_, err := tx.Exec(ctx, applySnapshotsSQL, []int16{d.Lane}, []int32{d.Destination}, []Seq{d.Seq}, []int32{d.version},
			[]string{s.OrderingKey}, []int16{s.Version.kind}, []int64{s.Version.number}, []string{s.Version.text}, []string{s.Event})
		if err != nil {
			return err
		}
	}
	reason := strings.TrimSpace(q.Reason)
	detail := Detail{ExternalID: q.Receipt.ExternalID, URL: q.Receipt.URL, Fields: q.Receipt.Fields, Step: of.Name, Effect: of.Effect}
	sql, arguments := foundSQL, []any{d.Lane, d.Destination, d.Seq, d.version, d.exception, reason, actor.Name, of.Step, detail.json()}
	if of.More {
		sql, arguments = foundStepSQL, append(arguments, of.Name, json.RawMessage(q.Receipt.json()))
	}
	err = tx.QueryRow(ctx, sql, arguments...).Scan(&done.State, &done.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrConflict // at another step by now
	}
	if err != nil {
		return err
	}
	// What else it has claimed, by a name that its route does not give it any more.
	if _, err := tx.Exec(ctx, skipClaimsSQL, d.Lane, d.Destination, d.Seq, d.unknownAt); err != nil {
		return err
	}
	delivered, needsAction := 0, 0
	if !of.More {
		delivered = 1
	}
	if d.exception != nil {
		if err := offHold(ctx, tx, d.Position, reason, actor.Name); err != nil {
			return err
		}
		needsAction = -1
	}
	_, err = tx.Exec(ctx, countFoundSQL, actor.Tenant, d.Destination, delivered, needsAction)
	return err
}
