package escalate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
)

// row is an exception with how far its escalation has come.
type row struct {
	Exception int64
	Tenant    string
	Policy    []byte // NULL: not looked for yet
	Level     int
	Repeats   int
	// FromAt to SeenAt are as in [State]; see migration 18.
	FromAt, RepeatedAt                time.Time
	RestedLevel, RestedRepeat         time.Duration
	StateAcknowledgedAt               *time.Time
	StateAcknowledgedUntil            *time.Time
	SeenAt                            *time.Time
	Told                              []string
	Failures                          int
	Class, Destination, Source        string
	DestinationID                     int32
	Rule, Code, Field                 string
	LookedUp                          string // the value, where a look-up missed it
	Severity                          string
	Exposure                          map[string]float64 // money by currency
	Held                              int64
	OpenedAt                          time.Time
	ClosedAt                          *time.Time
	AcknowledgedAt, AcknowledgedUntil *time.Time

	outlet string  // looked for with the policy
	policy *Policy // of Policy, or found
}

const (
	// claimSQL takes what no other worker looks at. What it is about is read after that,
	// so that an acknowledgement that this waited for is seen.
	claimSQL = `
SELECT exception, coalesce($1::timestamptz, now()) FROM escalations
 WHERE next_at <= coalesce($1::timestamptz, now()) ORDER BY next_at, exception LIMIT $2 FOR UPDATE SKIP LOCKED`

	// readSQL: what is at stake is money by currency. What
	// holds a destination as a whole holds all that is open for it.
	readSQL = `
SELECT g.exception, g.tenant, g.policy, g.level, g.repeats, g.from_at, g.repeated_at, g.rested_level, g.rested_repeat,
       g.acknowledged_at AS state_acknowledged_at, g.acknowledged_until AS state_acknowledged_until, g.seen_at, g.told, g.failures,
       x.class, coalesce(d.name, '') AS destination, coalesce(s.name, '') AS source, x.destination AS destination_id, x.rule, x.code, x.field, coalesce(x.looked_up, '') AS looked_up,
       x.severity,
       coalesce((SELECT jsonb_object_agg(e.currency, e.amount) FROM exposures e WHERE e.exception = x.id AND e.currency <> ''), '{}') AS exposure,
       CASE WHEN x.holds_destination AND x.closed_at IS NULL
         THEN (SELECT coalesce(sum(t.accepted - t.delivered - t.skipped - t.superseded), 0)::bigint FROM tallies t WHERE t.tenant = x.tenant AND t.destination = x.destination)
         ELSE x.held END AS held,
       x.opened_at, x.closed_at, x.acknowledged_at, x.acknowledged_until
  FROM unnest($1::bigint[]) AS k(id)
  JOIN escalations g ON g.exception = k.id
  JOIN exceptions x ON x.id = k.id
  LEFT JOIN destinations d ON d.id = x.destination
  LEFT JOIN sources s ON s.id = x.source
 ORDER BY x.opened_at, x.id`

	// outletSQL is the outlet of one of the deliveries that an exception holds.
	outletSQL = `
SELECT e.outlet
  FROM (SELECT lane, destination, seq FROM holds WHERE exception = $1 ORDER BY lane, destination, seq LIMIT 1) AS h
  JOIN deliveries d ON d.lane = h.lane AND d.destination = h.destination AND d.seq = h.seq
  JOIN events e ON e.tenant = d.tenant AND e.accepted_at = d.event_at AND e.seq = d.event
 LIMIT 1`

	saveSQL = `
UPDATE escalations
   SET next_at = $2, policy = $3, level = $4, repeats = $5, from_at = $6, repeated_at = $7, rested_level = $8, rested_repeat = $9,
       acknowledged_at = $10, acknowledged_until = $11, seen_at = $12, told = $13, failures = 0
 WHERE exception = $1`

	// postponeSQL: what failed is looked at again, later each time, an hour at most.
	postponeSQL = `
UPDATE escalations
   SET failures = failures + 1, next_at = coalesce($2::timestamptz, now()) + LEAST(interval '1 hour', interval '10 seconds' * power(2, LEAST(failures, 10)))
 WHERE exception = $1`

	waitSQL = `UPDATE escalations SET next_at = $2 WHERE exception = ANY ($1)`

	// teamSQL holds the team's row until the transaction ends, and tells when it was told
	// last; $3 is where it was never.
	teamSQL = `
INSERT INTO team_notices (tenant, team, told_at) VALUES ($1, $2, $3)
ON CONFLICT (tenant, team) DO UPDATE SET told_at = team_notices.told_at
RETURNING told_at`
	toldSQL = `UPDATE team_notices SET told_at = $3 WHERE tenant = $1 AND team = $2`

	auditSQL = `
INSERT INTO timeline (tenant, exception, destination, what, reason, detail)
VALUES ($1, $2, NULLIF($3::integer, 0), 'escalate', $4, $5)`
)

