package torture

import (
	"testing"

	"raffsync/outbox/mutant"
)

// Each flaw has a promise that it breaks, and each name of one is known.
func TestCaughtBy(t *testing.T) {
	for _, flaw := range mutant.All {
		if caughtBy[flaw] == "" {
			t.Errorf("nobody says by which promise %s is to be caught", flaw)
		}
	}
	for flaw, faults := range onlyBy {
		if err := (&Command{Faults: faults}).checkFaults(); err != nil {
			t.Errorf("%s: %v", flaw, err)
		}
	}
	if len(caughtBy) != len(mutant.All) {
		t.Errorf("%d flaws are to be caught, and there are %d", len(caughtBy), len(mutant.All))
	}
}
