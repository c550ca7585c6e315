package main

import (
	"context"
	"fmt"

	"raffsync/broker"
	"raffsync/outbox"
)

// verdicts are what people have seen at platforms.
type verdicts struct{ *outbox.Store }

// MarkDelivered says that a platform has what the step under way of a delivery was to bring
// about, which is what its route says by today's configuration.
func (v verdicts) MarkDelivered(ctx context.Context, actor outbox.Actor, q outbox.MarkRequest) (outbox.Operated, error) {
	step, err := v.underWay(ctx, actor.Tenant, q.Delivery)
	if err != nil {
		return outbox.Operated{}, err
	}
	return v.Store.MarkDelivered(ctx, actor, q, step)
}

// underWay is the step that is under way; of a delivery that has ended it says nothing.
func (v verdicts) underWay(ctx context.Context, tenant string, id outbox.DeliveryID) (step outbox.StepUnderWay, err error) {
	read, err := v.ReadPreviewed(ctx, tenant, id)
	if err != nil || !read.Open {
		return step, err
	}
	d, event := &read.Delivery, &read.Event.Event
	inForce, err := v.ConfigurationOf(ctx, tenant)
	if err != nil {
		return step, err
	}
	route, ok := routeOf(&inForce.Configuration, d.Route)
	if !ok || int(d.Step) > 0 && int(d.Step) >= len(route.Steps) {
		return step, &outbox.Refusal{Message: fmt.Sprintf("route %q is not configured any more as when this delivery began: give it its steps again, or skip the delivery", d.Route)}
	}
	step.Step = d.Step
	if int(d.Step) < len(route.Steps) {
		named := route.Steps[d.Step]
		step.Name, step.More = named.Name, int(d.Step)+1 < len(route.Steps)
		effect, err := broker.CompileEffect(named.Effect)
		if err == nil && effect != nil {
			step.Effect, err = effect(event)
		}
		if err != nil {
			return step, &outbox.Refusal{Message: fmt.Sprintf("what step %q brings about has no name: %s; put the route right first", named.Name, err)}
		}
	}
	if step.More {
		return step, nil
	}
	step.Snapshot, err = v.snapshot(ctx, d, &route, event)
	return step, err
}

// snapshot that the destination has with the event, unless it has a newer one.
func (v verdicts) snapshot(ctx context.Context, d *outbox.Delivery, route *outbox.RouteConfig, event *outbox.Event) (*outbox.Snapshot, error) {
	version, err := broker.CompileVersion(route.Version)
	if err != nil || version == nil {
		return nil, err
	}
	is, ok, err := version(event)
	if err != nil {
		return nil, &outbox.Refusal{Message: fmt.Sprintf("the version of route %q cannot be told: %s; put the route right first", route.Name, err)}
	}
	if !ok {
		return nil, nil
	}
	applied, err := v.Applied(ctx, []*outbox.Delivery{d}, []string{event.OrderingKey})
	if err != nil || applied[0] != nil && is.OlderThan(applied[0].Version) {
		return nil, err
	}
	return &outbox.Snapshot{OrderingKey: event.OrderingKey, Event: event.ID, Version: is}, nil
}

// routeOf is the route of a name whose policies hold, also of a destination that drains.
func routeOf(c *outbox.Configuration, name string) (route outbox.RouteConfig, found bool) {
	_, routes := c.Delivering()
	for _, r := range routes {
		if r.Name == name {
			route, found = r, true // one in force comes last
		}
	}
	return route, found
}
