package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// children are the series of each value of some labels, made when first asked for.
// Asking takes no lock.
type children[K comparable, V any] struct {
	make func(K) V

	mu  sync.Mutex // of those who add
	all atomic.Pointer[map[K]V]
}

func (c *children[K, V]) of(key K) V {
	if all := c.all.Load(); all != nil {
		if v, ok := (*all)[key]; ok {
			return v
		}
	}
	return c.add(key)
}

func (c *children[K, V]) add(key K) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[K]V)
	if all := c.all.Load(); all != nil {
		if v, ok := (*all)[key]; ok {
			return v // by another, meanwhile
		}
		maps.Copy(next, *all)
	}
	v := c.make(key)
	next[key] = v
	c.all.Store(&next)
	return v
}
