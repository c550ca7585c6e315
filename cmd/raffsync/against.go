package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"raffsync/broker"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// Bounds of a rehearsal.
const (
	againstEvents = 10_000
	againstTime   = 2 * time.Minute
	againstPage   = 200
)

// rehearsal is a configuration that can prepare.
type rehearsal struct {
	dispatcher *dispatch.Dispatcher
	rules      *broker.Rules
	names      map[int32]string // of destinations
}

func newRehearsal(store *outbox.Store, mappings *outbox.Mappings, a outbox.Applied) (*rehearsal, error) {
	p := newPlans(store, registry(), true, slog.New(slog.DiscardHandler), nil)
	p.secret = func(string) (string, error) { return placeholder, nil }
	s := p.share(a, nil)
	r := &rehearsal{rules: s.rules, names: make(map[int32]string)}
	for name, id := range a.Names.Destinations {
		r.names[id] = name
	}
	var err error
	if r.dispatcher, err = dispatch.New(dispatch.Config{Store: store, Mappings: mappings}); err != nil {
		return nil, err
	}
	r.dispatcher.SetPlan(&dispatch.Plan{Destinations: s.destinations, Routes: s.routes, Outlets: s.outlets})
	for id, t := range s.problems {
		return nil, fmt.Errorf("configuration of %s: %s: %s", a.Tenant, firstOf(r.names[id], "all of it"), t.problem)
	}
	return r, nil
}

// rehearseAgainst reads the tenant's newest events, and writes nothing.
func rehearseAgainst(ctx context.Context, store *outbox.Store, current outbox.Applied, c outbox.Configuration, since time.Time) (*againstPast, error) {
	mappings, err := outbox.NewMappings(outbox.MappingsConfig{Store: store})
	if err == nil {
		err = mappings.Refresh(ctx)
	}
	if err != nil {
		return nil, err
	}
	if current.Tenant == "" { // the first there is
		current.Configuration.Tenant = c.Tenant
	}
	before, err := newRehearsal(store, mappings, current)
	if err != nil {
		return nil, err
	}
	after, err := newRehearsal(store, mappings, outbox.Applied{Configuration: c, Names: provisional(current.Names, c)})
	if err != nil {
		return nil, err
	}
	a := &againstPast{Since: since.UTC(), Complete: true}
	routes := make(map[[2]string]*againstRoute)
	limited, cancel := context.WithTimeout(ctx, againstTime)
	defer cancel()
	var last *outbox.EventID
	for {
		page, err := store.Past(limited, c.Tenant, since, last, againstPage)
		for _, p := range page {
			if err == nil && a.Looked == againstEvents {
				a.Complete = false
				break
			}
			if err == nil {
				err = a.look(limited, before, after, p, routes)
			}
		}
		if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
			a.Complete, err = false, nil
		}
		if err != nil {
			return nil, err
		}
		if len(page) < againstPage || !a.Complete {
			break
		}
		d := page[len(page)-1].Delivery
		last = &outbox.EventID{AcceptedAt: d.EventAt, Seq: d.Event}
	}
	for _, key := range slices.SortedFunc(maps.Keys(routes), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		a.Routes = append(a.Routes, *routes[key])
	}
	return a, nil
}

// provisional gives what is new in a configuration numbers that nothing has.
func provisional(known outbox.Names, c outbox.Configuration) outbox.Names {
	n := outbox.Names{Sources: make(map[string]int32), Destinations: make(map[string]int32)}
	next := int32(-1)
	number := func(known, into map[string]int32, name string) {
		id, ok := known[name]
		if !ok {
			id, next = next, next-1
		}
		into[name] = id
	}
	for _, s := range c.Sources {
		number(known.Sources, n.Sources, s.Name)
	}
	for _, d := range c.Destinations {
		number(known.Destinations, n.Destinations, d.Name)
	}
	return n
}

// look compares what would become of one event.
func (a *againstPast) look(ctx context.Context, before, after *rehearsal, p *outbox.Previewed, routes map[[2]string]*againstRoute) error {
	was, err := before.targets(p)
	if err != nil {
		return err
	}
	now, err := after.targets(p)
	if err != nil {
		return err
	}
	a.Looked++
	at := p.Event.AcceptedAt.UTC()
	a.Oldest = &at
	id := p.Event.ID
	if len(was) > 0 && len(now) == 0 {
		a.Unrouted.add(id, "")
	}
	route := func(destination, name string) *againstRoute {
		key := [2]string{destination, name}
		if routes[key] == nil {
			routes[key] = &againstRoute{Destination: destination, Route: name}
		}
		routes[key].Deliveries++
		return routes[key]
	}
	for name, old := range was {
		if _, still := now[name]; !still {
			route(name, old.Route).NotRouted.add(id, "")
		}
	}
	for name, target := range now {
		r := route(name, target.Route)
		new, err := after.prepare(ctx, p, target)
		if err != nil {
			return err
		}
		old, routed := was[name]
		if !routed {
			r.NewlyRouted.add(id, words(new))
			continue
		}
		if old.Route != target.Route {
			r.OtherRoute.add(id, "by "+old.Route+" today")
		}
		today, err := before.prepare(ctx, p, old)
		if err != nil {
			return err
		}
		r.compare(id, today, new)
	}
	return nil
}

// targets of an event by the names of their destinations; none where a condition fails, as
// when it comes.
func (r *rehearsal) targets(p *outbox.Previewed) (map[string]outbox.Target, error) {
	targets, err := broker.Route(&p.Event.Event, r.rules)
	var failed *broker.ConditionError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	named := make(map[string]outbox.Target, len(targets))
	for _, t := range targets {
		named[r.names[t.Destination]] = t
	}
	return named, nil
}

func (r *rehearsal) prepare(ctx context.Context, p *outbox.Previewed, t outbox.Target) (*outbox.Preview, error) {
	as := *p
	as.Delivery.Destination, as.Delivery.Route = t.Destination, t.Route
	return r.dispatcher.Preview(ctx, &as)
}
