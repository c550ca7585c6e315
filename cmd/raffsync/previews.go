package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"raffsync/broker"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// previews prepare what would be sent, as the dispatcher does, by what is in force.
type previews struct {
	*outbox.Store
	dispatcher *dispatch.Dispatcher // it need not run
	routes     outbox.Routes
}

// PreviewDelivery previews a delivery: one that is open by its own route, one that has
// ended by the route that its event would take today.
func (p previews) PreviewDelivery(ctx context.Context, tenant string, id outbox.DeliveryID) (*outbox.Preview, error) {
	read, err := p.Store.ReadPreviewed(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if !read.Open {
		route, err := p.routes(ctx)
		if err != nil {
			return nil, err
		}
		var wanted bool
		if read.Delivery.Route, wanted = route(tenant, id.Destination, &read.Event.Event); !wanted {
			return nil, fmt.Errorf("no route of today leads there: %w", outbox.ErrNotFound)
		}
	}
	return p.preview(ctx, read)
}

// PreviewEvent previews an event by a route of today, whatever the route's conditions say.
func (p previews) PreviewEvent(ctx context.Context, tenant string, id outbox.EventID, route string) (*outbox.Preview, error) {
	inForce, err := p.Store.ConfigurationOf(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range inForce.Routes {
		if r.Name != route {
			continue
		}
		read, err := p.Store.ReadPreviewed(ctx, tenant, outbox.DeliveryID{Event: id, Destination: inForce.Names.Destinations[r.To]})
		if err != nil {
			return nil, err
		}
		if read.Open && read.Delivery.Route != route {
			read.Anew()
		}
		read.Delivery.Route = route
		return p.preview(ctx, read)
	}
	return nil, fmt.Errorf("there is no route %q: %w", route, outbox.ErrNotFound)
}

func (p previews) preview(ctx context.Context, read *outbox.Previewed) (*outbox.Preview, error) {
	preview, err := p.dispatcher.Preview(ctx, read)
	if errors.Is(err, dispatch.ErrNoDestination) {
		return nil, fmt.Errorf("%w: %w", err, outbox.ErrNotFound)
	}
	return preview, err
}

// newPreviews are those of a command, by what the database has in force. They need no
// secret: stand-ins serve, and nothing is sent.
func newPreviews(ctx context.Context, store *outbox.Store) (previews, error) {
	routes := &routing{store: store}
	p := previews{Store: store, routes: routes.router}
	mappings, err := outbox.NewMappings(outbox.MappingsConfig{Store: store})
	if err != nil {
		return p, err
	}
	if err := mappings.Refresh(ctx); err != nil {
		return p, err
	}
	if p.dispatcher, err = dispatch.New(dispatch.Config{Store: store, Mappings: mappings}); err != nil {
		return p, err
	}
	plans := newPlans(store, registry(), true, slog.New(slog.DiscardHandler), func(plan *dispatch.Plan, _ map[string]*broker.Rules, _ []*hooks.Source) {
		p.dispatcher.SetPlan(plan)
	})
	plans.secret = func(string) (string, error) { return placeholder, nil }
	return p, plans.load(ctx)
}
