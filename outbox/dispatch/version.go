package dispatch

import (
	"context"
	"fmt"

	"raffsync/connectors"
	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// readVersions finds out which snapshots the events are, where their routes name a
// version, and which of them the destination has newer ones of. Every earlier delivery
// of the ordering key that is not held has its outcome stored by now, and none is in
// flight beside this one: what is read stays true until this one is over.
func (n *incarnation) readVersions(ctx context.Context, flights []*flight, events []*outbox.LoadedEvent) error {
	var versioned []*flight
	var deliveries []*outbox.Delivery
	var orderingKeys []string
	for i, f := range flights {
		if f.policy.Version == nil || events[i] == nil {
			continue
		}
		n.readVersion(f, events[i])
		if s := f.attempt.Snapshot; s != nil {
			versioned, deliveries, orderingKeys = append(versioned, f), append(deliveries, f.delivery), append(orderingKeys, s.OrderingKey)
		}
	}
	if len(versioned) == 0 {
		return nil
	}
	var applied []*outbox.Snapshot
	err := n.persist(ctx, "reading snapshots", func(ctx context.Context) (err error) {
		applied, err = n.replica.Applied(ctx, deliveries, orderingKeys)
		return err
	})
	if err != nil {
		return err
	}
	for i, f := range versioned {
		if a := applied[i]; a != nil && f.attempt.Snapshot.Version.OlderThan(a.Version) {
			f.attempt.Newer = a
		}
	}
	return nil
}

// readVersion leaves the flight its outcome where the version cannot be told: to send
// what may be older than what is there would be a silent failure.
func (d *Dispatcher) readVersion(f *flight, event *outbox.LoadedEvent) {
	defer func() {
		if p := recover(); p != nil {
			d.config.Log.Error("the version of an event panicked", "route", f.delivery.Route, "event", event.ID, "type", fmt.Sprintf("%T", p))
			f.attempt.Outcome = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "version", Reason: "the version of its route panicked"}
		}
	}()
	version, ok, err := f.policy.Version(&event.Event)
	switch {
	case err != nil:
		f.attempt.Outcome = connectors.Outcome{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "version", Code: f.delivery.Route,
			Reason: fmt.Sprintf("the version of route %q cannot be told: %s", f.delivery.Route, err),
		}
	case ok:
		f.attempt.Snapshot = &outbox.Snapshot{OrderingKey: event.OrderingKey, Event: event.ID, Version: version}
	}
}

// supersede ends a delivery whose snapshot is older than what the destination has.
func supersede(t outbox.Transition, a *Attempt) outbox.Transition {
	t.To, t.Spent = outbox.StateSuperseded, t.Attempts
	t.Detail.SupersededBy = a.Newer.Event
	t.Reason = fmt.Sprintf("version %s is older than %s, which event %s has brought", a.Snapshot.Version, a.Newer.Version, a.Newer.Event)
	return t
}
