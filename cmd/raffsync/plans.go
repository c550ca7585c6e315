package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"raffsync/broker"
	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// plans turns the configurations in force into what broker and dispatcher work by,
// and does so again whenever one changes.
type plans struct {
	store    *outbox.Store
	registry connectors.Registry
	loopback bool
	log      *slog.Logger
	apply    func(*dispatch.Plan, map[string]*broker.Rules)

	versions map[string]int
	poked    chan struct{}
}

// load puts the configurations in force, if they are others than before.
func (p *plans) load(ctx context.Context) error {
	if p.poked == nil {
		p.poked = make(chan struct{}, 1)
	}
	applied, err := p.store.Configurations(ctx)
	if err != nil {
		return err
	}
	versions := make(map[string]int, len(applied))
	changed := p.versions == nil
	for _, a := range applied {
		versions[a.Tenant] = a.Version
		changed = changed || p.versions[a.Tenant] != a.Version
	}
	if !changed {
		return nil
	}
	plan := &dispatch.Plan{Destinations: make(map[int32]*dispatch.Destination), Routes: make(map[dispatch.RouteKey]dispatch.Route)}
	rules := make(map[string]*broker.Rules)
	for _, a := range applied {
		compiled, _, err := broker.CompileRules(a.Configuration, a.Names)
		if err != nil {
			return fmt.Errorf("configuration of %s, version %d: %w", a.Tenant, a.Version, err)
		}
		rules[a.Tenant] = compiled
		if err := p.add(plan, a); err != nil {
			return fmt.Errorf("configuration of %s, version %d: %w", a.Tenant, a.Version, err)
		}
	}
	p.apply(plan, rules)
	p.versions = versions
	return nil
}

func (p *plans) add(plan *dispatch.Plan, a outbox.Applied) error {
	destinations, routes := a.Delivering()
	for _, d := range destinations {
		connector, err := p.registry.New(d.Kind, connectors.Options{
			Name: d.Name, Settings: d.Settings, Rules: d.Rules, Concurrency: d.Concurrency,
			Secret: config.ResolveSecret, AllowLoopback: p.loopback,
		})
		if err != nil {
			return err
		}
		id := a.Names.Destinations[d.Name]
		plan.Destinations[id] = &dispatch.Destination{
			ID: id, Tenant: a.Tenant, Name: d.Name, Connector: connector,
			Concurrency: d.Concurrency, Timeout: d.Timeout, Breaker: d.Breaker,
		}
	}
	for _, r := range routes {
		plan.Routes[dispatch.RouteKey{Tenant: a.Tenant, Name: r.Name}] = dispatch.Route{Retry: r.Retry, Pass: r.OnException == outbox.Pass}
	}
	return nil
}

func (p *plans) poke() {
	select {
	case p.poked <- struct{}{}:
	default:
	}
}

// watch loads again when poked, and every so often. A configuration that cannot be
// put in force leaves the one before in force, and says so in the log.
func (p *plans) watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.poked:
		}
		if err := p.load(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "the configuration is not put in force; the one before stays", "error", err)
		}
	}
}
