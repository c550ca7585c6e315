package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"raffsync/broker"
	"raffsync/connectors"
	"raffsync/connectors/chat"
	"raffsync/connectors/hooks"
	"raffsync/connectors/mail"
	"raffsync/connectors/recipe"
	"raffsync/connectors/rules"
	"raffsync/connectors/webhook"
	"raffsync/graph"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	"raffsync/outbox/escalate"
	"raffsync/outbox/view"
)

// registry knows the kinds of destination that this program has.
func registry() connectors.Registry {
	return connectors.Registry{"recipe": recipe.Factory, "webhook": webhook.Factory}
}

// noticeKinds are those by which teams are told. Routes lead to none of them.
func noticeKinds() connectors.Registry {
	return connectors.Registry{outbox.KindMail: mail.Factory, outbox.KindChat: chat.Factory, "webhook": webhook.Factory}
}

// ruleSets compile the outcome rules of those kinds.
func ruleSets() map[string]func(connectors.Options) (*rules.Set, error) {
	return map[string]func(connectors.Options) (*rules.Set, error){"recipe": recipe.Rules, "webhook": webhook.Rules}
}

// appConfig is what an app is made of.
type appConfig struct {
	store      *outbox.Store
	log        *slog.Logger
	http, grpc string // addresses to listen on; port 0 takes a free one
	metrics    string // the same, or off; empty: the default, or a free port
	lease      time.Duration
	// development allows destinations on this machine, and shows the API's schema.
	development bool
	// kinds of destination; nil: those of [registry].
	kinds     connectors.Registry
	watermark *watermark
}

// app is broker, dispatcher and API on one store.
type app struct {
	config     appConfig
	httpAt     net.Listener
	grpcAt     net.Listener
	broker     *broker.Broker
	dispatcher *dispatch.Dispatcher
	api        *graph.API
	plans      *plans
	mappings   *outbox.Mappings
	seen       observation
	heard      outbox.Heard
	sweepRules sweepRules // of the sweeps alone
	escalation *escalate.Worker
	routing    routing
	plan       atomic.Pointer[dispatch.Plan] // as it is in force
	hooks      *hooks.Receiver
}

// newApp takes its ports, and reads the configuration in force. Nothing is served
// before [app.run].
func newApp(ctx context.Context, c appConfig) (*app, error) {
	if c.kinds == nil {
		c.kinds = registry()
	}
	a := &app{config: c, routing: routing{store: c.store}, sweepRules: make(sweepRules)}
	var err error
	if a.httpAt, err = listen(ctx, c.http, "--http"); err != nil {
		return nil, err
	}
	if a.grpcAt, err = listen(ctx, c.grpc, "--grpc"); err != nil {
		a.httpAt.Close()
		return nil, err
	}
	err = a.listenMetrics(ctx)
	if err == nil {
		err = a.build(ctx)
	}
	if err != nil {
		a.httpAt.Close()
		a.grpcAt.Close()
		a.seen.close(ctx, c.log)
		return nil, err
	}
	return a, nil
}

func listen(ctx context.Context, address, flag string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("cannot listen on %s: another program uses the port; choose one with %s", address, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q, which %s or the configuration says (expected an address of this machine and a port, as 127.0.0.1:8080): %w", address, flag, err)
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("%s can be reached from other machines, and that needs TLS, which is not there yet; listen on 127.0.0.1 and put a proxy with TLS in front", address)
	}
	return l, nil
}

