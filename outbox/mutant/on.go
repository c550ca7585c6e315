//go:build mutants

package mutant

import (
	"os"
	"slices"
)

// Built tells whether this program has the flaws in it.
const Built = true

var chosen = choose()

func choose() Flaw {
	flaw := Flaw(os.Getenv(Variable))
	if flaw != "" && !slices.Contains(All, flaw) {
		panic("mutant: there is no flaw " + string(flaw)) // a rig that mistypes one would prove nothing
	}
	return flaw
}

// On tells whether the flaw is on.
func On(f Flaw) bool { return f == chosen }
