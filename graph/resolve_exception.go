package graph

import (
	"context"
	"time"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

type exceptionResolver struct{ *resolver }

func (exceptionResolver) Destination(ctx context.Context, x *view.Exception) (*view.Destination, error) {
	return destinationNamed(ctx, x.Destination)
}

func (exceptionResolver) Escalation(_ context.Context, x *view.Exception) (*view.Escalation, error) {
	return &view.Escalation{Exception: x}, nil
}

func (exceptionResolver) Held(ctx context.Context, x *view.Exception, first int, after *string) (*model.DeliveryConnection, error) {
	page, err := loadersOf(ctx).held.Load(ctx, view.HeldBy{Exception: x.Number, First: first, After: value(after)})
	if err != nil {
		return nil, err
	}
	return deliveryConnection(page), nil
}

func (r exceptionResolver) Conflicts(ctx context.Context, x *view.Exception, first int, after *string) (*model.ConflictConnection, error) {
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Conflict], error) {
		return tx.Conflicts(ctx, x.Number, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.ConflictConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

func (exceptionResolver) Timeline(ctx context.Context, x *view.Exception, first int, after *string) (*model.TimelineConnection, error) {
	page, err := loadersOf(ctx).exceptionStories.Load(ctx, view.ExceptionStory{Exception: x.Number, First: first, After: value(after)})
	if err != nil {
		return nil, err
	}
	return timelineConnection(page), nil
}

type destinationResolver struct{}

func (destinationResolver) OldestOpen(ctx context.Context, d *view.Destination) (*view.Oldest, error) {
	return loadersOf(ctx).oldest.Load(ctx, d.Number)
}

// OldestAge goes by this process's clock, which is where it is shown.
func (r destinationResolver) OldestAge(ctx context.Context, d *view.Destination) (*float64, error) {
	oldest, err := r.OldestOpen(ctx, d)
	if oldest == nil || err != nil {
		return nil, err
	}
	return ageOf(oldest.AcceptedAt), nil
}

func (destinationResolver) DrainEta(ctx context.Context, d *view.Destination) (*time.Time, error) {
	return loadersOf(ctx).drains.Load(ctx, d.Number)
}

func ageOf(at time.Time) *float64 { return new(max(time.Since(at).Seconds(), 0)) }

type oldestOpenResolver struct{}

func (oldestOpenResolver) Delivery(ctx context.Context, o *view.Oldest) (*view.Delivery, error) {
	return loadersOf(ctx).deliveries.Load(ctx, o.Ref)
}

type breakerResolver struct{}

func (breakerResolver) Reason(_ context.Context, b *view.Breaker) (*string, error) {
	return optional(b.Reason), nil
}
