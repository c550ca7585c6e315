package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// RedirectRequest asks to send an event elsewhere instead.
type RedirectRequest struct {
	OperatorRequest
	To string // name of the other destination
	// Route by which it goes there, whatever its conditions say; empty: the first of
	// today's that wants it.
	Route string
}

// Redirected is what became of it.
type Redirected struct {
	// Replay is the number of the replay that makes the new delivery, within seconds.
	Replay int32  `json:"replay"`
	Route  string `json:"route"`
}

const (
	eventOfSQL = `
SELECT tenant, source, id, type, ordering_key, occurred_at, outlet, content_type, coalesce(refs, '{}'::jsonb), payload
  FROM events WHERE tenant = $1 AND accepted_at = $2 AND seq = $3`

	routeLeadsSQL = `
SELECT coalesce((SELECT jsonb_path_exists(document, '$.routes[*] ? (@.name == $name && @.to == $to)', jsonb_build_object('name', $1::text, 'to', $2::text))
  FROM configuration ORDER BY version DESC LIMIT 1), false)`

	doubtfulSQL = `
SELECT unknown_at IS NOT NULL, step FROM deliveries d
 WHERE d.lane = $1 AND d.destination = $2 AND d.replay = $4
   AND d.seq = CASE WHEN $4 = 0 THEN $3 ELSE (SELECT r.seq FROM deliveries r WHERE r.event = $3 AND r.replay > 0 AND r.replay = $4 AND r.destination = $2) END`

	// redirectSQL is a replay of exactly one event.
	redirectSQL = `
INSERT INTO replays (tenant, request_id, digest, destination, from_at, until_at, rate, after_at, after_seq, event, route, actor, reason)
VALUES ($1, 'redirect ' || $2, $3, $4, $5, $5::timestamptz + interval '1 microsecond', 1, $5, $6::bigint - 1, $6, $7, $8, $9)
RETURNING id`
)

// Redirect ends a delivery as skipped, with the reason that it was redirected, and has the
// same event delivered to another destination, as a replay would: a new delivery, from the
// event as it came, in its key's line there behind what was accepted before this request.
//
// It is refused where no route can take it there, where an earlier request may have had its
// effect, or an earlier step is done: the other platform would have it too.
func (s *Store) Redirect(ctx context.Context, actor Actor, q RedirectRequest, route Router) (done Redirected, err error) {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return done, err
	}
	for field, text := range map[string]string{"to": q.To, "route": q.Route} {
		if storable(text) != text {
			return done, &Refusal{Field: field, Message: "this is no name that anything could have"}
		}
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "redirect %d %d %d %d %q %q %s", q.Delivery.Event.Seq, q.Delivery.Destination, q.Delivery.Replay, q.ExpectedVersion, q.To, q.Route, q.Reason))
	var lane int16
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if err := holdLaneOf(ctx, tx, actor, q.Delivery.Event, &lane); err != nil {
			return err
		}
		repeated, err := answered(ctx, tx, q.RequestID, digest[:], &done)
		if err != nil || repeated {
			return err
		}
		if err := redirect(ctx, tx, actor, lane, q, route, digest[:], &done); err != nil {
			return err
		}
		answer, err := json.Marshal(done)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, answerSQL, actor.Tenant, q.RequestID, digest[:], answer)
		return err
	})
	if sqlState(err) == stateUnique {
		return Redirected{}, ErrConflict // the same request id came at once for something else
	}
	if err != nil {
		return Redirected{}, err
	}
	s.Hint(Hint{Lanes: []int16{lane}})
	return done, nil
}

func redirect(ctx context.Context, tx pgx.Tx, actor Actor, lane int16, q RedirectRequest, route Router, digest []byte, done *Redirected) error {
	var to int32
	err := tx.QueryRow(ctx, destinationInForceSQL, q.To).Scan(&to)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &Refusal{Field: "to", Message: fmt.Sprintf("there is no destination %q", q.To)}
	case err != nil:
		return err
	case to == q.Delivery.Destination:
		return &Refusal{Field: "to", Message: "it goes there already: retry it instead"}
	}
	if done.Route, err = routeThere(ctx, tx, actor.Tenant, to, q, route); err != nil {
		return err
	}
	if err := undoubted(ctx, tx, lane, q.Delivery); err != nil {
		return err
	}
	reason := strings.TrimSpace(q.Reason)
	skip := q.OperatorRequest
	skip.Reason = "redirected to " + q.To + ": " + reason
	if err := transit(ctx, tx, actor, skip, skipSQL, &Operated{Lane: lane}); err != nil {
		return err
	}
	e := q.Delivery.Event
	err = tx.QueryRow(ctx, redirectSQL, actor.Tenant, q.RequestID, digest, to, e.AcceptedAt, e.Seq, done.Route, actor.Name, "redirected: "+reason).Scan(&done.Replay)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, auditReplaySQL, done.Replay, "redirected: "+reason, actor.Name)
	return err
}

// routeThere is the route by which the event goes to the other destination.
func routeThere(ctx context.Context, tx pgx.Tx, tenant string, to int32, q RedirectRequest, route Router) (string, error) {
	if q.Route != "" {
		var leads bool
		err := tx.QueryRow(ctx, routeLeadsSQL, q.Route, q.To).Scan(&leads)
		if err == nil && !leads {
			err = &Refusal{Field: "route", Message: fmt.Sprintf("there is no route %q to %s", q.Route, q.To)}
		}
		return q.Route, err
	}
	var e Event
	var refs []byte
	err := tx.QueryRow(ctx, eventOfSQL, tenant, q.Delivery.Event.AcceptedAt, q.Delivery.Event.Seq).
		Scan(&e.Tenant, &e.Source, &e.ID, &e.Type, &e.OrderingKey, &e.OccurredAt, &e.Outlet, &e.ContentType, &refs, &e.Payload)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(refs, &e.References); err != nil {
		return "", err
	}
	by, wanted := route(tenant, to, &e)
	if !wanted {
		return "", &Refusal{Field: "to", Message: fmt.Sprintf("no route to %s wants this event: name the one that is to take it", q.To)}
	}
	return by, nil
}

// undoubted refuses what the first platform may have, or has in part.
func undoubted(ctx context.Context, tx pgx.Tx, lane int16, id DeliveryID) error {
	var doubtful bool
	var step int16
	err := tx.QueryRow(ctx, doubtfulSQL, lane, id.Destination, id.Event.Seq, id.Replay).Scan(&doubtful, &step)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it is over, which the transition tells
	}
	if err != nil {
		return err
	}
	switch {
	case doubtful:
		return &Refusal{Message: "an earlier request may have had its effect: retry it, which asks where it can, or find out at the platform first"}
	case step > 0:
		return &Refusal{Message: "an earlier step is done there already: put it right at the platform first"}
	}
	return nil
}
