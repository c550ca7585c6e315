package dispatch

import (
	"maps"
	"slices"
	"sync"

	"raffsync/outbox"
)

// laneSet is the lanes that an incarnation knows that it holds, those that it is about
// to work on or to hand over among them.
type laneSet struct {
	mu  sync.Mutex
	set map[int16]bool
}

func (l *laneSet) add(leases []outbox.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set == nil {
		l.set = make(map[int16]bool)
	}
	for _, lease := range leases {
		l.set[lease.Lane] = true
	}
}

func (l *laneSet) remove(leases []outbox.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range leases {
		delete(l.set, lease.Lane)
	}
}

// lanes is never nil.
func (l *laneSet) lanes() []int16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.AppendSeq([]int16{}, maps.Keys(l.set))
}
