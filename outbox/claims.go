package outbox

import (
	"sync"
	"time"
)

// closeAfter is how long a store that is closed waits for claims to end.
const closeAfter = 10 * time.Second

// openClaims are the claims of this process that have not ended: platforms were asked,
// and their answers must be kept.
type openClaims struct {
	mu     sync.Mutex
	open   map[string]bool
	closed chan struct{} // closed with the last of them; nil before close
}

// begin is false once the store is closed.
func (o *openClaims) begin(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return false
	}
	if o.open == nil {
		o.open = make(map[string]bool)
	}
	o.open[id] = true
	return true
}

func (o *openClaims) end(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open[id] {
		return
	}
	if delete(o.open, id); len(o.open) == 0 && o.closed != nil {
		close(o.closed)
	}
}

func (o *openClaims) close(wait time.Duration) {
	o.mu.Lock()
	if o.closed == nil {
		if o.closed = make(chan struct{}); len(o.open) == 0 {
			close(o.closed)
		}
	}
	closed := o.closed
	o.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
}
