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

// checkOnline asks the platforms of destinations whether their connections work, one after
// the other, each within its time-out.
func checkOnline(ctx context.Context, out io.Writer, kinds connectors.Registry, all []outbox.DestinationConfig, names []string, loopback bool) error {
	var failed []error
	for _, name := range names {
		if name != everyDestination && !slices.ContainsFunc(all, func(d outbox.DestinationConfig) bool { return d.Name == name }) {
			var there []string
			for _, d := range all {
				there = append(there, d.Name)
			}
			failed = append(failed, fmt.Errorf("--online %s: there is no such destination; expected one of %s, or %s", name, strings.Join(there, ", "), everyDestination))
		}
	}
	for _, d := range all {
		named := slices.Contains(names, d.Name)
		if !named && !slices.Contains(names, everyDestination) {
			continue
		}
		connector, err := kinds.New(d.Kind, connectors.Options{
			Name: d.Name, Settings: d.Settings, Rules: d.Rules, Concurrency: d.Concurrency, Secret: config.ResolveSecret, AllowLoopback: loopback,
			Connections: &auth.Memory{}, // what comes with a token is got, and forgotten
		})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		checker, can := connector.(connectors.Checker)
		if !can {
			if named {
				failed = append(failed, fmt.Errorf("%s: a destination of kind %s cannot be asked whether its connection works", d.Name, d.Kind))
			}
			continue
		}
		asking, cancel := context.WithTimeout(ctx, d.Timeout)
		err = checker.Check(asking)
		cancel()
		switch {
		case errors.Is(err, connectors.ErrNoCheck) && !named:
			continue
		case err != nil:
			failed = append(failed, fmt.Errorf("%s: %w", d.Name, err))
			continue
		}
		fmt.Fprintf(out, "%s: the platform answers, and takes the credentials\n", d.Name)
	}
	return errors.Join(failed...)
}
