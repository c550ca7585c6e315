package dispatch

import (
	"context"
	"sync"
	"time"
)

// window keeps to so many requests in any second, however late each of them is: a
// platform that takes eight a second refuses the ninth that comes within one. It is pure.
type window struct {
	length time.Duration
	went   []time.Time // a ring of the last ones
	oldest int
}

const (
	// windowSlack is what a window is longer than a second: so much later than the ninth
	// may the first reach the platform, and they are still a second apart.
	windowSlack = 50 * time.Millisecond
	// windowMost requests are remembered: no platform that takes more counts so exactly.
	windowMost = 1024
)

// of gives the window its rate: one request every so often, and burst at once after a rest.
// For less than one a second it is as long as takes one.
func (w *window) of(every time.Duration, burst int) {
	length := max(every, time.Second)
	n := 0
	if every > 0 {
		n = int(length/every) + max(burst, 1) - 1
	}
	if n > windowMost {
		n = 0
	}
	if n != len(w.went) {
		w.went, w.oldest = make([]time.Time, n), 0
	}
	w.length = length + windowSlack
}

// at is when the next request may go: never before what is zero.
func (w *window) at() time.Time {
	if len(w.went) == 0 || w.went[w.oldest].IsZero() {
		return time.Time{}
	}
	return w.went[w.oldest].Add(w.length)
}

func (w *window) note(at time.Time) {
	if len(w.went) > 0 {
		w.went[w.oldest] = at
		w.oldest = (w.oldest + 1) % len(w.went)
	}
}

// gate is the window on the wire. Requests are admitted at their times, and then it takes
// one longer than the next until its intent is committed.
type gate struct {
	mu sync.Mutex
	window
}

// pass waits for a request's turn, as long as the context lasts.
func (g *gate) pass(ctx context.Context, d *Destination) {
	g.mu.Lock()
	g.of(d.Every, d.Burst)
	now := time.Now()
	turn := g.at()
	if turn.Before(now) {
		turn = now
	}
	g.note(turn)
	g.mu.Unlock()
	if turn == now {
		return
	}
	timer := time.NewTimer(turn.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
