// Package auth adds to a destination's requests what its platform wants to see before
// it answers: keys, signatures, tokens, sessions; and renews what ends.
package auth
