package graph

import (
	"context"

	raffsyncv1 "raffsync/proto/raffsync/v1"

	"raffsync/outbox/view"
)

type deliveryResolver struct{ *resolver }

func (deliveryResolver) Event(ctx context.Context, d *view.Delivery) (*view.Event, error) {
	return loadersOf(ctx).events.Load(ctx, d.Ref.Event)
}

func (deliveryResolver) Destination(ctx context.Context, d *view.Delivery) (*view.Destination, error) {
	return loadersOf(ctx).destinations.Load(ctx, d.Destination)
}

func (deliveryResolver) Replay(_ context.Context, d *view.Delivery) (int, error) {
	return int(d.Ref.Replay), nil
}

func (deliveryResolver) Route(_ context.Context, d *view.Delivery) (*string, error) {
	return optional(d.Route), nil
}

func (deliveryResolver) Step(_ context.Context, d *view.Delivery) (int, error) {
	return int(d.Step), nil
}

func (deliveryResolver) LastKind(_ context.Context, d *view.Delivery) (*raffsyncv1.OutcomeKind, error) {
	return optional(d.LastKind), nil
}

func (deliveryResolver) Exception(ctx context.Context, d *view.Delivery) (*view.Exception, error) {
	if d.Exception == 0 {
		return nil, nil
	}
	return loadersOf(ctx).exceptions.Load(ctx, d.Exception)
}

func (deliveryResolver) Exceptions(ctx context.Context, d *view.Delivery) ([]*view.Exception, error) {
	return loadersOf(ctx).exceptions.LoadAll(ctx, d.Exceptions)
}

func (deliveryResolver) Reason(_ context.Context, d *view.Delivery) (*string, error) {
	return optional(d.Reason), nil
}

func (deliveryResolver) Attempts(ctx context.Context, d *view.Delivery, first int) ([]*view.Entry, error) {
	return loadersOf(ctx).attempts.Load(ctx, view.AttemptsOf{Delivery: d.Ref, First: first})
}

type waitingResolver struct{}

func (waitingResolver) BlockedBy(ctx context.Context, w *view.Waiting) (*view.Delivery, error) {
	if w.BlockedBy == nil {
		return nil, nil
	}
	return loadersOf(ctx).deliveries.Load(ctx, *w.BlockedBy)
}

type attemptResolver struct{}

func (attemptResolver) Step(_ context.Context, e *view.Entry) (*int, error) {
	if e.Step == nil {
		return nil, nil
	}
	step := int(*e.Step)
	return &step, nil
}

func (attemptResolver) Kind(_ context.Context, e *view.Entry) (*raffsyncv1.OutcomeKind, error) {
	return kindOf(e), nil
}

func (attemptResolver) State(_ context.Context, e *view.Entry) (*view.State, error) {
	return stateOf(e), nil
}

func (attemptResolver) DurationMs(_ context.Context, e *view.Entry) (*float64, error) {
	if e.DurationUS == nil {
		return nil, nil
	}
	milliseconds := float64(*e.DurationUS) / 1000
	return &milliseconds, nil
}

func kindOf(e *view.Entry) *raffsyncv1.OutcomeKind {
	if e.Kind == nil {
		return nil
	}
	return optional(raffsyncv1.OutcomeKind(*e.Kind))
}

func stateOf(e *view.Entry) *view.State {
	if e.State == nil {
		return nil
	}
	return optional(view.State(*e.State))
}

type timelineEntryResolver struct{}

func (timelineEntryResolver) Event(ctx context.Context, e *view.Entry) (*view.Event, error) {
	if id := e.Event(); id != nil {
		return loadersOf(ctx).events.Load(ctx, *id)
	}
	return nil, nil
}

func (timelineEntryResolver) Delivery(ctx context.Context, e *view.Entry) (*view.Delivery, error) {
	if id := e.Delivery(); id != nil {
		return loadersOf(ctx).deliveries.Load(ctx, *id)
	}
	return nil, nil
}

func (timelineEntryResolver) Destination(ctx context.Context, e *view.Entry) (*view.Destination, error) {
	return destinationNamed(ctx, e.Name)
}

func (timelineEntryResolver) Exception(ctx context.Context, e *view.Entry) (*view.Exception, error) {
	if e.Exception == nil {
		return nil, nil
	}
	return loadersOf(ctx).exceptions.Load(ctx, *e.Exception)
}

func (timelineEntryResolver) State(_ context.Context, e *view.Entry) (*view.State, error) {
	return stateOf(e), nil
}

func (timelineEntryResolver) Kind(_ context.Context, e *view.Entry) (*raffsyncv1.OutcomeKind, error) {
	return kindOf(e), nil
}

func destinationNamed(ctx context.Context, name *string) (*view.Destination, error) {
	if name == nil {
		return nil, nil
	}
	return loadersOf(ctx).destinations.Load(ctx, *name)
}
