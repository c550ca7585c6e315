package dispatch

import (
	"context"

	"raffsync/outbox"
)

// launchBatch bounds how many deliveries share one reading of events, and one row of
// intents.
const launchBatch = 512

// launchAll reads the events of what was admitted, and has the requests prepared.
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
	flights, events = n.prepareShadows(ctx, flights, events)
	if err := n.readVersions(ctx, flights, events); err != nil {
		return err
	}
	if err := n.readSteps(ctx, flights, events); err != nil {
		return err
	}
	// Each destination's apart: a connector that is slow to prepare delays its own only.
	groups := make(map[*Destination][]loaded)
	for i, f := range flights {
		switch {
		case n.restsWithSource(f, events[i]):
		case n.decided(f, events[i]):
			n.unsent(f)
		default:
			groups[f.destination] = append(groups[f.destination], loaded{f, events[i]})
		}
	}
	for _, group := range groups {
		go n.prepareAll(ctx, group)
	}
	return nil
}

// unsent lets a flight end that has its outcome before any request was made.
func (n *incarnation) unsent(f *flight) {
	f.settle(context.Canceled)
	n.land(f)
}
