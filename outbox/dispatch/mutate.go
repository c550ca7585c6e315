package dispatch

import (
	"raffsync/outbox"
)

// pretend makes up a batch of intents that is stored nowhere, for a mutant.
func (n *incarnation) pretend(intended []*outbox.Delivery) outbox.Batch {
	b := outbox.Batch{At: n.replica.Now(), Members: make(map[outbox.Position]bool)}
	for _, d := range intended {
		b.Members[d.Position()] = true
	}
	return b
}
