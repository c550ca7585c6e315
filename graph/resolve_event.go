package graph

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"unicode/utf8"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

type eventResolver struct{}

func (eventResolver) Outlet(_ context.Context, e *view.Event) (*string, error) {
	return optional(e.Outlet), nil
}

func (eventResolver) References(_ context.Context, e *view.Event) ([]*model.Reference, error) {
	return references(e.References), nil
}

func (eventResolver) Payload(ctx context.Context, e *view.Event) (*model.Payload, error) {
	raw, err := loadersOf(ctx).payloads.Load(ctx, e.Ref())
	if err != nil {
		return nil, err
	}
	return payload(raw), nil
}

func (eventResolver) Deliveries(ctx context.Context, e *view.Event) ([]*view.Delivery, error) {
	return loadersOf(ctx).deliveriesOf.Load(ctx, e.Ref())
}

func (eventResolver) Timeline(ctx context.Context, e *view.Event, first int, after *string) (*model.TimelineConnection, error) {
	page, err := loadersOf(ctx).eventStories.Load(ctx, view.EventStory{Event: e.Ref(), First: first, After: value(after)})
	if err != nil {
		return nil, err
	}
	return timelineConnection(page), nil
}

func references(refs map[string]string) []*model.Reference {
	list := make([]*model.Reference, 0, len(refs))
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		list = append(list, &model.Reference{Name: name, Value: refs[name]})
	}
	return list
}

func payload(raw []byte) *model.Payload {
	text := string(raw)
	if utf8.Valid(raw) {
		return &model.Payload{Text: &text}
	}
	text = base64.StdEncoding.EncodeToString(raw)
	return &model.Payload{Base64: &text}
}

type conflictResolver struct{}

func (conflictResolver) First(ctx context.Context, c *view.Conflict) (*view.Event, error) {
	return loadersOf(ctx).events.Load(ctx, c.First())
}

func (conflictResolver) Outlet(_ context.Context, c *view.Conflict) (*string, error) {
	return optional(c.Outlet), nil
}

func (conflictResolver) References(_ context.Context, c *view.Conflict) ([]*model.Reference, error) {
	return references(c.References), nil
}

func (conflictResolver) Payload(_ context.Context, c *view.Conflict) (*model.Payload, error) {
	return payload(c.Payload), nil
}
