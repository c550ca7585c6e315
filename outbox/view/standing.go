package view

import (
	"context"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox"
)

// State of a delivery, as people see it.
type State string

// The states. The last three are terminal.
const (
	Pending     State = "PENDING"
	Sending     State = "SENDING"
	WaitingFor  State = "WAITING"
	NeedsAction State = "NEEDS_ACTION"
	Delivered   State = "DELIVERED"
	Skipped     State = "SKIPPED"
	Superseded  State = "SUPERSEDED"
)

// Terminal tells whether a delivery ends in it.
func (s State) Terminal() bool { return s == Delivered || s == Skipped || s == Superseded }

// WaitingReason says what a delivery waits for.
type WaitingReason string

const (
	// ForRetry: its last attempt failed in a way that time may cure.
	ForRetry WaitingReason = "RETRY"
	// ForBreaker: its destination is in trouble; the breaker lets nothing through.
	ForBreaker WaitingReason = "BREAKER"
	// ForPace: its destination asked to be left alone for a while, or bears no more
	// requests a second.
	ForPace WaitingReason = "RATE_LIMIT"
	// ForPause: an operator paused its destination, its route or its source.
	ForPause WaitingReason = "PAUSED"
	// ForAuthorisation: its platform has taken the authorisation away, or suspended the
	// account.
	ForAuthorisation WaitingReason = "AUTHORISATION"
	// ForQuota: its destination has had as many requests as it may in this period.
	ForQuota WaitingReason = "QUOTA"
	// ForSlot: as many requests are in flight as its destination bears.
	ForSlot WaitingReason = "SLOTS"
	// ForConfiguration: its destination cannot be used as configured.
	ForConfiguration WaitingReason = "CONFIGURATION"
	// ForEarlier: an earlier delivery of its ordering key is not done.
	ForEarlier WaitingReason = "BLOCKED"
	// ForEffect: another delivery is about to bring the same effect about.
	ForEffect WaitingReason = "EFFECT"
)

// Waiting says why a delivery waits.
type Waiting struct {
	Reason WaitingReason
	// Until when at the earliest; nil where only an event can tell.
	Until *time.Time
	// BlockedBy is the first of the line that it stands in, or the delivery that has claimed
	// its effect.
	BlockedBy *outbox.DeliveryID
	// Control: the operator's decision that holds it, where there is one.
	Control *Control
	// Fault of the configuration, where that is why.
	Fault *Fault
}

// standing is what the state of an open delivery depends on beside its row.
type standing struct {
	sending bool
	head    *outbox.DeliveryID // of its key's line, where that is another one
	claim   *outbox.DeliveryID // that has its effect
	breaker Breaker            // of its destination
	paused  *Control           // its destination, source or route
	limits  limits             // of its destination, as far as they are reached
	fault   *Fault             // of its destination's configuration
	now     time.Time          // by the database's clock
}

// sameHold is how far apart two times may be that stand for one hold.
const sameHold = time.Second

// decide computes the state of an open delivery.
func (o *open) decide(s standing) (State, *Waiting) {
	switch {
	case o.State == outbox.NeedsAction:
		return NeedsAction, nil
	case s.sending:
		return Sending, nil
	case s.head != nil:
		return WaitingFor, &Waiting{Reason: ForEarlier, BlockedBy: s.head}
	case s.paused != nil && s.paused.Kind == outbox.OfAuthorisation:
		return WaitingFor, &Waiting{Reason: ForAuthorisation, Control: s.paused}
	case s.paused != nil:
		return WaitingFor, &Waiting{Reason: ForPause, Control: s.paused}
	case s.fault != nil && s.fault.Rests:
		return WaitingFor, &Waiting{Reason: ForConfiguration, Fault: s.fault}
	case s.claim != nil:
		return WaitingFor, &Waiting{Reason: ForEffect, BlockedBy: s.claim}
	case s.breaker.State == BreakerOpen && s.breaker.ProbeAt == nil:
		return WaitingFor, &Waiting{Reason: ForBreaker, Control: s.breaker.Forced}
	}
	// Of several holds it is the last to end that it waits for.
	var waiting *Waiting
	hold := func(reason WaitingReason, until *time.Time) {
		if until != nil && (waiting == nil || until.After(*waiting.Until)) {
			waiting = &Waiting{Reason: reason, Until: until}
		}
	}
	if s.breaker.State == BreakerOpen {
		hold(ForBreaker, s.breaker.ProbeAt)
	}
	if p := s.breaker.PacedUntil; p != nil && p.After(s.now) {
		hold(ForPace, p)
	}
	if at := s.limits.RateFreeAt; at != nil && at.After(s.now) {
		hold(ForPace, at)
	}
	if at := s.limits.QuotaUntil; at != nil && at.After(s.now) {
		hold(ForQuota, at)
	}
	// The row's own time often follows from a hold of its destination, and is stored a
	// moment later: it counts where it is another one.
	if o.State == outbox.Retry && o.DueAt != nil && o.DueAt.After(s.now) && (waiting == nil || o.DueAt.Sub(*waiting.Until) > sameHold) {
		reason := ForRetry
		if raffsyncv1.OutcomeKind(o.Kind) == raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED {
			reason = ForPace
		}
		hold(reason, o.DueAt)
	}
	if waiting != nil {
		return WaitingFor, waiting
	}
	if s.limits.Busy {
		return WaitingFor, &Waiting{Reason: ForSlot}
	}
	return Pending, nil
}

