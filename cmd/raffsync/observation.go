package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/broker"
	"raffsync/cmd/raffsync/config"
	"raffsync/cmd/raffsync/metrics"
	"raffsync/cmd/raffsync/tracing"
	"raffsync/migrations"
	"raffsync/outbox/dispatch"
)

// observation is how the process is seen from outside: metrics, and traces.
type observation struct {
	at       net.Listener // of the metrics; nil: off
	server   *http.Server
	metrics  *metrics.Metrics
	tracing  *tracing.Tracing // nil: off
	broker   broker.Observer
	dispatch dispatch.Observer
}

// listenMetrics takes the port of the metrics. One that somebody asked for and that is
// taken is an error. The default is not worth a start that fails, as of the second of
// two processes: another port serves then, and the log says which.
func (a *app) listenMetrics(ctx context.Context) (err error) {
	address := a.config.metrics
	switch address {
	case config.Off:
		return nil
	case "":
		if a.seen.at, err = listen(ctx, config.DefaultMetrics, "--metrics"); err == nil {
			return nil
		}
		if a.seen.at, err = listen(ctx, "127.0.0.1:0", "--metrics"); err == nil {
			a.config.log.WarnContext(ctx, "the port of the metrics is taken; give each process of a machine its own with --metrics",
				"wanted", config.DefaultMetrics, "metrics", a.metricsAddress())
		}
		return err
	}
	a.seen.at, err = listen(ctx, address, "--metrics")
	return err
}

// metricsAddress is where the metrics are, or that they are off.
func (a *app) metricsAddress() string {
	if a.seen.at == nil {
		return config.Off
	}
	return a.seen.at.Addr().String()
}

// observe makes what broker and dispatcher tell of themselves to. What the environment
// says of traces never keeps the process from its work.
func (a *app) observe(ctx context.Context) {
	o, log := &a.seen, a.config.log
	version, revision, goVersion := programVersion()
	o.metrics = metrics.New(metrics.Build{Version: version, Revision: revision, Go: goVersion, Schema: migrations.Latest()})
	o.broker, o.dispatch = o.metrics.Broker(), o.metrics.Dispatch()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.metrics.Handler(log))
	o.server = &http.Server{
		Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}

	var err error
	if o.tracing, err = tracing.New(ctx, version, log); err != nil {
		log.WarnContext(ctx, "traces are off", "error", err)
	}
	if o.tracing == nil {
		return
	}
	o.broker.Durable, o.dispatch.Sending, o.dispatch.TraceID = o.tracing.Durable, o.tracing.Sending, o.tracing.TraceID
	count := o.dispatch.Attempted
	o.dispatch.Attempted = func(attempted dispatch.Attempted) {
		count(attempted)
		o.tracing.Attempted(attempted)
	}
}

// watch has the metrics ask at a scrape for what is not counted.
func (a *app) watch() {
	store := a.config.store
	a.seen.metrics.Watch(metrics.Watched{
		Gauges: store.Gauges, Lanes: a.dispatcher.Lanes, Streams: a.broker.Streams, HeldBytes: a.broker.HeldBytes,
		Pools: func() map[string]*pgxpool.Stat {
			pools := store.Pools()
			pools["dispatch"] = a.dispatcher.Pool()
			return pools
		},
	})
}

// serve serves the metrics until the context ends.
func (o *observation) serve(ctx context.Context) error {
	if o.at == nil {
		return nil
	}
	over := context.AfterFunc(ctx, func() { _ = o.server.Close() })
	defer over()
	if err := o.server.Serve(o.at); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics on %s: %w", o.at.Addr(), err)
	}
	return nil
}

// close lets go of the port, and sends the spans that are left, if it can be done soon.
func (o *observation) close(ctx context.Context, log *slog.Logger) {
	if o.at != nil {
		o.at.Close()
	}
	if o.tracing != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := o.tracing.Close(ctx); err != nil {
			log.WarnContext(ctx, "the last traces are not sent", "error", err)
		}
	}
}
