package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"raffsync/outbox/mutant"
)

// mutantTries is how many runs a flaw may survive: some show only when a crash hits a
// moment. Each run has a seed of its own.
const mutantTries = 3

// runMutants prints which promise caught which flaw. One that got away is an error.
func (c *Command) runMutants(ctx context.Context) error {
	if !mutant.Built {
		return errors.New("torture: this program has no flaws in it; build it with -tags mutants (make torture-mutants)")
	}
	escaped := 0
	fmt.Printf("%-20s %-7s %-9s %s\n", "mutant", "caught", "seed", "by")
	for _, flaw := range mutant.All {
		if len(c.Only) > 0 && !slices.Contains(c.Only, string(flaw)) {
			continue
		}
		var report *Report
		caught := false
		for try := range mutantTries {
			one := *c
			if c.Seed != 0 {
				one.Seed = c.Seed + uint64(try)
			}
			var err error
			if report, err = one.once(ctx, flaw); err != nil {
				return fmt.Errorf("%s: %w", flaw, err)
			}
			if caught = len(report.Violations) > 0; caught {
				break
			}
		}
		if !caught {
			escaped++
			fmt.Printf("%-20s %-7s\n", flaw, "NO")
			continue
		}
		fmt.Printf("%-20s %-7s %-9d %s\n", flaw, "yes", report.Seed, strings.Join(report.broken(), "; "))
		if c.Verbose {
			report.print(os.Stdout)
		}
	}
	if escaped > 0 {
		return fmt.Errorf("torture: %d mutants were not caught", escaped)
	}
	return nil
}
