package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"raffsync/outbox/mutant"
)

// Command is `raffsync torture`.
type Command struct {
	Duration time.Duration `help:"How long things go wrong." default:"60s"`
	Seed     uint64        `help:"Fixes what goes wrong; a new one where it is 0."`
	Replicas int           `help:"Processes of raffsync serve." default:"3"`
	NoFsync  bool          `name:"no-fsync" help:"Let Postgres not sync: quicker, and right as long as the machine does not crash."`
	FullDisk bool          `name:"full-disk" help:"Keep Postgres on a small disk in memory (600 MiB, and 1 MiB a second), and fill that too; where this user may mount one."`
	Folder   string        `help:"Where logs and ledgers go; a temporary one where left out. It is kept after a violation, with a report." type:"path"`
	Keep     bool          `help:"Keep the folder in any case, that of each mutant too."`
	Verbose  bool          `help:"Say what goes wrong as it does." short:"v"`
	Faults   []string      `help:"Of what goes wrong, only these, by the names that --verbose says, with commas between."`
	Mutants  bool          `help:"Run every flaw of this program, built with the tag mutants, until it is caught."`
	Only     []string      `help:"Of the mutants, only these."`
}

// Run returns an error where a promise was broken, or a mutant got away.
func (c *Command) Run(ctx context.Context) error {
	if err := c.checkFaults(); err != nil {
		return err
	}
	if c.Mutants {
		return c.runMutants(ctx)
	}
	if mutant.Built && os.Getenv(mutant.Variable) != "" {
		return errors.New("torture: to torture a mutant, use --mutants --only NAME")
	}
	report, err := c.once(ctx, "")
	if err != nil {
		return err
	}
	report.print(os.Stdout)
	if len(report.Violations) > 0 {
		return fmt.Errorf("torture: %d violations; ledgers and logs are in %s; again: --seed %d", len(report.Violations), report.Folder, report.Seed)
	}
	return nil
}

func (c *Command) checkFaults() error {
	for _, name := range c.Faults {
		if !slices.ContainsFunc(deck, func(a action) bool { return a.name == name }) {
			return fmt.Errorf("torture: nothing that goes wrong is called %q", name)
		}
	}
	return nil
}

// once is one run, of a flaw where one is named.
func (c *Command) once(ctx context.Context, flaw mutant.Flaw) (*Report, error) {
	folder, seed := c.Folder, c.Seed
	if folder == "" {
		var err error
		if folder, err = os.MkdirTemp("", "raffsync-torture-"); err != nil {
			return nil, err
		}
	} else if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if seed == 0 {
		seed = rand.Uint64() >> 33 // short enough to be typed
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	report, err := run(ctx, setup{
		program: program, folder: folder, seed: seed, duration: c.Duration, replicas: c.Replicas, noFsync: c.NoFsync, fullDisk: c.FullDisk, flaw: flaw, faults: c.Faults, lease: cmp.Or(leaseOf[flaw], lease),
		say: func(format string, arguments ...any) {
			if c.Verbose {
				fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05.000")}, arguments...)...)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("torture: the rig itself failed (seed %d, folder %s): %w", seed, folder, err)
	}
	if c.Keep || flaw == "" && len(report.Violations) > 0 {
		return report, report.write(filepath.Join(folder, "report.txt"))
	}
	return report, os.RemoveAll(folder)
}
