package outbox

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// item is an entry with what is computed of it.
type item struct {
	entry   *Entry
	arrival int // place in the batch
	seq     Seq
	hash    [32]byte
	keyHash int64
	lane    int16
	result  Result
	// candidate: its id may be new, and no other of the batch has it before.
	candidate bool
}

// candidates are items of ids that differ, in two orders.
type candidates struct {
	arrived []*item // which is the order within a key
	byID    []*item
}

func candidatesOf(arrived []*item) candidates {
	return candidates{arrived, sortedByID(arrived)}
}

// byLane are the items by lane, in each as they arrived: about the order of the indexes.
func (c candidates) byLane(lanes int) []*item {
	places := make([]int, lanes)
	for _, it := range c.arrived {
		places[it.lane]++
	}
	next := 0
	for lane, n := range places {
		places[lane], next = next, next+n
	}
	sorted := make([]*item, len(c.arrived))
	for _, it := range c.arrived {
		sorted[places[it.lane]] = it
		places[it.lane]++
	}
	return sorted
}

func newItem(e *Entry, arrival, lanes int) item {
	keyHash := KeyHash(e.Event.Tenant, e.Event.OrderingKey)
	return item{entry: e, arrival: arrival, hash: e.Event.Hash(), keyHash: keyHash, lane: LaneOf(keyHash, lanes)}
}

// compareIDs is the order of the index that ids are looked for in.
func compareIDs(a, b *item) int {
	x, y := &a.entry.Event, &b.entry.Event
	if x.ID != y.ID {
		return cmp.Compare(x.ID, y.ID)
	}
	return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.Tenant, y.Tenant))
}

// sortedByID are the items in the order of [compareIDs]; those of one id, of which the
// earliest is the event, as they arrived.
func sortedByID(items []*item) []*item {
	// Most ids differ in what they begin with, and that lies side by side here; the ids
	// themselves lie all over the memory.
	type place struct {
		begin uint64
		item  *item
	}
	places := make([]place, len(items))
	for i, it := range items {
		var begin [8]byte
		copy(begin[:], it.entry.Event.ID)
		places[i] = place{binary.BigEndian.Uint64(begin[:]), it}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.begin != b.begin {
			return cmp.Compare(a.begin, b.begin)
		}
		return cmp.Or(compareIDs(a.item, b.item), cmp.Compare(a.item.arrival, b.item.arrival))
	})
	sorted := make([]*item, len(items))
	for i := range places {
		sorted[i] = places[i].item
	}
	return sorted
}
