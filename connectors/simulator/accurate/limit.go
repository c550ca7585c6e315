package accurate

import (
	"sync"
	"time"
)

// limit is so many calls in any second, and so many at once.
type limit struct {
	rate, parallel int

	mu    sync.Mutex
	began []time.Time // of the calls of the last second
	there int
	most  int // ever at once
	over  int // calls that were refused
}

// enter lets a call in, or refuses it; done ends it.
func (l *limit) enter(now time.Time) (done func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.began) > 0 && now.Sub(l.began[0]) >= time.Second {
		l.began = l.began[1:]
	}
	if len(l.began) >= l.rate || l.there >= l.parallel {
		l.over++
		return nil, false
	}
	l.began = append(l.began, now)
	l.there++
	l.most = max(l.most, l.there)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.there--
	}, true
}

// Limited is how many calls were refused since they were too many.
func (s *Simulator) Limited() int {
	s.limit.mu.Lock()
	defer s.limit.mu.Unlock()
	return s.limit.over
}
