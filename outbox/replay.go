package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ReplayFilter says which events are replayed. What is zero does not narrow it.
type ReplayFilter struct {
	// From is the first time of acceptance, Until the first that is not wanted any more:
	// zero, or later than the request, is the request's time.
	From, Until time.Time
	Source      string // name
	Type        string // exact
	Outlet      string
	// Reference is the value of any of the event's references.
	Reference string
	// Unrouted: only events that no route wanted when they came.
	Unrouted bool
}

// ReplayRequest asks for new deliveries to one destination.
type ReplayRequest struct {
	// RequestID is chosen by the caller, 1 to 100 bytes: a repeat gets the first replay.
	RequestID   string
	Destination string
	Filter      ReplayFilter
	Rate        int    // deliveries a second, 1 to [MaxReplayRate]
	Reason      string // for the timeline, 1 to 500 bytes
}

const (
	// DefaultReplayRate is gentle: a platform that has its usual traffic bears it beside.
	DefaultReplayRate = 20
	MaxReplayRate     = 10_000
)

// Replay is a job that makes deliveries.
type Replay struct {
	// Number is the replay number of its deliveries, and part of their idempotency keys: it
	// rises, and never recurs, not after a restore either (see [Store.AfterRestore]).
	Number      int32
	Tenant      string
	Destination string
	Filter      ReplayFilter
	Rate        int32
	State       string // RUNNING, PAUSED, DONE, CANCELLED
	// Through is the acceptance of the last event that was looked at.
	Through time.Time
	// Made deliveries; Unwanted events matched, and no route to the destination wants
	// them.
	Made, Unwanted int64
	RequestedAt    time.Time
	EndedAt        *time.Time
	Actor, Reason  string
}

// Names of a replay's states.
const (
	ReplayRunning   = "RUNNING"
	ReplayPaused    = "PAUSED"
	ReplayDone      = "DONE"
	ReplayCancelled = "CANCELLED"
)

const (
	destinationInForceSQL = `SELECT id FROM destinations WHERE name = $1 AND removed_at IS NULL`
	sourceNamedSQL        = `SELECT id FROM sources WHERE name = $1`

	startReplaySQL = `
INSERT INTO replays (tenant, request_id, digest, destination, from_at, until_at, source, type, outlet, reference, unrouted, rate, after_at, actor, reason)
VALUES ($1, $2, $3, $4, $5, LEAST(coalesce($6, now()), now()), $7, $8, $9, $10, $11, $12, $5, $13, $14)
ON CONFLICT (tenant, request_id) DO NOTHING
RETURNING id`

	startedReplaySQL = `SELECT id, digest FROM replays WHERE request_id = $1`

	auditReplaySQL = `
INSERT INTO timeline (tenant, destination, replay, what, reason, actor, detail)
SELECT tenant, destination, id, 'replay', $2, $3, jsonb_build_object('state', state, 'from', from_at, 'until', until_at, 'rate', rate, 'made', made)
  FROM replays WHERE id = $1`

	replayColumns = `r.id, r.tenant, d.name, r.from_at, r.until_at, coalesce(s.name, ''), r.type, r.outlet, r.reference, r.unrouted, r.rate, r.state,
       r.after_at, r.made, r.unwanted, r.requested_at, r.ended_at, r.actor, r.reason
  FROM replays r JOIN destinations d ON d.id = r.destination LEFT JOIN sources s ON s.id = r.source`

	replaySQL  = `SELECT ` + replayColumns + ` WHERE r.id = $1`
	replaysSQL = `SELECT ` + replayColumns + ` WHERE r.tenant = $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3`

	changeReplaySQL = `
UPDATE replays SET state = $2, ended_at = CASE WHEN $2 = 'CANCELLED' THEN now() END, next_at = now()
 WHERE id = $1 AND state IN ('RUNNING', 'PAUSED') AND state <> $2`
)

func scanReplay(row pgx.CollectableRow) (r Replay, err error) {
	f := &r.Filter
	err = row.Scan(&r.Number, &r.Tenant, &r.Destination, &f.From, &f.Until, &f.Source, &f.Type, &f.Outlet, &f.Reference, &f.Unrouted, &r.Rate, &r.State,
		&r.Through, &r.Made, &r.Unwanted, &r.RequestedAt, &r.EndedAt, &r.Actor, &r.Reason)
	return r, err
}

func (q *ReplayRequest) validate() error {
	if err := validateRequest(q.RequestID, q.Reason); err != nil {
		return err
	}
	if q.Rate < 1 || q.Rate > MaxReplayRate {
		return &Refusal{Field: "rate", Message: fmt.Sprintf("rate must be 1 to %d deliveries a second", MaxReplayRate)}
	}
	return q.Filter.validate()
}