// claim takes rows that are due, and tells the time.
func claim(ctx context.Context, tx pgx.Tx, at *time.Time, most int) (rows []*row, now time.Time, err error) {
	claimed, err := tx.Query(ctx, claimSQL, at, most)
	if err != nil {
		return nil, now, err
	}
	var ids []int64
	var id int64
	if _, err := pgx.ForEachRow(claimed, []any{&id, &now}, func() error { ids = append(ids, id); return nil }); err != nil || len(ids) == 0 {
		return nil, now, err
	}
	found, err := tx.Query(ctx, readSQL, ids)
	if err != nil {
		return nil, now, err
	}
	rows, err = pgx.CollectRows(found, pgx.RowToAddrOfStructByName[row])
	return rows, now, err
}

// state of the row, and its policy, where it has one.
func (r *row) state() (State, error) {
	s := State{
		Level: r.Level, Repeats: r.Repeats, From: r.FromAt, Repeated: r.RepeatedAt,
		Rested: Rest{r.RestedLevel, r.RestedRepeat}, Over: r.ClosedAt != nil,
	}
	if r.StateAcknowledgedAt != nil {
		s.AcknowledgedAt, s.AcknowledgedUntil = *r.StateAcknowledgedAt, *r.StateAcknowledgedUntil
	}
	if r.policy == nil && r.Policy != nil {
		r.policy = new(Policy)
		if err := json.Unmarshal(r.Policy, r.policy); err != nil {
			return s, fmt.Errorf("its policy cannot be read: %w", err)
		}
	}
	return s, nil
}

// facts are what conditions see of it.
func (r *row) facts(now time.Time) Facts {
	return Facts{
		Class: r.Class, Destination: r.Destination, Source: r.Source, Outlet: r.outlet, Severity: r.Severity, Exposure: r.Exposure,
		Held: r.Held, Age: now.Sub(r.OpenedAt),
	}
}

func (r *row) readOutlet(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, outletSQL, r.Exception)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err == nil && len(found) > 0 && found[0] != nil {
		r.outlet = *found[0]
	}
	return err
}

// save stores the state, and when to look again; the zero time for never.
func (r *row) save(ctx context.Context, tx pgx.Tx, s State, next time.Time) error {
	policy, err := json.Marshal(r.policy)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, saveSQL, r.Exception, orNull(next), policy, s.Level, s.Repeats, s.From, s.Repeated, s.Rested.Level, s.Rested.Repeat,
		orNull(s.AcknowledgedAt), orNull(s.AcknowledgedUntil), r.SeenAt, r.Told)
	return err
}

func orNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// audited is the detail of a timeline entry.
type audited struct {
	Kind   NoticeKind `json:"kind"`
	Team   string     `json:"team"`
	Level  int        `json:"level,omitempty"`
	Repeat int        `json:"repeat,omitempty"`
	// Addresses are told by Events of our own source, in the same order.
	Addresses []string `json:"addresses,omitempty"`
	Events    []string `json:"events,omitempty"`
}

func (r *row) audit(ctx context.Context, tx pgx.Tx, reason string, detail audited) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, auditSQL, r.Tenant, r.Exception, r.DestinationID, reason, text)
	return err
}

// entry is the event by which one address is told.
func entry(id string, source, destination int32, route string, n *Notice) (outbox.Entry, error) {
	payload, err := json.Marshal(n)
	return outbox.Entry{
		Event: outbox.Event{
			Tenant: n.Tenant, Source: source, ID: id, Type: outbox.TypeNotice,
			// What one address is told arrives in order.
			OrderingKey: "notice/" + route, ContentType: "application/json", Payload: payload,
		},
		Targets: []outbox.Target{{Destination: destination, Route: route}},
	}, err
}
