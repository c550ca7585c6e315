package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"raffsync/broker"
	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// plans turns the configurations that are applied into what broker and dispatcher work
// by, and does so again whenever one changes. What of one cannot be used here, because
// a secret is missing for instance, stops nothing else: a destination goes on as it was
// configured before, or rests where there is no before, until it can.
type plans struct {
	store    *outbox.Store
	registry connectors.Registry
	loopback bool
	secret   func(reference string) (string, error)
	log      *slog.Logger
	apply    func(*dispatch.Plan, map[string]*broker.Rules, []*hooks.Source)

	shares map[string]*share // by tenant; nil before the first load
	told   bool              // the shares as they are have been reported
	failed string            // the last error, so that it is logged once
	poked  chan struct{}
}

func newPlans(store *outbox.Store, kinds connectors.Registry, loopback bool, log *slog.Logger, apply func(*dispatch.Plan, map[string]*broker.Rules, []*hooks.Source)) *plans {
	return &plans{store: store, registry: kinds, loopback: loopback, secret: config.ResolveSecret, log: log, apply: apply, poked: make(chan struct{}, 1)}
}

// load puts the configurations in force, as far as they are others than before or
// could not be used.
func (p *plans) load(ctx context.Context) error {
	applied, err := p.store.Configurations(ctx)
	if err != nil {
		return err
	}
	shares := make(map[string]*share, len(applied))
	rules := make(map[string]*broker.Rules)
	changed := p.shares == nil
	for _, a := range applied {
		before := p.shares[a.Tenant]
		if before != nil && before.version == a.Version && len(before.problems) == 0 {
			shares[a.Tenant] = before
			continue
		}
		now := p.share(a, before)
		if before != nil && before.version == a.Version && maps.Equal(before.problems, now.problems) {
			shares[a.Tenant] = before
			continue
		}
		now.log(p.log, before)
		shares[a.Tenant], rules[a.Tenant], changed = now, now.rules, true
	}
	if !changed {
		return nil
	}
	plan := &dispatch.Plan{Destinations: make(map[int32]*dispatch.Destination), Routes: make(map[dispatch.RouteKey]dispatch.Route), Outlets: make(map[dispatch.OutletKey]*time.Location)}
	var received []*hooks.Source
	for _, s := range shares {
		received = slices.AppendSeq(received, maps.Values(s.received))
		maps.Copy(plan.Destinations, s.destinations)
		maps.Copy(plan.Routes, s.routes)
		maps.Copy(plan.Outlets, s.outlets)
	}
	p.apply(plan, rules, received)
	p.shares, p.told = shares, false
	return nil
}

// share makes a tenant's part of the plan. What of it worked before at the same version
// is kept, with its connections.
func (p *plans) share(a outbox.Applied, before *share) *share {
	s := &share{
		tenant: a.Tenant, version: a.Version, problems: make(map[int32]trouble),
		destinations: make(map[int32]*dispatch.Destination), routes: make(map[dispatch.RouteKey]dispatch.Route),
		outlets: make(map[dispatch.OutletKey]*time.Location),
	}
	destinations, routes := a.Delivering()
	compiled, _, err := broker.CompileRules(a.Configuration, a.Names)
	for _, r := range routes {
		version, invalid := broker.CompileVersion(r.Version)
		err = cmp.Or(err, invalid)
		steps, invalid := stepsOf(r.Steps)
		err = cmp.Or(err, invalid)
		exposure, invalid := broker.CompileExposure(r.Exposure)
		err = cmp.Or(err, invalid)
		s.routes[dispatch.RouteKey{Tenant: a.Tenant, Name: r.Name}] = dispatch.Route{Retry: r.Retry, Pass: r.OnException == outbox.Pass, Version: version, Steps: steps, Exposure: exposure, Shadow: r.Mode == outbox.InShadow}
	}
	for _, o := range a.Outlets {
		if zone, invalid := time.LoadLocation(o.Timezone); o.Timezone != "" && invalid == nil { // or it was looked at elsewhere
			s.outlets[dispatch.OutletKey{Tenant: a.Tenant, Name: o.Name}] = zone
		}
	}
	switch {
	case err == nil:
		s.rules = compiled
	case before != nil:
		s.rules, s.routes = before.rules, before.routes
		s.problems[wholeTenant] = trouble{problem: oneLine(err)}
	default:
		s.rules = broker.HeldRules
		s.problems[wholeTenant] = trouble{problem: oneLine(err), rests: true}
	}
	p.receive(s, a, before)
	for _, d := range destinations {
		id := a.Names.Destinations[d.Name]
		kept := before.destination(id)
		if kept != nil && before.version == a.Version && before.problems[id] == (trouble{}) {
			s.destinations[id] = kept
			s.planAgain(kept, routes, before)
			continue
		}
		made, err := p.destination(a.Tenant, id, d)
		if err == nil {
			err = s.planSteps(made, routes)
		}
		switch {
		case err == nil:
			s.destinations[id] = made
			continue
		case kept == nil || kept.Rests:
			kept = &dispatch.Destination{ID: id, Tenant: a.Tenant, Name: d.Name, Connector: p.standIn(a.Tenant, id, d), Rests: true}
		}
		s.destinations[id] = kept
		s.planAgain(kept, routes, before)
		s.problems[id] = trouble{problem: oneLine(err), rests: kept.Rests}
	}
	return s
}

