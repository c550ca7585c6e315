package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Eight a second, admitted late or early: never nine within one, and at least nine tenths
// of the rate.
func TestWindow(t *testing.T) {
	const every = 125 * time.Millisecond
	var w window
	w.of(every, 1)
	begin := time.Unix(0, 0)
	now := begin
	var went []time.Time
	for i := 0; len(went) < 200; i++ {
		due := begin.Add(time.Duration(len(went)) * every).Add(time.Duration(i*37%91) * time.Millisecond) // some late, then the next too early
		now = slices.MaxFunc([]time.Time{now, due, w.at()}, time.Time.Compare)
		w.note(now)
		went = append(went, now)
	}
	for i := 8; i < len(went); i++ {
		if apart := went[i].Sub(went[i-8]); apart < time.Second {
			t.Fatalf("requests %d to %d came within %s", i-8, i, apart)
		}
	}
	if took := now.Sub(begin); took > 200*every*10/9 {
		t.Errorf("200 requests took %s", took)
	}
	for _, c := range []struct {
		every time.Duration
		burst int
		most  int // within length
	}{{0, 1, 0}, {time.Millisecond / 2, 1, 0}, {time.Millisecond, 1, 1000}, {every, 4, 11}, {time.Minute, 1, 1}, {time.Minute, 5, 5}} {
		var w window
		w.of(c.every, c.burst)
		for n := range c.most {
			if at := w.at(); !at.IsZero() {
				t.Errorf("every %s, burst %d: only %d at once", c.every, c.burst, n)
			}
			w.note(begin)
		}
		if at, free := w.at(), c.most == 0; at.IsZero() != free {
			t.Errorf("every %s, burst %d: the next after %d may go at %s", c.every, c.burst, c.most, at)
		}
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		d := &Destination{Every: 125 * time.Millisecond, Burst: 1}
		begin := time.Now()
		var mu sync.Mutex
		var went []time.Duration
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				g.pass(t.Context(), d)
				mu.Lock()
				defer mu.Unlock()
				went = append(went, time.Since(begin))
			})
		}
		all.Wait()
		slices.Sort(went)
		if went[7] != 0 || went[8] != time.Second+windowSlack || went[16] != 2*went[8] {
			t.Errorf("they went at %v", went)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 8 {
			g.pass(ctx, d) // returns, whoever's turn it is
		}
	})
}
