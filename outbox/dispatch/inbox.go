package dispatch

import "sync"

// inbox hands things from many goroutines to one, which takes all that gathered
// while it was busy: batches form by themselves, without a timer.
type inbox[T any] struct {
	mu     sync.Mutex
	items  []T
	signal chan struct{} // holds one token while something is there
}

func newInbox[T any]() *inbox[T] { return &inbox[T]{signal: make(chan struct{}, 1)} }

func (b *inbox[T]) put(items ...T) {
	if len(items) == 0 {
		return
	}
	b.lay(items...)
	b.wake()
}

// lay puts items there without a signal: they are taken when one comes. It returns how many
// there are now.
func (b *inbox[T]) lay(items ...T) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, items...)
	return len(b.items)
}

func (b *inbox[T]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items)
}

// remind sets the signal where something is there.
func (b *inbox[T]) remind() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) > 0 {
		b.wake()
	}
}

func (b *inbox[T]) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// take returns at most limit items, and leaves the signal set where more are there.
func (b *inbox[T]) take(limit int) []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) <= limit {
		items := b.items
		b.items = nil
		return items
	}
	items := b.items[:limit:limit]
	b.items = append([]T(nil), b.items[limit:]...)
	b.wake()
	return items
}