func (p *plans) destination(tenant string, id int32, d outbox.DestinationConfig) (*dispatch.Destination, error) {
	connector, err := p.kinds(d).New(d.Kind, p.options(tenant, id, d))
	if err != nil {
		return nil, err
	}
	every, err := d.Rate.Every()
	if err != nil {
		return nil, fmt.Errorf("destination %s: rate: %w", d.Name, err)
	}
	quota, period, err := d.Quota.Limit()
	if err != nil {
		return nil, fmt.Errorf("destination %s: quota: %w", d.Name, err)
	}
	class := ""
	if outbox.IsNoticeDestination(d.Name) {
		class = outbox.ClassNoticeFailed
	}
	return &dispatch.Destination{
		ID: id, Tenant: tenant, Name: d.Name, Connector: connector, Class: class,
		Concurrency: d.Concurrency, Every: every, Burst: d.Burst, Quota: quota, Period: period, Timeout: d.Timeout, Breaker: d.Breaker,
		AuthorisationProbe: d.AuthorisationProbe,
	}, nil
}

// kinds are those that the destination may be of.
func (p *plans) kinds(d outbox.DestinationConfig) connectors.Registry {
	if outbox.IsNoticeDestination(d.Name) {
		return noticeKinds()
	}
	return p.registry
}

func (p *plans) options(tenant string, id int32, d outbox.DestinationConfig) connectors.Options {
	return connectors.Options{
		Name: d.Name, Settings: d.Settings, Rules: d.Rules, Concurrency: d.Concurrency,
		Secret: p.secret, AllowLoopback: p.loopback,
		Connections: connections{p.store.Connections(tenant, id)},
	}
}

func (p *plans) poke() {
	select {
	case p.poked <- struct{}{}:
	default:
	}
}

// watch loads again when poked, and every so often, and reports what came of it.
func (p *plans) watch(ctx context.Context, every time.Duration) error {
	var process *outbox.Process
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := p.load(ctx)
		if err == nil && process == nil {
			process, err = p.store.NewProcess(ctx)
		}
		if err == nil {
			err = p.report(ctx, process)
		}
		if ctx.Err() == nil {
			p.note(ctx, err)
		}
		select {
		case <-ctx.Done():
			if process == nil {
				return nil
			}
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := process.End(ending); err != nil {
				p.log.WarnContext(ctx, "this process counts as running for a while", "error", err)
			}
			return nil
		case <-tick.C:
		case <-p.poked:
		}
	}
}

func (p *plans) report(ctx context.Context, process *outbox.Process) error {
	uses := make([]outbox.Use, 0, len(p.shares))
	for _, s := range p.shares {
		uses = append(uses, s.use())
	}
	err := process.Report(ctx, uses, !p.told)
	p.told = p.told || err == nil
	return err
}

// note logs an error when it comes, and when it has gone.
func (p *plans) note(ctx context.Context, err error) {
	switch {
	case err != nil && err.Error() != p.failed:
		p.failed = err.Error()
		p.log.ErrorContext(ctx, "the configuration cannot be looked at; what is in force stays", "error", err)
	case err == nil && p.failed != "":
		p.failed = ""
		p.log.InfoContext(ctx, "the configuration is looked at again")
	}
}
