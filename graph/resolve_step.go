package graph

import (
	"context"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

func (deliveryResolver) Steps(ctx context.Context, d *view.Delivery) ([]*view.Step, error) {
	return loadersOf(ctx).steps.Load(ctx, d.StepsOf())
}

type stepResolver struct{}

func (stepResolver) Index(_ context.Context, s *view.Step) (int, error) { return int(s.Index), nil }

func (stepResolver) State(_ context.Context, s *view.Step) (model.StepState, error) {
	return model.StepState(s.State), nil
}

func (stepResolver) Name(_ context.Context, s *view.Step) (*string, error) {
	return optional(s.Name), nil
}

func (stepResolver) Effect(_ context.Context, s *view.Step) (*string, error) {
	return optional(s.Effect), nil
}

func (stepResolver) Receipt(_ context.Context, s *view.Step) (*model.Receipt, error) {
	if s.Receipt == nil {
		return nil, nil
	}
	return &model.Receipt{ExternalID: optional(s.Receipt.ExternalID), URL: optional(s.Receipt.URL), Fields: references(s.Receipt.Fields)}, nil
}

func (r queryResolver) Effect(ctx context.Context, destination, name string) (*view.Effect, error) {
	return seen(ctx, r.view, func(tx *view.Tx) (*view.Effect, error) { return tx.Effect(ctx, destination, name) })
}

type effectResolver struct{}

func (effectResolver) Destination(ctx context.Context, e *view.Effect) (*view.Destination, error) {
	return loadersOf(ctx).destinations.Load(ctx, e.Destination)
}

func (effectResolver) Receipt(_ context.Context, e *view.Effect) (*model.Receipt, error) {
	if e.Revision == 0 {
		return nil, nil
	}
	return &model.Receipt{ExternalID: optional(e.ExternalID), URL: optional(e.URL), Fields: references(e.Fields)}, nil
}

func (effectResolver) Source(_ context.Context, e *view.Effect) (*string, error) {
	return optional(e.Source), nil
}

func (effectResolver) Event(_ context.Context, e *view.Effect) (*string, error) {
	return optional(e.Event), nil
}

func (effectResolver) ClaimedBy(ctx context.Context, e *view.Effect) (*view.Delivery, error) {
	if e.ClaimedBy == nil {
		return nil, nil
	}
	return loadersOf(ctx).deliveries.Load(ctx, *e.ClaimedBy)
}
