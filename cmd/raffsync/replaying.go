package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"raffsync/broker"
	"raffsync/outbox"
)

// replayEvery is how often it is looked whether a page of a replay is due.
const replayEvery = 200 * time.Millisecond

// replay makes the deliveries of replays until the context ends. What fails is tried
// again.
func (a *app) replay(ctx context.Context) error {
	replayer := a.config.store.OpenReplayer(rand.Int64(), a.routing.router)
	defer replayer.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.config.watermark.full() != "" {
			continue // what it makes needs room too
		}
		for more := true; more && ctx.Err() == nil; {
			lanes, again, err := replayer.Step(ctx)
			if err != nil && ctx.Err() == nil {
				a.config.log.WarnContext(ctx, "a replay is tried again", "error", err)
			}
			if more = again && err == nil; len(lanes) > 0 {
				a.dispatcher.Wake(lanes)
				a.config.store.Hint(outbox.Hint{Lanes: lanes})
			}
		}
	}
}

// replays is what the API needs of the store, by the rules in force.
type replays struct {
	*outbox.Store
	routes outbox.Routes
}

func (r replays) PreviewReplay(ctx context.Context, tenant, destination string, f outbox.ReplayFilter, most int) (outbox.ReplayPreview, error) {
	route, err := r.routes(ctx)
	if err != nil {
		return outbox.ReplayPreview{}, err
	}
	return r.Store.PreviewReplay(ctx, tenant, destination, f, most, route)
}

func (r replays) Redirect(ctx context.Context, actor outbox.Actor, q outbox.RedirectRequest) (outbox.Redirected, error) {
	route, err := r.routes(ctx)
	if err != nil {
		return outbox.Redirected{}, err
	}
	return r.Store.Redirect(ctx, actor, q, route)
}

// routing compiles the routes in force, and keeps them until there is another version.
// What broker and dispatcher work by may be seconds older: an event that a replay passes
// over by it would be passed over for good.
type routing struct {
	store *outbox.Store

	mu       sync.Mutex
	versions map[string]int
	rules    map[string]*broker.Rules // never changed once it is here
}

// router is an [outbox.Routes].
func (r *routing) router(ctx context.Context) (outbox.Router, error) {
	inForce, err := r.store.Configurations(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	versions, rules := make(map[string]int), make(map[string]*broker.Rules)
	for _, a := range inForce {
		versions[a.Tenant], rules[a.Tenant] = a.Version, r.rules[a.Tenant]
		if r.versions[a.Tenant] == a.Version {
			continue
		}
		if rules[a.Tenant], _, err = broker.CompileRules(a.Configuration, a.Names); err != nil {
			return nil, fmt.Errorf("routes of %s, version %d: %w", a.Tenant, a.Version, err)
		}
	}
	r.versions, r.rules = versions, rules
	return func(tenant string, destination int32, e *outbox.Event) (string, bool) {
		return broker.RouteTo(e, rules[tenant], destination)
	}, nil
}
