package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"raffsync/cmd/raffsync/config"
	"raffsync/outbox"
)

type applyCommand struct {
	File        string `arg:"" help:"Configuration file." type:"existingfile"`
	Reason      string `help:"Why, for the timeline." default:"applied from the command line"`
	Development bool   `help:"Allow destinations on this machine."`
	JSON        bool   `name:"json" help:"Print the changes as JSON."`
	Against     string `help:"With --dry-run: also say what would become of the events accepted since then, as 7d or 2026-11-01." placeholder:"TIME"`
	removalFlags
}

func (applyCommand) Help() string {
	return `Makes the file the tenant's configuration, as a new version with your name and the
reason in the timeline, and waits up to five seconds for the running processes to take
it up. Where one cannot use it, because a secret is missing there for instance, that is
said, and the exit status is 1: the version is stored, and the destination goes on as it
was configured before, or rests.

A destination that still has open deliveries is not removed without a word: --drain has
them delivered first, --skip ends them; either way it gets nothing new, and goes by
itself once nothing is open.

--dry-run --against 7d prepares the newest events of the last seven days by the
configuration in force and by the file, as if each came now and nothing had been sent
before, with today's mapping tables, and tells what would become of them that does not
today. It looks at 10,000 of them, for two minutes, at most, and says so.

Examples:
  raffsync apply shop.yaml --reason "accounting has moved"
  raffsync apply shop.yaml --dry-run
  raffsync apply shop.yaml --dry-run --against 7d
  raffsync apply shop.yaml --drain webstore
  raffsync apply shop.yaml --skip webstore --reason "closed for good"`
}

func (c *applyCommand) Run(ctx context.Context, line *commandLine) error {
	file, err := config.Load(c.File, config.Options{Registry: registry(), Rules: ruleSets(), Notices: noticeKinds(), AllowLoopback: c.Development, Secrets: true})
	if err != nil {
		return err
	}
	printWarnings(os.Stderr, file.Warnings)
	configured, err := file.Database.Resolve()
	if err != nil {
		return err
	}
	if c.Against != "" && !c.DryRun {
		return errors.New("--against says what an apply would do: it goes with --dry-run")
	}
	since, err := parseMoment("--against", c.Against, time.Now())
	if err != nil {
		return err
	}
	return withStore(ctx, line, configured, func(store *outbox.Store) error {
		current, err := store.ConfigurationOf(ctx, file.Configuration.Tenant)
		if err != nil && !errors.Is(err, outbox.ErrNotFound) {
			return err
		}
		changes := config.Diff(current.Configuration, file.Configuration)
		if c.DryRun {
			var against *againstPast
			if c.Against != "" {
				if against, err = rehearseAgainst(ctx, store, current, file.Configuration, since); err != nil {
					return err
				}
			}
			return c.rehearse(ctx, store, file.Configuration, changes, c.Reason, c.JSON, against)
		}
		applied, err := c.remove(ctx, store, file.Configuration, c.Reason)
		if err != nil {
			return err
		}
		uses, err := takenUp(ctx, store, applied.Tenant, applied.Version)
		if err != nil {
			return fmt.Errorf("version %d of %s is stored; whether it is in force is not known: %w", applied.Version, applied.Tenant, err)
		}
		if c.JSON {
			err = printJSON(map[string]any{
				"tenant": applied.Tenant, "version": applied.Version,
				"changes": append([]config.Change{}, changes...), "processes": append([]outbox.ProcessUse{}, uses...),
			})
		} else {
			if applied.Version == current.Version {
				fmt.Println("nothing differs")
			}
			for _, change := range changes {
				fmt.Println(change)
			}
			fmt.Println(inForce(applied.Tenant, applied.Version, uses))
		}
		return errors.Join(err, notInForce(applied.Version, uses))
	})
}

// takeUpTimeout is how long running processes have to take a version up, lookEvery how
// often they are asked.
const (
	takeUpTimeout = 5 * time.Second
	takeUpEvery   = 100 * time.Millisecond
)

// takenUp waits until every running process has looked at the version, or the time is
// over, and returns what each makes of it.
func takenUp(ctx context.Context, store *outbox.Store, tenant string, version int) ([]outbox.ProcessUse, error) {
	late := time.NewTimer(takeUpTimeout)
	defer late.Stop()
	tick := time.NewTicker(takeUpEvery)
	defer tick.Stop()
	for {
		uses, err := store.Uses(ctx, tenant)
		if err != nil || !anyBehind(uses, version) {
			return uses, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late.C:
			return uses, nil
		case <-tick.C:
		}
	}
}

func anyBehind(uses []outbox.ProcessUse, version int) bool {
	for _, u := range uses {
		if u.Version < version {
			return true
		}
	}
	return false
}

// inForce says in one line where the version is in force.
func inForce(tenant string, version int, uses []outbox.ProcessUse) string {
	if len(uses) == 0 {
		return fmt.Sprintf("stored as version %d of %s; no process is running, the next one takes it up", version, tenant)
	}
	in := 0
	for _, u := range uses {
		if u.Version >= version && len(u.Problems) == 0 {
			in++
		}
	}
	return fmt.Sprintf("version %d of %s is in force in %d of %s", version, tenant, in, counted(len(uses), "running process"))
}

// notInForce says what is wrong in which process; nil where nothing is.
func notInForce(version int, uses []outbox.ProcessUse) error {
	var wrong []string
	for _, u := range uses {
		switch {
		case u.Version < version:
			wrong = append(wrong, fmt.Sprintf("process %d has not taken it up within %s; its log says why", u.Process, takeUpTimeout))
		case len(u.Problems) > 0:
			wrong = append(wrong, fmt.Sprintf("process %d: %s", u.Process, strings.Join(u.Problems, "; ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New("stored, but not in force everywhere: put it right there, or apply another version:\n  " + strings.Join(wrong, "\n  "))
}