func (f *ReplayFilter) validate() error {
	if f.From.IsZero() || !f.Until.IsZero() && !f.From.Before(f.Until) {
		return &Refusal{Field: "from", Message: "from must be a time, before until"}
	}
	for _, text := range []string{f.Source, f.Type, f.Outlet, f.Reference} {
		if storable(text) != text {
			return &Refusal{Field: "filter", Message: "a text of the filter is too long, or none that an event could have"}
		}
	}
	return nil
}

// numbered looks up the names of a filter, as the tenant.
func (f *ReplayFilter) numbered(ctx context.Context, tx pgx.Tx, destination string) (to, from int32, err error) {
	err = tx.QueryRow(ctx, destinationInForceSQL, destination).Scan(&to)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, &Refusal{Field: "destination", Message: fmt.Sprintf("there is no destination %q", destination)}
	}
	if err == nil && f.Source != "" {
		err = tx.QueryRow(ctx, sourceNamedSQL, f.Source).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, 0, &Refusal{Field: "source", Message: fmt.Sprintf("there is no source %q", f.Source)}
		}
	}
	return to, from, err
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// StartReplay begins a replay, in the background and over restarts: see [Replayer]. It
// returns a [*Refusal] where the request is wrong.
func (s *Store) StartReplay(ctx context.Context, actor Actor, q ReplayRequest) (r Replay, err error) {
	if err := q.validate(); err != nil {
		return r, err
	}
	f := q.Filter
	digest := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %q %q %q %q %t %d %q", q.Destination, f.From.UnixMicro(), f.Until.UnixMicro(), f.Source, f.Type, f.Outlet, f.Reference, f.Unrouted, q.Rate, q.Reason))
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		to, from, err := f.numbered(ctx, tx, q.Destination)
		if err != nil {
			return err
		}
		var id int32
		reason := strings.TrimSpace(q.Reason)
		err = tx.QueryRow(ctx, startReplaySQL, actor.Tenant, q.RequestID, digest[:], to, f.From, nullTime(f.Until), from, f.Type, f.Outlet, f.Reference, f.Unrouted, q.Rate, actor.Name, reason).Scan(&id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			var first []byte
			if err := tx.QueryRow(ctx, startedReplaySQL, q.RequestID).Scan(&id, &first); err != nil {
				return err
			}
			if !bytes.Equal(first, digest[:]) {
				return &Refusal{Field: "requestId", Message: "this requestId was used for another replay; choose a new one"}
			}
		case err != nil:
			return err
		default:
			if _, err := tx.Exec(ctx, auditReplaySQL, id, reason, actor.Name); err != nil {
				return err
			}
		}
		r, err = replayOf(ctx, tx, id)
		return err
	})
	return r, err
}

func replayOf(ctx context.Context, tx pgx.Tx, id int32) (Replay, error) {
	rows, err := tx.Query(ctx, replaySQL, id)
	if err != nil {
		return Replay{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanReplay)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return r, err
}

// ChangeReplay pauses a replay, lets it run on, or cancels it: what it has made stays.
// It returns [ErrNotFound] where there is none, and a [*Refusal] where it has ended.
// Asking for the state that it is in changes nothing.
func (s *Store) ChangeReplay(ctx context.Context, actor Actor, number int32, to, reason string) (r Replay, err error) {
	if err := validateRequest("none", reason); err != nil {
		return r, err
	}
	if to != ReplayRunning && to != ReplayPaused && to != ReplayCancelled {
		return r, &Refusal{Field: "state", Message: "a replay can be made RUNNING, PAUSED or CANCELLED"}
	}
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		changed, err := tx.Exec(ctx, changeReplaySQL, number, to)
		if err != nil {
			return err
		}
		if r, err = replayOf(ctx, tx, number); err != nil {
			return err
		}
		if changed.RowsAffected() == 0 {
			if r.State != to {
				return &Refusal{Message: "this replay has ended: it is " + r.State}
			}
			return nil
		}
		_, err = tx.Exec(ctx, auditReplaySQL, number, strings.TrimSpace(reason), actor.Name)
		return err
	})
	return r, err
}

// Replays lists the replays of a tenant before a number, the newest first; 0: all.
func (s *Store) Replays(ctx context.Context, tenant string, before int32, first int) (all []Replay, err error) {
	if before == 0 {
		before = 1<<31 - 1
	}
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, replaysSQL, tenant, before, first)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanReplay)
		return err
	})
	return all, err
}
