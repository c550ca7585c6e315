package graph

import (
	"context"
	"unicode/utf8"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

type (
	events     = *model.EventFilter
	deliveries = *model.DeliveryFilter
	exceptions = *model.ExceptionFilter
	timeline   = *model.TimelineFilter
)

type queryResolver struct{ *resolver }

func (queryResolver) Viewer(ctx context.Context) (*model.Viewer, error) {
	actor, err := actorOf(ctx)
	if err != nil {
		return nil, err
	}
	return &model.Viewer{Name: actor.Name, Tenant: actor.Tenant}, nil
}

func (r queryResolver) Totals(ctx context.Context) (*view.Totals, error) {
	totals, err := seen(ctx, r.view, func(tx *view.Tx) (view.Totals, error) { return tx.Totals(ctx) })
	return &totals, err
}

func (queryResolver) Event(ctx context.Context, id string) (*view.Event, error) {
	ref, err := view.ParseEventID(id)
	if err != nil {
		return nil, err
	}
	return loadersOf(ctx).events.Load(ctx, ref)
}

func (r queryResolver) Events(ctx context.Context, f events, first int, after *string) (*model.EventConnection, error) {
	var filter view.EventFilter
	if f != nil {
		filter = view.EventFilter{
			Source: value(f.Source), Type: value(f.Type), Outlet: value(f.Outlet), OrderingKey: value(f.OrderingKey), Unrouted: f.Unrouted,
			AcceptedAfter: value(f.AcceptedAfter), AcceptedBefore: value(f.AcceptedBefore),
		}
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Event], error) {
		return tx.Events(ctx, filter, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.EventConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

func (queryResolver) Delivery(ctx context.Context, id string) (*view.Delivery, error) {
	ref, err := view.ParseDeliveryID(id)
	if err != nil {
		return nil, err
	}
	return loadersOf(ctx).deliveries.Load(ctx, ref)
}

func (r queryResolver) Deliveries(ctx context.Context, f deliveries, first int, after *string) (*model.DeliveryConnection, error) {
	var filter view.OpenFilter
	if f != nil {
		filter = view.OpenFilter{Destination: value(f.Destination), State: value(f.State)}
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Delivery], error) {
		return tx.OpenDeliveries(ctx, filter, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return deliveryConnection(page), nil
}

func (queryResolver) Exception(ctx context.Context, id string) (*view.Exception, error) {
	number, err := view.ParseExceptionID(id)
	if err != nil {
		return nil, err
	}
	return loadersOf(ctx).exceptions.Load(ctx, number)
}

func (r queryResolver) Exceptions(ctx context.Context, f exceptions, order view.ExceptionOrder, first int, after *string) (*model.ExceptionConnection, error) {
	var filter view.ExceptionFilter
	if f != nil {
		filter = view.ExceptionFilter{
			Open: f.Open, Class: value(f.Class), Destination: value(f.Destination), Source: value(f.Source),
			Severity: value(f.Severity), Assignee: value(f.Assignee), Status: value(f.Status), Outlet: value(f.Outlet), Team: value(f.Team),
		}
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Exception], error) {
		return tx.RankedExceptions(ctx, filter, order, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return &model.ExceptionConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}, nil
}

func (r queryResolver) Timeline(ctx context.Context, f timeline, first int, after *string) (*model.TimelineConnection, error) {
	var filter view.TimelineFilter
	if f != nil {
		filter = view.TimelineFilter{What: f.What, Destination: value(f.Destination), After: value(f.After), Before: value(f.Before)}
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[*view.Entry], error) {
		return tx.Timeline(ctx, filter, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	return timelineConnection(page), nil
}

func (r queryResolver) Destinations(ctx context.Context) ([]*view.Destination, error) {
	return seen(ctx, r.view, func(tx *view.Tx) ([]*view.Destination, error) { return tx.Destinations(ctx) })
}

func (queryResolver) Destination(ctx context.Context, name string) (*view.Destination, error) {
	return loadersOf(ctx).destinations.Load(ctx, name)
}

func (r queryResolver) Sources(ctx context.Context) ([]*view.Source, error) {
	return seen(ctx, r.view, func(tx *view.Tx) ([]*view.Source, error) { return tx.Sources(ctx) })
}

func (r queryResolver) Search(ctx context.Context, text string, first int, after *string) (*model.SearchConnection, error) {
	if n := utf8.RuneCountInString(text); n < 1 || n > maxSearchText {
		return nil, badInput("text must have 1 to %d characters", maxSearchText)
	}
	page, err := seen(ctx, r.view, func(tx *view.Tx) (view.Page[view.Hit], error) {
		return tx.Search(ctx, text, first, value(after))
	})
	if err != nil {
		return nil, err
	}
	found := &model.SearchConnection{Nodes: make([]model.SearchHit, len(page.Nodes)), PageInfo: pageInfo(page)}
	for i, hit := range page.Nodes {
		if hit.Event != nil {
			found.Nodes[i] = hit.Event
		} else {
			found.Nodes[i] = hit.Destination
		}
	}
	return found, nil
}

func pageInfo[T any](page view.Page[T]) model.PageInfo {
	return model.PageInfo{EndCursor: optional(page.EndCursor), HasNextPage: page.HasNext}
}

func deliveryConnection(page view.Page[*view.Delivery]) *model.DeliveryConnection {
	return &model.DeliveryConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}
}

func timelineConnection(page view.Page[*view.Entry]) *model.TimelineConnection {
	return &model.TimelineConnection{Nodes: page.Nodes, PageInfo: pageInfo(page)}
}

// value is what an optional argument holds, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// optional is nil for what is empty.
func optional[T comparable](v T) *T {
	var nothing T
	if v == nothing {
		return nil
	}
	return &v
}
