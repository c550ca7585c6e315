//go:build !mutants

package mutant

// Built tells whether this program has the flaws in it.
const Built = false

// On tells whether the flaw is on: never.
func On(Flaw) bool { return false }