// Of a line, the first that blocks: one that needs action lets later ones pass where
// its route says so. So many are looked at before nothing is said to block.
const lineBudget = 100

// An intent is open while its delivery is there with fewer requests than the
// intent's attempt. The log of intents is short: a row leaves it once all of its
// outcomes are stored. The routes are those of [outbox.Configuration.Delivering]: of two
// of one name the last holds.
var standings = register("standings", `
WITH wanted AS (
  SELECT * FROM unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::integer[], $8::smallint[])
           WITH ORDINALITY AS w(lane, destination, seq, key_hash, accepted_at, requests, step, ord)
), sending AS (
  SELECT DISTINCT w.ord
    FROM intents i
   CROSS JOIN LATERAL unnest(i.lanes, i.destinations, i.seqs, i.steps, i.attempts) AS u(lane, destination, seq, step, attempt)
    JOIN wanted w ON w.lane = u.lane AND w.destination = u.destination AND w.seq = u.seq AND w.step = u.step AND w.requests < u.attempt
), newest AS (
  SELECT document FROM configuration ORDER BY version DESC LIMIT 1
), routes AS (
  SELECT 0 AS place, r.ord, r.route FROM newest CROSS JOIN LATERAL jsonb_path_query(document, '$.draining[*] ? (!exists(@.skip)).routes[*]') WITH ORDINALITY AS r(route, ord)
   UNION ALL
  SELECT 1, r.ord, r.route FROM newest CROSS JOIN LATERAL jsonb_path_query(document, '$.routes[*]') WITH ORDINALITY AS r(route, ord)
), passing AS (
  SELECT route ->> 'name' AS name FROM routes GROUP BY 1
  HAVING (array_agg(route ->> 'on_exception' ORDER BY place DESC, ord DESC))[1] = 'pass'
)
SELECT (w.ord - 1)::integer AS place, s.ord IS NOT NULL AS sending, h.event, h.event_at, h.replay, now() AS now
  FROM wanted w
  LEFT JOIN sending s ON s.ord = w.ord
  LEFT JOIN LATERAL (
    SELECT line.event, line.event_at, line.replay
      FROM (SELECT d.event, d.event_at, d.replay, d.state, d.route
              FROM deliveries d
             WHERE d.lane = w.lane AND d.destination = w.destination AND d.key_hash = w.key_hash
               AND (d.accepted_at, d.seq) < (w.accepted_at, w.seq)
             ORDER BY d.accepted_at, d.seq LIMIT $7) AS line
     WHERE NOT (line.state = 2 AND line.route = ANY (ARRAY(SELECT name FROM passing)))
     LIMIT 1) AS h ON true`)

// describe computes the states of open deliveries.
func (t *Tx) describe(ctx context.Context, rows []*open) ([]*Delivery, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var lanes []int16
	var destinations, requests []int32
	var seqs, keys []int64
	var accepted []time.Time
	var steps []int16
	for _, o := range rows {
		steps = append(steps, o.Step)
		lanes, destinations = append(lanes, o.Lane), append(destinations, o.Destination)
		seqs, keys = append(seqs, o.Seq), append(keys, o.KeyHash)
		accepted, requests = append(accepted, o.AcceptedAt), append(requests, o.Requests)
	}
	type row struct {
		Place   int32
		Sending bool
		Event   *outbox.Seq
		EventAt *time.Time
		Replay  *int32
		Now     time.Time
	}
	found, err := collect[row](ctx, t, "standings", standings, lanes, destinations, seqs, keys, accepted, requests, lineBudget, steps)
	if err != nil {
		return nil, err
	}
	claims, err := t.claimsWaitedFor(ctx, rows)
	if err != nil {
		return nil, err
	}
	breakers, err := t.breakers(ctx)
	if err != nil {
		return nil, err
	}
	reached, err := t.limits(ctx)
	if err != nil {
		return nil, err
	}
	held, err := t.held(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := t.sourcesOf(ctx, rows, held)
	if err != nil {
		return nil, err
	}
	faults, err := t.faults(ctx)
	if err != nil {
		return nil, err
	}
	causes, err := t.causesOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	described := make([]*Delivery, len(rows))
	for _, r := range found {
		o := rows[r.Place]
		s := standing{
			sending: r.Sending, claim: claims[int(r.Place)], breaker: held.breaker(o.Name, breakers[o.Destination]),
			paused: held.over(o.Name, o.Route, sources[r.Place]), limits: reached[o.Destination], fault: faults[o.Destination], now: r.Now,
		}
		if r.Event != nil {
			s.head = &outbox.DeliveryID{
				Event:       outbox.EventID{AcceptedAt: r.EventAt.UTC(), Seq: *r.Event},
				Destination: o.Destination, Replay: *r.Replay,
			}
		}
		described[r.Place] = o.delivery(s)
		described[r.Place].Exceptions = causes[o]
	}
	return described, nil
}

func (o *open) delivery(s standing) *Delivery {
	d := &Delivery{
		Ref: o.ref(), Destination: o.Name, Route: o.Route, Version: o.Version, Step: o.Step,
		Requests: o.Requests, Spent: o.Attempts, LastKind: raffsyncv1.OutcomeKind(o.Kind),
	}
	if o.Exception != nil {
		d.Exception = *o.Exception
	}
	d.State, d.Waiting = o.decide(s)
	return d
}
