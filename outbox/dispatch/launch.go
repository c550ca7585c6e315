package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/mutant"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// launchBatch bounds how many deliveries share one row of intents.
const launchBatch = 512

// launchAll prepares what was admitted, makes its intents durable, and only then
// sends it.
func (n *incarnation) launchAll(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.launches.signal:
		}
		if err := n.launch(ctx, n.launches.take(launchBatch)); err != nil {
			return unlessOver(ctx, err)
		}
	}
}

func (n *incarnation) launch(ctx context.Context, flights []*flight) error {
	if len(flights) == 0 {
		return nil
	}
	deliveries := make([]*outbox.Delivery, len(flights))
	for i, f := range flights {
		deliveries[i] = f.delivery
	}
	var events []*outbox.LoadedEvent
	err := n.persist(ctx, "loading events", func(ctx context.Context) (err error) {
		events, err = n.replica.Load(ctx, deliveries)
		return err
	})
	if err != nil {
		return err
	}
	if err := n.readVersions(ctx, flights, events); err != nil {
		return err
	}
	var prepared []*flight
	for i, f := range flights {
		if n.restsWithSource(f, events[i]) {
			continue
		}
		if n.prepare(f, events[i]) {
			prepared = append(prepared, f)
			continue
		}
		f.settle(context.Canceled)
		n.land(f)
	}
	if len(prepared) == 0 {
		return nil
	}
	intended := make([]*outbox.Delivery, len(prepared))
	byLane := make(map[int16]outbox.Lease)
	for i, f := range prepared {
		intended[i] = f.delivery
		byLane[f.lease.Lane] = f.lease
	}
	leases := make([]outbox.Lease, 0, len(byLane))
	for _, l := range byLane {
		leases = append(leases, l)
	}
	var stored outbox.Batch
	number, began := n.replica.NextBatch(), time.Now()
	err = n.persist(ctx, "storing intents", func(ctx context.Context) (err error) {
		if mutant.On(mutant.NoIntent) {
			stored = n.pretend(intended)
			return nil
		}
		stored, err = n.replica.Intend(ctx, number, leases, intended)
		return err
	})
	if err != nil {
		return err // the incarnation is over, and its breakers with it
	}
	tellBatch(n.config.Observe.Intended, len(intended), began)
	b := &batch{number: number, open: len(stored.Members), size: len(intended), began: began, durable: time.Now()}
	for _, f := range prepared {
		if !stored.Members[f.delivery.Position()] {
			f.settle(context.Canceled)
			n.news.put(func(s *scheduler) { s.returned(f) })
			continue
		}
		f.attempt.Sent, f.attempt.StartedAt, f.batch = true, stored.At, b
		n.sending.Go(func() { n.send(ctx, f) })
	}
	return nil
}

// prepare makes the request. Where it cannot, the flight has its outcome already.
func (n *incarnation) prepare(f *flight, event *outbox.LoadedEvent) (ok bool) {
	poison := func(reason string) bool {
		f.attempt.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "prepare", Reason: reason}
		return false
	}
	if event == nil {
		return poison("its event cannot be read")
	}
	f.event = EventName{Tenant: event.Tenant, Source: event.SourceName, ID: event.ID}
	if f.attempt.Newer != nil || f.attempt.Kind != raffsyncv1.OutcomeKind_OUTCOME_KIND_UNSPECIFIED {
		return false // its version has decided
	}
	if n.tooLate(f) || n.tooEarly(f) {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			n.config.Log.Error("a connector panicked in Prepare", "destination", f.destination.Name, "event", event.ID, "type", fmt.Sprintf("%T", p))
			ok = poison("the connector panicked while it prepared the request")
		}
	}()
	request, err := f.destination.Connector.Prepare(connectors.Step{
		Event: &connectors.Event{
			Tenant: event.Tenant, Source: event.SourceName, ID: event.ID, Type: event.Type, OrderingKey: event.OrderingKey,
			OccurredAt: event.OccurredAt, AcceptedAt: event.AcceptedAt, Outlet: event.Outlet, References: event.References,
			ContentType: event.ContentType, Data: event.Payload,
		},
		Destination: f.destination.Name, Index: int(f.delivery.Step), Effect: event.ID, Attempt: f.delivery.Attempt(),
		Key: idempotencyKey(event, f.destination.Name, f.delivery),
	})
	var refusal *connectors.PrepareError
	switch {
	case err == nil:
		f.request, f.attempt.Asked = request, f.asks()
		return true
	case errors.As(err, &refusal) && refusal.Kind > raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED:
		f.attempt.Outcome = connectors.Outcome{Kind: refusal.Kind, Rule: "prepare", Code: refusal.Code, Field: refusal.Field, Reason: refusal.Message}
		return false
	default:
		return poison("the connector could not prepare the request: " + err.Error())
	}
}

// tooLate tells whether the platform might have forgotten the key of an earlier
// request, which may have had its effect, before one sent now gets there. The flight
// then has its outcome, and a person decides. One that a person has just released has
// spent no attempt: that decision is theirs, and is made. A question is never too late.
func (n *incarnation) tooLate(f *flight) bool {
	if f.asks() || f.delivery.Attempts == 0 {
		return false
	}
	if !windowOver(f.delivery.UnknownAt, f.policy.Traits, n.replica.Now().Add(f.destination.Timeout)) {
		return false
	}
	f.attempt.Outcome = connectors.Outcome{
		Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, Rule: "deduplication window",
		Reason: fmt.Sprintf("not sent again: an earlier request may have had its effect, and the platform forgets keys after %s", f.policy.Traits.DeduplicationWindow),
	}
	f.policy.Traits.Idempotent = false // no longer: so a person decides
	return true
}

// idempotencyKey is the same for every request of a step until its revision rises:
// SHA-256 over tenant, source, event id, destination, step, revision and replay, each
// prefixed by its length, in hexadecimal.
func idempotencyKey(e *outbox.LoadedEvent, destination string, d *outbox.Delivery) string {
	h := sha256.New()
	var n [8]byte
	for _, text := range []string{e.Tenant, e.SourceName, e.ID, destination} {
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	if mutant.On(mutant.KeyPerAttempt) {
		h.Write([]byte{byte(d.Requests), byte(d.Requests >> 8)})
	}
	for _, number := range []int32{int32(d.Step), int32(d.Revision), d.Replay} {
		binary.BigEndian.PutUint64(n[:], uint64(number))
		h.Write(n[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// left is how much of the lease is there for a request, up to most.
func (n *incarnation) left(most time.Duration) (left time.Duration, cut bool) {
	left = time.Until(n.replica.Deadline().Add(-n.config.Margin))
	if mutant.On(mutant.NoFence) {
		left = most
	}
	return min(left, most), left < most
}
