package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"raffsync/outbox/mutant"
)

// caughtBy is the promise that each flaw breaks. A flaw counts as caught once that is seen to
// be broken, whatever else is.
var caughtBy = map[mutant.Flaw]promise{
	mutant.AckBeforeCommit:  durable,
	mutant.UnclearIsDone:    durable,
	mutant.NoDeduplication:  idempotent,
	mutant.LaneInKey:        idempotent,
	mutant.ConflictDropped:  conflicts,
	mutant.NoFence:          fencing,
	mutant.NoEpoch:          fencing,
	mutant.NoIntent:         intent,
	mutant.OrphansForgotten: intent,
	mutant.OneCursor:        progress,
	mutant.WakeupsAreTruth:  progress,
	mutant.ReleaseLost:      progress,
	mutant.HiddenReplay:     intent,
	mutant.KeyPerAttempt:    oneEffect,
	mutant.ResendUnknown:    oneEffect,
	mutant.OrderGuardOff:    order,
	mutant.BreakerIgnored:   breaker,
	mutant.NoClaim:          oneOrder,
	mutant.ShadowSends:      shadowed,
	mutant.MissedMapping:    released,
	mutant.HeldByPages:      counts,
	mutant.EditIgnored:      edited,
	mutant.LocalClock:       progress,
}

// onlyBy are the faults that a flaw shows by, where others would only be in the way.
var onlyBy = map[mutant.Flaw][]string{
	mutant.NoEpoch:        {"late news of a lost lease"},
	mutant.MissedMapping:  {"holds that take long"},
	mutant.BreakerIgnored: {"storm of 503"},
}

// leaseOf is the lease where it is to be another than in every run: the longer it is, the
// longer a process takes to hear that it has lost it.
var leaseOf = map[mutant.Flaw]time.Duration{mutant.NoEpoch: 3 * lease}

// mutantTries is how many runs a flaw may survive: some show only when a crash hits a
// moment. Each run has a seed of its own.
const mutantTries = 5

// runMutants prints which promise caught which flaw, and how often it was broken. One that
// got away is an error.
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
		caught, others := false, []string(nil)
		for try := range mutantTries {
			one := *c
			if len(one.Faults) == 0 {
				one.Faults = onlyBy[flaw]
			}
			if c.Seed != 0 {
				one.Seed = c.Seed + uint64(try)
			}
			var err error
			if report, err = one.once(ctx, flaw); err != nil {
				return fmt.Errorf("%s: %w", flaw, err)
			}
			if caught = report.of(caughtBy[flaw]) > 0; caught {
				break
			}
			others = append(others, report.broken()...)
			if c.Verbose {
				report.print(os.Stdout)
			}
		}
		if !caught {
			escaped++
			fmt.Printf("%-20s %-7s %-9s not by %q; by %q\n", flaw, "NO", "", caughtBy[flaw], others)
			continue
		}
		fmt.Printf("%-20s %-7s %-9d %s (%d)\n", flaw, "yes", report.Seed, caughtBy[flaw], report.of(caughtBy[flaw]))
		if c.Verbose {
			report.print(os.Stdout)
		}
	}
	if escaped > 0 {
		return fmt.Errorf("torture: %d mutants were not caught", escaped)
	}
	return nil
}
