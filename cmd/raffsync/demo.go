package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/cmd/raffsync/config"
	"raffsync/cmd/raffsync/demo"
	"raffsync/outbox"
	"raffsync/outbox/explain"
	"raffsync/outbox/view"
)

type demoCommand struct {
	listenFlags
	Rate float64 `help:"Events a second that the shop sends; 12 in the first minute and 4 later where 0."`
}

func (demoCommand) Help() string {
	return `serve, with a coffee shop that streams orders, stock moves and invoices of three
outlets, and three simulated platforms that receive them: one healthy, one that fails
in every way, one that wants to know each item by its own number. Data and login stay for the
next run. The log goes to raffsync.log in the state folder.`
}

// Files of the demo in the state folder.
const (
	demoKeyFile  = "demo.key"
	demoLogFile  = "raffsync.log"
	demoLockFile = "demo.lock"
	demoOperator = "demo"
)

func (c *demoCommand) Run(ctx context.Context, line *commandLine) error {
	begin := time.Now()
	if err := os.MkdirAll(line.State, 0o700); err != nil {
		return fmt.Errorf("the state folder cannot be made: %w", err)
	}
	unlock, err := lockState(line.State)
	if err != nil {
		return err
	}
	defer unlock()
	logFile, err := os.OpenFile(filepath.Join(line.State, demoLogFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log := newLogger(logFile, logLevel())

	platforms, err := demo.NewPlatforms(demo.PlatformsConfig{State: line.State, Logger: log})
	if err != nil {
		return err
	}
	// The platforms outlive everything that sends to them.
	receiving, stopPlatforms := context.WithCancel(context.WithoutCancel(ctx))
	received := make(chan error, 1)
	go func() { received <- platforms.Run(receiving) }()
	err = c.serve(ctx, line, begin, platforms, log)
	stopPlatforms()
	err = errors.Join(err, <-received)
	if err == nil {
		fmt.Println("  stopped; data and login are kept")
	}
	return err
}

// lockState holds the folder for one demo; the lock ends with the process.
func lockState(state string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(state, demoLockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another demo runs already from this folder; stop it first, or choose another --state: %w", err)
	}
	return func() { file.Close() }, nil
}

func (c *demoCommand) serve(ctx context.Context, line *commandLine, begin time.Time, platforms *demo.Platforms, log *slog.Logger) error {
	endpoints, err := platforms.Ready(ctx)
	if err != nil {
		return err
	}
	text, err := demo.Configuration(endpoints)
	if err != nil {
		return err
	}
	file, err := config.Parse("the demo's configuration", []byte(text), config.Options{Registry: registry(), Rules: ruleSets(), Notices: noticeKinds(), AllowLoopback: true, Secrets: true, Samples: demo.Samples()})
	if err != nil {
		return err
	}
	login, err := developmentLogin(line.State)
	if err != nil {
		return err
	}
	return serve(ctx, line, serveOptions{
		listenFlags: c.listenFlags, development: true, log: log,
		prepare: func(ctx context.Context, store *outbox.Store) error {
			return prepareDemo(ctx, store, line.State, login, file.Configuration)
		},
		ready: func(r running) error { return c.watch(ctx, line, begin, r, platforms, endpoints, login, log) },
	})
}

// prepareDemo puts the demo's configuration in force, and makes its key and login.
func prepareDemo(ctx context.Context, store *outbox.Store, state, login string, c outbox.Configuration) error {
	demoActor := outbox.Actor{Tenant: demo.Tenant, Name: "raffsync demo"}
	if _, err := store.Apply(ctx, demoActor, c, "the demo's configuration"); err != nil {
		return err
	}
	items := outbox.SetMappings{
		MappingRequest: outbox.MappingRequest{RequestID: "the demo's items", Reason: "what the shop has always sold"},
		Table:          outbox.MappingTable{Destination: demo.Strict, Name: demo.Table},
	}
	for _, sku := range demo.Items() {
		items.Entries = append(items.Entries, outbox.MappingPair{Value: sku, Target: sku})
	}
	if _, err := store.SetMappings(ctx, demoActor, items); err != nil {
		return err
	}
	if err := ensureOperator(ctx, store, demoActor, demoOperator, login); err != nil {
		return err
	}
	path := filepath.Join(state, demoKeyFile)
	if key, err := os.ReadFile(path); err == nil {
		if _, err := store.Authenticate(ctx, strings.TrimSpace(string(key))); !errors.Is(err, outbox.ErrUnauthenticated) {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := store.CreateKey(ctx, demoActor, demo.Source)
	if err != nil {
		return err
	}
	return writeSecret(path, key)
}

// watch runs shop and screen until the context ends or the app does.
func (c *demoCommand) watch(ctx context.Context, line *commandLine, begin time.Time, r running, platforms *demo.Platforms, endpoints []demo.Endpoint, login string, log *slog.Logger) error {
	keyFile := filepath.Join(line.State, demoKeyFile)
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	shop, err := demo.NewShop(demo.ShopConfig{
		State: line.State, Target: r.app.grpcAt.Addr().String(), Key: strings.TrimSpace(string(key)), Rate: c.Rate, Logger: log,
	})
	if err != nil {
		return err
	}
	screen := demo.NewScreen(demo.ScreenConfig{
		Out: os.Stdout, Figures: figures{view.New(r.store.API())}, Ledgers: platforms, Colour: demo.UseColour(os.Stdout),
	})
	if err := screen.Welcome(demo.Welcome{
		Database: r.database.about, Startup: time.Since(begin),
		API: "http://" + r.app.httpAt.Addr().String(), Login: demoOperator + " / " + login,
		GRPC: r.app.grpcAt.Addr().String(), KeyFile: near(keyFile), Platforms: endpoints,
		Story: typed(os.Args[0], line, "story", strconv.Itoa(demo.FirstOrder)),
		Map:   typed(os.Args[0], line, "mappings", "set", demo.Strict, demo.Table, demo.Missing+"="+demo.Item, "--reason", "new"), Again: startedBy(os.Args, line), PID: os.Getpid(),
	}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return shop.Run(ctx) })
	group.Go(func() error { return screen.Run(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-r.ended:
			return errors.New("the broker ended")
		}
	})
	err = group.Wait()
	fmt.Println("  stopping: sources drain, what is on the wire is finished …")
	return err
}

// figures reads the screen's numbers.
type figures struct{ view *view.View }

// shownExceptions is a screenful.
const shownExceptions = 50

func (f figures) Snapshot(ctx context.Context) (demo.Snapshot, error) {
	var s demo.Snapshot
	err := f.view.As(ctx, demo.Tenant, func(tx *view.Tx) error {
		totals, err := tx.Totals(ctx)
		if err != nil {
			return err
		}
		s.Accepted = totals.Deliveries // so that the line adds up: an event goes to several destinations
		s.Counts = demo.Counts{Delivered: totals.Delivered, Waiting: totals.Open() - totals.NeedsAction, NeedsAction: totals.NeedsAction}
		destinations, err := tx.Destinations(ctx)
		if err != nil {
			return err
		}
		for _, d := range destinations {
			s.Destinations = append(s.Destinations, demo.Destination{
				Name:    d.Name,
				Counts:  demo.Counts{Delivered: d.Delivered, Waiting: d.Depth() - d.NeedsAction, NeedsAction: d.NeedsAction},
				Breaker: shownBreaker(d.Breaker),
			})
		}
		open := true
		exceptions, err := tx.Exceptions(ctx, view.ExceptionFilter{Open: &open}, shownExceptions, "")
		if err != nil {
			return err
		}
		for _, x := range exceptions.Nodes {
			shown := demo.Exception{ID: x.ID(), Destination: deref(x.Destination), Title: x.Sample, Held: x.HeldCount}
			if x.Gap() != nil {
				shown.Title = x.Explain(explain.English).Title
			}
			worth, err := tx.Exposures(ctx, []int64{x.Number})
			if err != nil {
				return err
			}
			for _, e := range worth[x.Number] {
				if e.Currency != nil {
					shown.Worth = *e.Currency + " " + e.Amount
				}
			}
			s.Exceptions = append(s.Exceptions, shown)
		}
		return nil
	})
	return s, err
}

// shortReason is what a line has room for: the last failure, without what the platform
// said to it.
func shortReason(reason string) string {
	if _, last, ok := strings.Cut(reason, "the last by: "); ok {
		reason = last
	}
	short, _, _ := strings.Cut(reason, ":")
	return short
}

func shownBreaker(b view.Breaker) demo.Breaker {
	shown := demo.Breaker{Reason: shortReason(b.Reason), NextProbeAt: deref(b.ProbeAt)}
	switch b.State {
	case view.BreakerOpen:
		shown.State = demo.BreakerOpen
	case view.BreakerHalfOpen:
		shown.State = demo.BreakerHalfOpen
	default:
		shown.State = demo.BreakerClosed
	}
	return shown
}
