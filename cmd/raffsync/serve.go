package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/outbox"
)

// listenFlags are where to listen; they win over the configuration.
type listenFlags struct {
	HTTP    string `help:"Address of the API; 127.0.0.1:8080 where neither this nor the configuration says." env:"RAFFSYNC_HTTP" placeholder:"ADDR"`
	GRPC    string `name:"grpc" help:"Address that sources stream to; 127.0.0.1:9090 where neither this nor the configuration says." env:"RAFFSYNC_GRPC" placeholder:"ADDR"`
	Metrics string `help:"Address of the metrics for Prometheus, or off; 127.0.0.1:9464 where neither this nor the configuration says, or another port where that is taken." env:"RAFFSYNC_METRICS" placeholder:"ADDR"`
	// Lease is for tests: a short one makes a takeover quick.
	Lease time.Duration `hidden:"" env:"RAFFSYNC_LEASE" default:"15s"`
}

type serveCommand struct {
	listenFlags
	spaceFlags
	Config       string `help:"Configuration file: applied where its tenant has none yet; a differing one is refused until it is applied." type:"existingfile" placeholder:"FILE" short:"c"`
	Development  bool   `help:"Allow destinations on this machine, serve the console at /, and print a login."`
	AfterRestore bool   `help:"The database was restored from a backup: pause every destination, take each open delivery for one that may have been sent, and say what to do next. Refused while another process works on the database."`
}

func (serveCommand) Help() string {
	return `Runs until it gets SIGINT or SIGTERM; then sources are asked to drain, what is on
the wire is finished, and the lanes are handed over. A second signal ends it at once.

Several of them may share one Postgres: each takes its part of the work.

After a restore from a backup, stop all of them and start one with --after-restore: what
was sent since then is not known to the database. Nothing is sent until you resume it.

Examples:
  raffsync serve --config shop.yaml
  DATABASE_URL=postgres://sync@db/sync raffsync serve --http 127.0.0.1:8081 --grpc 127.0.0.1:9091
  DATABASE_URL=postgres://sync@db/sync raffsync serve --max-database-size 200GiB
  DATABASE_URL=postgres://sync@db/sync raffsync serve --after-restore`
}

func (c *serveCommand) Run(ctx context.Context, line *commandLine) error {
	log := newLogger(os.Stderr, logLevel())
	file, err := loadFile(c.Config, c.Development)
	if err != nil {
		return err
	}
	var prepare func(context.Context, *outbox.Store) error
	if c.AfterRestore {
		prepare = func(ctx context.Context, store *outbox.Store) error {
			restored, err := store.AfterRestore(ctx, actor("").Name)
			if err == nil {
				fmt.Print(afterRestore(restored, line))
			}
			return err
		}
	}
	return serve(ctx, line, serveOptions{
		listenFlags: c.listenFlags, spaceFlags: c.spaceFlags, file: file, development: c.Development, log: log, prepare: prepare,
		ready: func(r running) error {
			if c.Development {
				if err := printDevelopmentLogin(ctx, r, line.State); err != nil {
					return err
				}
			}
			log.Info("ready", "http", r.app.httpAt.Addr().String(), "grpc", r.app.grpcAt.Addr().String(), "metrics", r.app.metricsAddress(), "database", r.database.about)
			select {
			case <-ctx.Done():
				log.Info("stopping: sources drain, and what is on the wire is finished")
			case <-r.ended:
			}
			return nil
		},
	})
}

// loadFile reads a configuration file and prints its warnings; nil where there is no
// path.
func loadFile(path string, loopback bool) (*config.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := config.Load(path, config.Options{Registry: registry(), Rules: ruleSets(), Notices: noticeKinds(), AllowLoopback: loopback, Secrets: true})
	if err != nil {
		return nil, err
	}
	printWarnings(os.Stderr, file.Warnings)
	return file, nil
}

func printWarnings(out io.Writer, warnings []config.Problem) {
	for _, w := range warnings {
		fmt.Fprintln(out, "warning:", w)
	}
}

// running is what a started process offers to those that use it.
type running struct {
	app      *app
	database *database
	store    *outbox.Store
	// ended is closed when the app has ended, for whichever reason.
	ended <-chan struct{}
}

type serveOptions struct {
	listenFlags
	spaceFlags
	file        *config.File // nil: the database's configuration as it is
	development bool
	log         *slog.Logger
	kinds       connectors.Registry // of destinations; nil: those of this program
	// prepare runs once the store is open, before the configuration is read.
	prepare func(ctx context.Context, store *outbox.Store) error
	// ready is called when all is served; the process ends when it returns.
	ready func(running) error
}

// serve opens the database, runs the app until the context ends or ready returns, and
// stops everything, an embedded Postgres last.
func serve(ctx context.Context, line *commandLine, o serveOptions) (err error) {
	keepHeadroom()
	var configured string
	var at config.Listen
	if o.file != nil {
		if configured, err = o.file.Database.Resolve(); err != nil {
			return err
		}
		at = o.file.Listen
	}
	// Starting is bounded by the user's patience: the first signal ends it.
	d, err := openDatabase(ctx, line, configured, own, o.log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if stopErr := d.stop(stopping); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
	}()
	store, err := d.openStore(ctx, line, o.Lease)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer store.Close()
	if d.sole {
		if err := store.BuryReplicas(ctx); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	if o.file != nil {
		if err := putInForce(ctx, store, o.file); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	if o.prepare != nil {
		if err := o.prepare(ctx, store); err != nil {
			return unlessStopped(ctx, err)
		}
	}
	a, err := newApp(ctx, appConfig{
		store: store, watermark: newWatermark(o.spaceFlags, d, store.Size, o.log), log: o.log, lease: o.Lease, development: o.development, kinds: o.kinds,
		http: firstOf(o.HTTP, at.HTTP, config.DefaultHTTP), grpc: firstOf(o.GRPC, at.GRPC, config.DefaultGRPC),
		metrics: firstOf(o.Metrics, at.Metrics),
	})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		group, working := errgroup.WithContext(working)
		group.Go(func() error {
			defer stop() // so that the watch ends too
			return a.run(working)
		})
		group.Go(func() error { return d.watch(working) })
		failed = group.Wait()
	}()
	err = o.ready(running{app: a, database: d, store: store, ended: ended})
	stop()
	<-ended
	return errors.Join(err, failed)
}

// unlessStopped drops the error of a start that a signal ended: that is what was asked
// for.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// putInForce applies the file where its tenant has no configuration yet, and refuses
// one that differs from what is in force.
func putInForce(ctx context.Context, store *outbox.Store, file *config.File) error {
	current, err := store.ConfigurationOf(ctx, file.Configuration.Tenant)
	if errors.Is(err, outbox.ErrNotFound) {
		_, err := store.Apply(ctx, actor(file.Configuration.Tenant), file.Configuration, "first start with "+file.Path)
		return err
	}
	if err != nil {
		return err
	}
	if changes := config.Diff(current.Configuration, file.Configuration); len(changes) > 0 {
		var list strings.Builder
		for _, c := range changes {
			fmt.Fprintf(&list, "\n  %s", c)
		}
		return fmt.Errorf("%s differs from version %d that is in force; run `raffsync apply %s`, or start without --config:%s",
			file.Path, current.Version, file.Path, list.String())
	}
	return nil
}

// actor is whoever runs this program.
func actor(tenant string) outbox.Actor {
	name := "somebody"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return outbox.Actor{Tenant: tenant, Name: name + " (command line)"}
}
