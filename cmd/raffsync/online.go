package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/auth"
	"raffsync/outbox"
)

// everyDestination stands for all that can be asked.
const everyDestination = "all"

// untriedStatus is the exit status where nothing is wrong, and something could not be tried.
const untriedStatus = 3

// untriedError says what could not be tried, and why.
type untriedError struct{ error }

func (untriedError) ExitCode() int { return untriedStatus }

// asking asks platforms whether their connections work.
type asking struct {
	out      io.Writer
	kinds    connectors.Registry
	loopback bool
	// stored gives what is kept of the destination's connection in the database.
	stored func(ctx context.Context, destination string) (connectors.Connections, error)

	failed, untried []error
}

// checkOnline asks the platforms of destinations whether their connections work, one after
// the other, each within its time-out. What could not be tried alone is an [untriedError].
func (a *asking) checkOnline(ctx context.Context, all []outbox.DestinationConfig, names []string) error {
	for _, name := range names {
		if name != everyDestination && !slices.ContainsFunc(all, func(d outbox.DestinationConfig) bool { return d.Name == name }) {
			var there []string
			for _, d := range all {
				there = append(there, d.Name)
			}
			a.failed = append(a.failed, fmt.Errorf("--online %s: there is no such destination; expected one of %s, or %s", name, strings.Join(there, ", "), everyDestination))
		}
	}
	for _, d := range all {
		named := slices.Contains(names, d.Name)
		if named || slices.Contains(names, everyDestination) {
			a.destination(ctx, d, named)
		}
	}
	if len(a.failed) == 0 && len(a.untried) > 0 {
		return untriedError{errors.Join(a.untried...)}
	}
	return errors.Join(append(a.failed, a.untried...)...)
}

func (a *asking) destination(ctx context.Context, d outbox.DestinationConfig, named bool) {
	// What comes with a token is got, and forgotten.
	connector, err := a.connector(d, &auth.Memory{})
	if err != nil {
		a.failed = append(a.failed, err)
		return
	}
	checker, can := connector.(connectors.Checker)
	if !can {
		if named {
			a.failed = append(a.failed, fmt.Errorf("%s: a destination of kind %s cannot be asked whether its connection works", d.Name, d.Kind))
		}
		return
	}
	if c := connectorOf(connector); c != nil && c.Consents() {
		kept, err := a.stored(ctx, d.Name)
		if err != nil {
			a.untried = append(a.untried, fmt.Errorf("%s: not tried: what a person agreed to by `raffsync connect %s` is kept in the database, and that cannot be read: %w", d.Name, d.Name, err))
			return
		}
		if connector, err = a.connector(d, kept); err != nil {
			a.failed = append(a.failed, err)
			return
		}
		checker = connector.(connectors.Checker) // as the one before it
	}
	limited, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	switch err := checker.Check(limited); {
	case errors.Is(err, connectors.ErrNoCheck) && !named:
	case err != nil:
		a.failed = append(a.failed, fmt.Errorf("%s: %w", d.Name, err))
	default:
		fmt.Fprintf(a.out, "%s: the platform answers, and takes the credentials\n", d.Name)
	}
}

func (a *asking) connector(d outbox.DestinationConfig, kept connectors.Connections) (connectors.Destination, error) {
	return a.kinds.New(d.Kind, connectors.Options{
		Name: d.Name, Settings: d.Settings, Rules: d.Rules, Concurrency: d.Concurrency, Secret: config.ResolveSecret, AllowLoopback: a.loopback,
		Connections: kept,
	})
}

// storedConnections opens the database when it is first asked for, and closes it at the end.
type storedConnections struct {
	line       *commandLine
	configured string // the file's word on where the database is
	tenant     string

	opened bool
	names  outbox.Names
	store  *outbox.Store
	err    error
	close  func()
}

func (s *storedConnections) of(ctx context.Context, destination string) (connectors.Connections, error) {
	if !s.opened {
		s.opened = true
		s.open(ctx)
	}
	if s.err != nil {
		return nil, s.err
	}
	id, known := s.names.Destinations[destination]
	if !known {
		return nil, fmt.Errorf("tenant %s has no destination %q there yet; apply the file first", s.tenant, destination)
	}
	kept := connections{s.store.Connections(s.tenant, id)}
	if _, err := kept.Load(ctx); err != nil { // for want of a key, for instance
		return nil, err
	}
	return kept, nil
}

// open has the store open until the end of the command.
func (s *storedConnections) open(ctx context.Context) {
	ready, done, ended := make(chan error, 2), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ready <- withStore(ctx, s.line, s.configured, func(store *outbox.Store) error {
			applied, err := store.ConfigurationOf(ctx, s.tenant)
			if errors.Is(err, outbox.ErrNotFound) {
				err = fmt.Errorf("tenant %s has no configuration there yet; apply the file first", s.tenant)
			}
			if err != nil {
				return err
			}
			s.store, s.names = store, applied.Names
			ready <- nil
			<-done
			return nil
		})
	}()
	s.close = func() { close(done); <-ended }
	s.err = <-ready
}

// Close closes what was opened.
func (s *storedConnections) Close() {
	if s.close != nil {
		s.close()
	}
}
