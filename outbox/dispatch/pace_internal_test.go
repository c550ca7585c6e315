package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var p pace
		p.lease(block{next: begin.Add(-time.Second), every: 100 * time.Millisecond, left: 12}, begin) // of a burst
		var went []time.Duration
		for range 10 {
			for p.ready(time.Now()) {
				p.spend(time.Now())
				went = append(went, time.Since(begin))
			}
			time.Sleep(20 * time.Millisecond)
		}
		if len(went) != 12 || went[10] != 0 || went[11] != 100*time.Millisecond {
			t.Errorf("they went at %v, want eleven at once and one 100 ms later", went)
		}
		p.lease(block{next: time.Now(), every: 50 * time.Millisecond, left: 3}, time.Now())
		time.Sleep(100*time.Millisecond + paceGrace)
		if p.ready(time.Now()) || p.left() != 0 {
			t.Error("what was not used in its time is still there")
		}
		// One that a rest has saved up may go when it comes, however slow the rate is.
		p.lease(block{next: time.Now().Add(-5 * time.Second), every: 1090 * time.Millisecond, left: 1}, time.Now())
		time.Sleep(paceGrace)
		if !p.ready(time.Now()) {
			t.Error("a request of a burst is gone before it could be made")
		}
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h health
		for i, c := range []struct {
			outcome error
			failing bool
		}{{errDestination, false}, {errDestination, true}, {context.Canceled, true}, {nil, true}, {nil, true}} {
			if h.note(c.outcome); h.failing(0.2) != c.failing {
				t.Errorf("%d: failing is %t", i, !c.failing)
			}
		}
		for range healthWindow {
			h.note(nil)
		}
		if h.failing(0.2) || h.ramp(time.Now(), 1, 64) != 64 {
			t.Error("a destination that is well is held back")
		}
		h.note(errDestination)
		h.note(errDestination)
		h.recover(time.Now())
		if h.failing(0.2) {
			t.Error("the budget holds back one that has recovered: only the ramp should")
		}
		for i, want := range []int{3, 6, 12, 24, 48, 64, 64} {
			if got := h.ramp(time.Now(), 3, 64); got != want {
				t.Errorf("after %d times: %d, want %d", i, got, want)
			}
			time.Sleep(rampEvery)
		}
		time.Sleep(50 * time.Second)
		if got := h.ramp(time.Now(), 1, 1000); got != 1000 {
			t.Errorf("%d of 1000 within a minute", got)
		}
	})
}
