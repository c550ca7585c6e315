package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	exceptionsOfSQL = `
SELECT id FROM exceptions
 WHERE ($1::bigint = 0 OR id = $1) AND ($2 = '' OR class = $2 AND closed_at IS NULL) AND ($3::integer = 0 OR destination IN ($3, 0))`

	// heldPlaces, openPlaces and namedPlaces are where a filter looks.
	heldPlaces = `(SELECT DISTINCT lane, destination, seq FROM holds WHERE exception = ANY ($11::bigint[])) AS h
  JOIN deliveries d ON d.lane = h.lane AND d.destination = h.destination AND d.seq = h.seq`
	openPlaces  = `(SELECT $11::bigint[]) AS unused CROSS JOIN deliveries d`
	namedPlaces = `unnest($2::bigint[], $3::timestamptz[], $4::integer[], $5::integer[]) AS n(event, event_at, destination, replay)
 CROSS JOIN LATERAL (SELECT lane FROM events e WHERE e.tenant = $1 AND e.accepted_at = n.event_at AND e.seq = n.event LIMIT 1) AS e
  JOIN deliveries d ON d.lane = e.lane AND d.destination = n.destination AND d.replay = n.replay
   AND d.seq = CASE WHEN n.replay = 0 THEN n.event ELSE (
     SELECT r.seq FROM deliveries r WHERE r.event = n.event AND r.replay > 0 AND r.replay = n.replay AND r.destination = n.destination) END
 WHERE d.tenant = $1 AND d.state IN (1, 2)`

	matchConditions = `
 WHERE d.tenant = $1 AND d.state IN (1, 2) AND ($2::smallint = 0 OR d.state = $2) AND ($3::integer = 0 OR d.destination = $3)
   AND ($4::integer = 0 AND $5::text = '' AND $6::text = ''
        OR EXISTS (SELECT FROM events e WHERE e.tenant = $1 AND e.accepted_at = d.event_at AND e.seq = d.event
                      AND ($4 = 0 OR e.source = $4) AND ($5 = '' OR e.type = $5) AND ($6 = '' OR e.outlet = $6)))
   AND ($7::timestamptz IS NULL OR d.event_at >= $7) AND ($8::timestamptz IS NULL OR d.event_at < $8)
   AND ($9::timestamptz IS NULL AND $10::timestamptz IS NULL
        OR EXISTS (SELECT FROM holds t WHERE t.lane = d.lane AND t.destination = d.destination AND t.seq = d.seq
                      AND ($9 IS NULL OR t.held_at >= $9) AND ($10 IS NULL OR t.held_at < $10)))`

	matchColumns = `matched AS MATERIALIZED (
SELECT d.lane, d.destination, d.seq, d.event, d.event_at, d.replay, d.version, d.state, d.unknown_at, d.exception FROM `
	heldMatches  = matchColumns + heldPlaces + matchConditions
	openMatches  = matchColumns + openPlaces + matchConditions
	namedMatches = matchColumns + namedPlaces

	// What enters goes in one order for all, and leaves out what others have: that comes
	// back, as far as it is listed.
	enterInto = `
), entered AS (
  INSERT INTO job_members (tenant, lane, destination, seq, event, event_at, replay, version, job)
  SELECT $1, lane, destination, seq, event, event_at, replay, version, `
	enterFrom = `::bigint FROM matched ORDER BY lane, destination, seq
  ON CONFLICT DO NOTHING
  RETURNING lane, destination, seq
), left_out AS (
  SELECT m.lane, m.destination, m.seq, m.event, m.event_at, m.replay FROM matched m
   WHERE NOT EXISTS (SELECT FROM entered e WHERE e.lane = m.lane AND e.destination = m.destination AND e.seq = m.seq)
   ORDER BY m.lane, m.destination, m.seq LIMIT 1000
)
SELECT t.total, t.entered, o.lane, o.destination, o.seq, o.event, o.event_at, o.replay
  FROM (SELECT (SELECT count(*) FROM matched) AS total, (SELECT count(*) FROM entered) AS entered) AS t LEFT JOIN left_out o ON true`

	countMatches = `
)
SELECT count(*), count(*) FILTER (WHERE m.state = 2), count(*) FILTER (WHERE m.unknown_at IS NOT NULL), count(j.job), min(m.event_at), max(m.event_at)
  FROM matched m LEFT JOIN job_members j ON j.lane = m.lane AND j.destination = m.destination AND j.seq = m.seq`

	enterHeldSQL  = `WITH ` + heldMatches + enterInto + `$12` + enterFrom
	enterOpenSQL  = `WITH ` + openMatches + enterInto + `$12` + enterFrom
	enterNamedSQL = `WITH ` + namedMatches + enterInto + `$6` + enterFrom
	countHeldSQL  = `WITH ` + heldMatches + countMatches
	countOpenSQL  = `WITH ` + openMatches + countMatches
	countNamedSQL = `WITH ` + namedMatches + countMatches

	// whoHasSQL tells whose a delivery is that could not be entered.
	whoHasSQL = `
SELECT f.ord::integer - 1, j.id, j.action, j.state, j.actor, j.requested_at
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) WITH ORDINALITY AS f(lane, destination, seq, ord)
  JOIN job_members m ON m.lane = f.lane AND m.destination = f.destination AND m.seq = f.seq
  JOIN jobs j ON j.id = m.job
 ORDER BY f.ord`

	membersOfSQL = `SELECT event, event_at, destination, replay FROM job_members WHERE job = $1`
)

// matcher is a filter with its names looked up, as the tenant.
type matcher struct {
	named     []DeliveryID
	enterSQL  string
	countSQL  string
	arguments []any
}

