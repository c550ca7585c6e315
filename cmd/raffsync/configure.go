package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/outbox"
)

type checkCommand struct {
	File        string `arg:"" optional:"" help:"Configuration file." type:"existingfile"`
	Secrets     bool   `help:"Also want every reference to a secret to lead to one."`
	Development bool   `help:"Allow destinations on this machine."`
	Reference   bool   `help:"Print what a configuration file may hold, as Markdown."`
}

func (checkCommand) Help() string {
	return `Says all that is wrong with a configuration file, with line and column, and what
was expected. Nothing is sent and no database is needed. Recorded answers, those of the
file and those that ship with each kind of destination, are classified: one that comes
to something else than it says is an error, a rule that none reaches a warning.

Examples:
  raffsync check shop.yaml
  raffsync check shop.yaml --secrets
  raffsync check --reference`
}

func (c *checkCommand) Run() error {
	if c.Reference {
		fmt.Print(config.Reference(registry()))
		return nil
	}
	if c.File == "" {
		return errors.New("name the file to check, or ask for --reference")
	}
	file, err := config.Load(c.File, config.Options{Registry: registry(), Rules: ruleSets(), AllowLoopback: c.Development, Secrets: c.Secrets})
	if err != nil {
		return err
	}
	printWarnings(os.Stdout, file.Warnings)
	if err := checkShipped(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("%s: right: %d sources, %d destinations, %d routes\n", c.File,
		len(file.Configuration.Sources), len(file.Configuration.Destinations), len(file.Configuration.Routes))
	return nil
}

// checkShipped holds the rules that ship with each kind of destination to the answers
// recorded with them.
func checkShipped(out io.Writer) error {
	var wrong []error
	compilers := ruleSets()
	for _, kind := range slices.Sorted(maps.Keys(compilers)) {
		set, err := compilers[kind](connectors.Options{})
		if err != nil {
			return err
		}
		shipped := set.Shipped()
		differ, unreached := shipped.Check()
		for _, w := range differ {
			wrong = append(wrong, fmt.Errorf("rules of kind %s: recorded answer %q %s", kind, w.Name, w.Message))
		}
		for _, name := range unreached {
			fmt.Fprintf(out, "warning: rules of kind %s: no recorded answer reaches %q\n", kind, name)
		}
		fmt.Fprintf(out, "rules of kind %s: %d recorded answers looked at\n", kind, len(shipped.Answers(true))+len(shipped.Answers(false)))
	}
	return errors.Join(wrong...)
}

type applyCommand struct {
	File        string `arg:"" help:"Configuration file." type:"existingfile"`
	Reason      string `help:"Why, for the timeline." default:"applied from the command line"`
	Development bool   `help:"Allow destinations on this machine."`
	JSON        bool   `name:"json" help:"Print the changes as JSON."`
	removalFlags
}

func (applyCommand) Help() string {
	return `Makes the file the tenant's configuration, as a new version with your name and the
reason in the timeline; running processes take it up within seconds. A destination
that still has open deliveries is not removed without a word: --drain has them
delivered first, --skip ends them; either way it gets nothing new, and goes by itself
once nothing is open.

Examples:
  raffsync apply shop.yaml --reason "accounting has moved"
  raffsync apply shop.yaml --dry-run
  raffsync apply shop.yaml --drain webstore
  raffsync apply shop.yaml --skip webstore --reason "closed for good"`
}

func (c *applyCommand) Run(ctx context.Context, line *commandLine) error {
	file, err := config.Load(c.File, config.Options{Registry: registry(), Rules: ruleSets(), AllowLoopback: c.Development, Secrets: true})
	if err != nil {
		return err
	}
	printWarnings(os.Stderr, file.Warnings)
	configured, err := file.Database.Resolve()
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
			return c.rehearse(ctx, store, file.Configuration, changes, c.Reason, c.JSON)
		}
		applied, err := c.remove(ctx, store, file.Configuration, c.Reason)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]any{"tenant": applied.Tenant, "version": applied.Version, "changes": append([]config.Change{}, changes...)})
		}
		if applied.Version == current.Version {
			fmt.Printf("nothing differs; version %d stays in force\n", applied.Version)
			return nil
		}
		for _, change := range changes {
			fmt.Println(change)
		}
		fmt.Printf("version %d of %s is in force\n", applied.Version, applied.Tenant)
		return nil
	})
}

func printJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
