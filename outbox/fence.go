package outbox

import (
	"cmp"
	"slices"
)

// fenceSQL goes first in the transaction of whatever a replica stores: it holds every
// one of the lanes at its epoch until the transaction ends, or fails, so that nothing
// of a lost lease is ever stored.
const fenceSQL = `SELECT raffsync_fence($1, $2, $3)`

// fenceArguments are in the order of lanes, so that no two wait in a circle.
func fenceArguments(leases []Lease) (lanes []int16, epochs []int64) {
	leases = slices.Clone(leases)
	slices.SortFunc(leases, func(a, b Lease) int { return cmp.Compare(a.Lane, b.Lane) })
	for _, l := range leases {
		lanes = append(lanes, l.Lane)
		epochs = append(epochs, l.Epoch)
	}
	return lanes, epochs
}

func leaseError(err error) error {
	if sqlState(err) == stateLeaseLost {
		return ErrLeaseLost
	}
	return err
}
