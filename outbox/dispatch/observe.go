package dispatch

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
)

// Observer is told what a dispatcher does. What is nil is not called. The others are
// called where deliveries pass, from several goroutines: they must not block, and keep
// nothing of what they are given.
type Observer struct {
	// Attempted is called once the outcome of an attempt is stored.
	Attempted func(Attempted)
	// Intended and Finished are called for each batch that was stored.
	Intended, Finished func(deliveries int, took time.Duration)
	// Sending returns the context that a connector sends a request with, for what it
	// passes on to the platform.
	Sending func(ctx context.Context, e EventName, destination string, request int) context.Context
	// TraceID names the trace of an event, for the log; empty where it has none.
	TraceID func(EventName) string
}

// EventName is how its source names an event.
type EventName struct {
	Tenant, Source, ID string
}

// Attempted is an attempt whose outcome is stored.
type Attempted struct {
	// Event is zero where nobody read it: what a dead owner left, or what can't be read.
	Event       EventName
	Destination *Destination
	// Request counts the requests of the delivery's step from 1. It is this attempt's,
	// where one was sent.
	Request    int
	Transition *outbox.Transition
	// Open is how long the delivery had been open by the database's clock.
	Open time.Duration
	// Intents is the batch that made the intent durable: how many it held, and when it
	// was stored; zero where there was none.
	Intents              int
	IntendedFrom, Sent   time.Time // Sent: the connector was given the request
	IntendedTill, Stored time.Time
}

// observed tells of an attempt whose outcome was stored just now: a log line, and the
// observer.
func (n *incarnation) observed(ctx context.Context, f *flight, t *outbox.Transition, c clocks) {
	a := Attempted{
		Event: f.event, Destination: f.destination, Request: f.delivery.Attempt(), Transition: t,
		Open: c.earliest.Sub(t.AcceptedAt), Sent: f.sent, Stored: c.now,
	}
	if b := f.batch; b != nil {
		a.Intents, a.IntendedFrom, a.IntendedTill = b.size, b.began, b.durable
	}
	n.tell(ctx, a)
}

// observedOrphans tells of attempts that a dead owner had made, and whose outcome is
// unknown.
func (n *incarnation) observedOrphans(ctx context.Context, plan *Plan, transitions []outbox.Transition, stored map[outbox.Position]bool) {
	c := n.clocks()
	for i := range transitions {
		t := &transitions[i]
		if !stored[t.Position()] {
			continue
		}
		destination := plan.Destinations[t.Destination]
		if destination == nil { // it was removed
			destination = &Destination{ID: t.Destination, Tenant: t.Tenant}
		}
		n.tell(ctx, Attempted{
			Destination: destination, Request: t.Attempt(), Transition: t,
			Open: c.earliest.Sub(t.AcceptedAt), Stored: c.now,
		})
	}
}

func (n *incarnation) tell(ctx context.Context, a Attempted) {
	n.logAttempt(ctx, &a)
	if n.config.Observe.Attempted != nil {
		n.config.Observe.Attempted(a)
	}
}

// logAttempt writes one wide line an attempt, without payload or secret. position names
// the delivery as the database does, event as its source does.
func (n *incarnation) logAttempt(ctx context.Context, a *Attempted) {
	t, level := a.Transition, slog.LevelInfo
	if t.To == outbox.StateDelivered {
		level = slog.LevelDebug
	}
	if !n.config.Log.Enabled(ctx, level) {
		return
	}
	fields := append(make([]slog.Attr, 0, 20),
		slog.String("tenant", t.Tenant), slog.String("source", a.Event.Source), slog.String("event", a.Event.ID),
		slog.Int64("position", int64(t.Event)), slog.Int("replay", int(t.Replay)), slog.String("destination", a.Destination.Name),
		slog.String("route", t.Route), slog.Int("attempt", a.Request), slog.Bool("sent", t.Sent), slog.Bool("asked", t.Detail.Asked), slog.String("kind", outbox.Class(t.Kind)),
		slog.Int("status", t.Detail.Status), slog.String("rule", t.Detail.Rule), slog.Duration("duration", t.Duration),
		slog.Duration("open", a.Open), slog.String("state", t.To))
	if t.To == outbox.StateWaiting {
		fields = append(fields, slog.Duration("next", t.Delay), slog.Time("next_at", n.replica.Now().Add(t.Delay)))
	}
	if n.config.Observe.TraceID != nil {
		if id := n.config.Observe.TraceID(a.Event); id != "" {
			fields = append(fields, slog.String("trace_id", id))
		}
	}
	n.config.Log.LogAttrs(ctx, level, "attempt", fields...)
}

// sendingContext is what a connector sends the flight's request with.
func (n *incarnation) sendingContext(ctx context.Context, f *flight) context.Context {
	if n.config.Observe.Sending == nil {
		return ctx
	}
	return n.config.Observe.Sending(ctx, f.event, f.destination.Name, f.delivery.Attempt())
}

func tellBatch(what func(int, time.Duration), deliveries int, began time.Time) {
	if what != nil {
		what(deliveries, time.Since(began))
	}
}

// Lanes is how many lanes this process holds now.
func (d *Dispatcher) Lanes() int {
	if n := d.current.Load(); n != nil {
		return len(n.held.lanes())
	}
	return 0
}

// Pool tells how the sessions of the present incarnation are used; nil between two of
// them.
func (d *Dispatcher) Pool() *pgxpool.Stat {
	if n := d.current.Load(); n != nil {
		return n.replica.Pool()
	}
	return nil
}