func (f *JobFilter) matcher(ctx context.Context, tx pgx.Tx, tenant string) (m matcher, err error) {
	if len(f.Deliveries) > 0 {
		var events []Seq
		var at []time.Time
		var destinations, replays []int32
		seen := make(map[DeliveryID]bool)
		for _, d := range f.Deliveries {
			if d.Event.AcceptedAt = d.Event.AcceptedAt.UTC(); !seen[d] {
				seen[d] = true
				m.named = append(m.named, d)
				events, at = append(events, d.Event.Seq), append(at, d.Event.AcceptedAt)
				destinations, replays = append(destinations, d.Destination), append(replays, d.Replay)
			}
		}
		m.enterSQL, m.countSQL, m.arguments = enterNamedSQL, countNamedSQL, []any{tenant, events, at, destinations, replays}
		return m, nil
	}
	var to, from int32
	if f.Destination != "" {
		err = tx.QueryRow(ctx, destinationInForceSQL, f.Destination).Scan(&to)
		if errors.Is(err, pgx.ErrNoRows) {
			err = &Refusal{Field: "destination", Message: fmt.Sprintf("there is no destination %q", f.Destination)}
		}
	}
	if err == nil && f.Source != "" {
		err = tx.QueryRow(ctx, sourceNamedSQL, f.Source).Scan(&from)
		if errors.Is(err, pgx.ErrNoRows) {
			err = &Refusal{Field: "source", Message: fmt.Sprintf("there is no source %q", f.Source)}
		}
	}
	if err != nil {
		return m, err
	}
	m.enterSQL, m.countSQL = enterOpenSQL, countOpenSQL
	exceptions := []int64{}
	if f.Exception != 0 || f.Class != "" {
		rows, err := tx.Query(ctx, exceptionsOfSQL, f.Exception, f.Class, to)
		if err != nil {
			return m, err
		}
		if exceptions, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
			return m, err
		}
		m.enterSQL, m.countSQL = enterHeldSQL, countHeldSQL
	}
	state := map[string]State{StateWaiting: Retry, StateNeedsAction: NeedsAction}[f.State]
	m.arguments = []any{
		tenant, state, to, from, f.Type, f.Outlet, nullTime(f.AcceptedFrom), nullTime(f.AcceptedUntil), nullTime(f.HeldFrom), nullTime(f.HeldUntil), exceptions,
	}
	return m, nil
}

// member is a delivery of a job, by its place and by its name.
type member struct {
	Position
	DeliveryID
	version int32
}

// enter gives a job what matches, and returns how much that is, and what of it others have.
func (m *matcher) enter(ctx context.Context, tx pgx.Tx, job int64) (total, entered int64, left []member, err error) {
	rows, err := tx.Query(ctx, m.enterSQL, append(slices.Clone(m.arguments), job)...)
	if err != nil {
		return 0, 0, nil, err
	}
	var lane *int16
	var destination, replay *int32
	var seq, event *Seq
	var at *time.Time
	_, err = pgx.ForEachRow(rows, []any{&total, &entered, &lane, &destination, &seq, &event, &at, &replay}, func() error {
		if lane != nil {
			left = append(left, member{
				Position:   Position{*lane, *destination, *seq},
				DeliveryID: DeliveryID{Event: EventID{AcceptedAt: *at, Seq: *event}, Destination: *destination, Replay: *replay},
			})
		}
		return nil
	})
	return total, entered, left, err
}

// takenBy says of deliveries that could not be entered who has them, and who was first.
func takenBy(ctx context.Context, tx pgx.Tx, left []member) (failures []JobFailure, first *Job, err error) {
	if len(left) == 0 {
		return nil, nil, nil
	}
	var lanes []int16
	var destinations []int32
	var seqs []Seq
	for _, m := range left {
		lanes, destinations, seqs = append(lanes, m.Lane), append(destinations, m.Position.Destination), append(seqs, m.Position.Seq)
		failures = append(failures, JobFailure{Delivery: m.DeliveryID, Reason: "another job had it first"})
	}
	rows, err := tx.Query(ctx, whoHasSQL, lanes, destinations, seqs)
	if err != nil {
		return nil, nil, err
	}
	var ord int32
	var j Job
	_, err = pgx.ForEachRow(rows, []any{&ord, &j.ID, &j.Action, &j.State, &j.Actor, &j.RequestedAt}, func() error {
		if one := j; first == nil || one.ID < first.ID {
			first = &one
		}
		failures[ord].Reason = fmt.Sprintf("%s was first: job %d (%s, %s) has it since %s", j.Actor, j.ID, j.Action, j.State, clockTime(j.RequestedAt))
		return nil
	})
	return failures, first, err
}

// missing are the deliveries that were named and do not match, and why.
func (m *matcher) missing(ctx context.Context, tx pgx.Tx, job int64, left []member) ([]JobFailure, error) {
	rows, err := tx.Query(ctx, membersOfSQL, job)
	if err != nil {
		return nil, err
	}
	found := make(map[DeliveryID]bool)
	var d DeliveryID
	note := func() error { d.Event.AcceptedAt = d.Event.AcceptedAt.UTC(); found[d] = true; return nil }
	if _, err := pgx.ForEachRow(rows, []any{&d.Event.Seq, &d.Event.AcceptedAt, &d.Destination, &d.Replay}, note); err != nil {
		return nil, err
	}
	for _, l := range left {
		d = l.DeliveryID
		_ = note()
	}
	var missing []DeliveryID
	for _, d := range m.named {
		if !found[d] {
			missing = append(missing, d)
		}
	}
	return whyNot(ctx, tx, missing, "it has not failed, or there is no such delivery")
}
