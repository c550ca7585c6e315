package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"raffsync/cmd/raffsync/config"
	"raffsync/outbox"
)

// removalFlags say what becomes of what is open for destinations that are removed.
type removalFlags struct {
	DryRun bool     `help:"Show what would change, and what is open for what would be removed. Nothing is stored."`
	Drain  []string `help:"A destination that the file does not name any more: its open deliveries are delivered first." placeholder:"NAME"`
	Skip   []string `help:"A destination that the file does not name any more: its open deliveries are skipped, for the --reason given." placeholder:"NAME"`
}

// defaultReason is no reason to skip something.
const defaultReason = "applied from the command line"

func (f *removalFlags) removal(reason string) (outbox.Removal, error) {
	if len(f.Skip) > 0 && (reason == "" || reason == defaultReason) {
		return outbox.Removal{}, errors.New("--skip ends deliveries without sending them: say why with --reason, for the timeline")
	}
	return outbox.Removal{Drain: f.Drain, Skip: f.Skip, DryRun: f.DryRun}, nil
}

// rehearse shows what an apply would do. It fails where that would.
func (f *removalFlags) rehearse(ctx context.Context, store *outbox.Store, c outbox.Configuration, changes []config.Change, reason string, asJSON bool, against *againstPast) error {
	r, err := f.removal(reason)
	if err != nil {
		return err
	}
	open, err := store.OpenOfRemoved(ctx, c)
	if err != nil {
		return err
	}
	planned, refused := store.Remove(ctx, actor(c.Tenant), c, reason, r)
	if asJSON {
		err := printJSON(map[string]any{
			"dryRun": true, "tenant": c.Tenant, "version": planned.Version,
			"changes": append([]config.Change{}, changes...), "open": append([]outbox.Remainder{}, open...),
			"against": against,
		})
		return errors.Join(err, refused)
	}
	for _, change := range changes {
		fmt.Println(change)
	}
	for _, o := range open {
		fmt.Println(f.describe(o))
	}
	against.print(os.Stdout)
	if refused != nil {
		return refused
	}
	if len(changes) == 0 {
		fmt.Printf("nothing differs; version %d would stay in force\n", planned.Version)
		return nil
	}
	fmt.Printf("version %d of %s would be in force; nothing is stored\n", planned.Version, c.Tenant)
	return nil
}

func (f *removalFlags) describe(o outbox.Remainder) string {
	count := fmt.Sprint(o.Count)
	if o.AtLeast {
		count += " or more"
	}
	text := fmt.Sprintf("%s %s: %s open", o.Kind, o.Name, count)
	switch {
	case o.Kind == "route":
		return text + "; they go on, by the default policy"
	case slices.Contains(f.Drain, o.Name):
		return text + "; they are delivered, then it goes"
	case slices.Contains(f.Skip, o.Name):
		return text + "; they are skipped, then it goes"
	}
	return text + "; --drain or --skip is needed"
}

// remove applies the configuration, and skips what is to be skipped. Where it is
// interrupted at that, running processes go on.
func (f *removalFlags) remove(ctx context.Context, store *outbox.Store, c outbox.Configuration, reason string) (outbox.Applied, error) {
	r, err := f.removal(reason)
	if err != nil {
		return outbox.Applied{}, err
	}
	applied, err := store.Remove(ctx, actor(c.Tenant), c, reason, r)
	if err != nil {
		return applied, err
	}
	for _, d := range applied.Draining {
		name := d.Destination.Name
		switch {
		case slices.Contains(f.Drain, name):
			fmt.Fprintf(os.Stderr, "%s gets nothing new, and goes once nothing is open for it\n", name)
		case slices.Contains(f.Skip, name):
			total := 0
			for {
				n, err := store.SkipOpen(ctx, applied.Names.Destinations[name], *d.Skip)
				if err != nil {
					return applied, fmt.Errorf("%d deliveries to %s are skipped; running processes skip the rest: %w", total, name, err)
				}
				if n == 0 {
					break
				}
				total += n
			}
			fmt.Fprintf(os.Stderr, "%d deliveries to %s are skipped; it goes within a minute, while a process runs\n", total, name)
		}
	}
	return applied, nil
}
