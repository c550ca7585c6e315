package pglocal

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// aliveEvery is how often the main process is looked for.
const aliveEvery = 500 * time.Millisecond

// Ended is closed soon after Postgres' main process has ended, whoever ended it, or
// when the context ends; the error of the context tells which.
func (s *Server) Ended(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.reaped: // nil, and so never, for one that was adopted
				return
			case <-tick.C:
			}
			if errors.Is(syscall.Kill(s.pid, 0), syscall.ESRCH) {
				return
			}
		}
	}()
	return ended
}
