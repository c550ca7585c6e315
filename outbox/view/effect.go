package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// Effect is what the ledger knows of one.
type Effect struct {
	Destination string
	Name        string
	// Revision is 0 while it is not there; it rises with each update that is proven.
	Revision   int32
	ExternalID string
	URL        string
	Fields     map[string]string
	// Source and Event name the event that brought it, as it is; empty while it is not there.
	Source, Event string
	At            *time.Time
	// ClaimedBy is the delivery that is about to bring it about, or to update it.
	ClaimedBy *outbox.DeliveryID `db:"-"`
}

// A claim's delivery is found by every column of its key.
var effectByName = register("an effect by its name", `
SELECT n.name AS destination, n.id AS destination_id, e.effect AS name, e.revision, e.external_id, e.url, coalesce(e.fields, '{}') AS fields,
       coalesce(e.source, '') AS source, coalesce(e.event, '') AS event, e.at, d.event AS claim_event, d.event_at AS claim_at, d.replay AS claim_replay
  FROM destinations n
  JOIN effects e ON e.tenant = n.tenant AND e.destination = n.id
  LEFT JOIN deliveries d ON d.lane = e.lane AND d.destination = e.destination AND d.seq = e.seq
 WHERE n.name = $1 AND e.effect = $2`)

// Effect returns what the ledger knows of an effect, or nil where it knows nothing.
func (t *Tx) Effect(ctx context.Context, destination, name string) (*Effect, error) {
	if err := t.checkDestination(ctx, destination); err != nil {
		return nil, err
	}
	type row struct {
		Effect
		DestinationID int32
		ClaimEvent    *outbox.Seq
		ClaimAt       *time.Time
		ClaimReplay   *int32
	}
	rows, err := collect[row](ctx, t, "an effect", effectByName, destination, name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	r := rows[0]
	r.Effect.ClaimedBy = deliveryOf(r.ClaimEvent, r.ClaimAt, r.ClaimReplay, r.DestinationID)
	return &r.Effect, nil
}

func deliveryOf(event *outbox.Seq, at *time.Time, replay *int32, destination int32) *outbox.DeliveryID {
	if event == nil || at == nil || replay == nil {
		return nil
	}
	return &outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: at.UTC(), Seq: *event}, Destination: destination, Replay: *replay}
}

// A row of waits is there as long as the claim that it waits for.
var claimsWaitedFor = register("claims that are waited for", `
SELECT (w.ord - 1)::integer AS place, d.event, d.event_at, d.replay, d.destination
  FROM unnest($1::smallint[], $2::integer[], $3::bigint[]) WITH ORDINALITY AS w(lane, destination, seq, ord)
 CROSS JOIN LATERAL (
   SELECT * FROM effect_waits f WHERE f.lane = w.lane AND f.destination = w.destination AND f.seq = w.seq LIMIT 1) AS f
 CROSS JOIN LATERAL (
   SELECT * FROM effects e WHERE e.tenant = f.tenant AND e.destination = f.destination AND e.effect = f.effect LIMIT 1) AS e
 CROSS JOIN LATERAL (
   SELECT * FROM deliveries d WHERE d.lane = e.lane AND d.destination = e.destination AND d.seq = e.seq LIMIT 1) AS d`)

// claimsWaitedFor tells whose effect open deliveries wait for, by their place.
func (t *Tx) claimsWaitedFor(ctx context.Context, rows []*open) (map[int]*outbox.DeliveryID, error) {
	var lanes []int16
	var destinations []int32
	var seqs []int64
	var places []int
	for i, o := range rows {
		if o.State == outbox.Pending {
			places = append(places, i)
			lanes, destinations, seqs = append(lanes, o.Lane), append(destinations, o.Destination), append(seqs, o.Seq)
		}
	}
	if len(places) == 0 {
		return nil, nil
	}
	type row struct {
		Place       int32
		Event       outbox.Seq
		EventAt     time.Time
		Replay      int32
		Destination int32
	}
	found, err := collect[row](ctx, t, "claims", claimsWaitedFor, lanes, destinations, seqs)
	by := make(map[int]*outbox.DeliveryID, len(found))
	for _, r := range found {
		by[places[r.Place]] = deliveryOf(&r.Event, &r.EventAt, &r.Replay, r.Destination)
	}
	return by, err
}
