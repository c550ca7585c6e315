// Package mutant holds the flaws that the torture (cmd/raffsync/torture) must be able
// to catch: a rig that finds nothing proves nothing until it has found what was put
// there.
//
// A flaw is a place in the product that asks [On], and does the wrong thing where the
// answer is yes:
//
//	if mutant.On(mutant.AckBeforeCommit) { … }
//
// Without the build tag "mutants" On is the constant false, and the compiler leaves
// nothing of it. With the tag, one binary has all of the flaws, and the environment
// variable RAFFSYNC_MUTANT names the one that is on.
//
// It imports nothing, so that every room of the engine may ask it.
package mutant