func (a *app) build(ctx context.Context) error {
	c := a.config
	a.observe(ctx)
	var err error
	if a.mappings, err = outbox.NewMappings(outbox.MappingsConfig{Store: c.store, Log: c.log}); err != nil {
		return err
	}
	if err := a.mappings.Refresh(ctx); err != nil { // before anything is looked up
		return err
	}
	if a.dispatcher, err = dispatch.New(dispatch.Config{Store: c.store, Log: c.log, Lease: c.lease, Observe: a.seen.dispatch, Mappings: a.mappings}); err != nil {
		return err
	}
	a.broker, err = broker.New(broker.Config{
		Store: c.store, Log: c.log, Listeners: []net.Listener{a.grpcAt}, Reflection: c.development, Observe: a.seen.broker,
		OnCommitted: func(lanes []int16) {
			a.dispatcher.Wake(lanes)
			c.store.Hint(outbox.Hint{Lanes: lanes}) // some of them may be another replica's
		},
		OnHeard: a.heard.Note, Full: c.watermark.full,
	})
	if err != nil {
		return err
	}
	a.api, err = graph.New(graph.Config{
		View: view.New(c.store.API()), Operators: c.store, Transitions: c.store, Log: c.log, Development: c.development,
		Replays: replays{c.store, a.routing.router}, Jobs: c.store, Edits: c.store, Verdicts: verdicts{c.store}, Mappings: c.store,
		Previews: previews{c.store, a.dispatcher, a.routing.router},
	})
	if err != nil {
		return err
	}
	a.hooks = hooks.NewReceiver(hooks.ReceiverConfig{Door: a.broker, Log: c.log, Full: c.watermark.full, Observe: a.seen.metrics.Hooks()})
	a.plans = newPlans(c.store, c.kinds, c.development, c.log, func(p *dispatch.Plan, rules map[string]*broker.Rules, received []*hooks.Source) {
		a.hooks.SetSources(received)
		a.seen.metrics.Plan(p)
		a.dispatcher.SetPlan(p)
		a.plan.Store(p)
		for tenant, r := range rules {
			a.broker.SetRules(tenant, r)
		}
	})
	if a.escalation, err = a.newEscalation(); err != nil {
		return err
	}
	a.watch()
	return a.plans.load(ctx)
}

// tidyEvery is how often the housekeeping is done, watchEvery how often the
// configuration is looked at where no hint came.
const (
	tidyEvery  = 10 * time.Second
	watchEvery = 2 * time.Second
)

// maxHTTPConnections is the most connections to the API and the receivers together. More
// wait to be accepted.
const maxHTTPConnections = 4096

// run serves until the context ends, and then stops in order: sources first, so that
// nothing new comes; what is on the wire next; the API last, so that it can be
// watched.
func (a *app) run(ctx context.Context) error {
	defer a.grpcAt.Close()
	a.config.watermark.look(ctx) // before anything is taken in
	if err := a.config.store.Tidy(ctx); err != nil {
		return fmt.Errorf("the database is not ready: %w", err)
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	group, failed := errgroup.WithContext(ctx)
	dispatching, stopDispatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopDispatching()

	defer a.seen.close(ctx, a.config.log)
	server := a.httpServer(failed.Done())
	// In order: no webhook is taken in that the broker, which drains, would leave undone.
	context.AfterFunc(failed, a.hooks.Drain)
	defer a.hooks.Close()
	group.Go(func() error {
		if err := server.Serve(netutil.LimitListener(a.httpAt, maxHTTPConnections)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", a.httpAt.Addr(), err)
		}
		return nil
	})
	group.Go(func() error { return a.seen.serve(background) })
	group.Go(func() error { return a.api.Run(background) })
	group.Go(func() error { return a.dispatcher.Run(dispatching) })
	group.Go(func() error {
		return a.config.store.RunHints(background, a.config.log, func(h outbox.Hint) {
			a.dispatcher.Wake(h.Lanes)
			a.api.Poke()
			if h.Configuration {
				a.plans.poke()
			}
			if h.Controls {
				a.dispatcher.LookAtControls()
			}
			if h.Releases {
				a.dispatcher.LookAtReleases()
			}
			if h.Mappings {
				a.mappings.Poke()
			}
		})
	})
	group.Go(func() error { return a.plans.watch(background, watchEvery) })
	group.Go(func() error { return a.mappings.Run(background) })
	group.Go(func() error { return a.tidy(background) })
	group.Go(func() error { return a.config.watermark.run(background) })
	group.Go(func() error { return a.sweep(background) })
	group.Go(func() error { return a.keepConnections(background) })
	group.Go(func() error { return a.replay(background) })
	group.Go(func() error { return a.carryOut(background) })
	group.Go(func() error { return a.reprocess(background) })
	group.Go(func() error { return a.escalation.Run(background) })
	group.Go(func() error {
		defer func() { // whichever way it ended, everything else follows, in this order
			stopDispatching()
			stopBackground()
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = server.Shutdown(closing)
			_ = server.Close()
		}()
		return a.broker.Run(failed)
	})
	return group.Wait()
}

func (a *app) tidy(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.config.store.Tidy(ctx); err != nil && ctx.Err() == nil {
			a.config.log.WarnContext(ctx, "housekeeping is tried again later", "error", err)
		}
	}
}
