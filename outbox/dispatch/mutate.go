package dispatch

import (
	"raffsync/outbox"
)

// pretend makes up a batch of intents that is stored nowhere, for a mutant.
func (n *incarnation) pretend(intended []*outbox.Delivery) outbox.Batch {
	return outbox.Batch{At: n.replica.Now(), Size: len(intended)}
}
