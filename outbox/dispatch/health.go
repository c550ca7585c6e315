package dispatch

import (
	"math/bits"
	"time"
)

// health is what the last outcomes say of a destination, and how long ago it recovered.
// It is pure. Only the scheduler's goroutine uses it.
type health struct {
	recent    uint16 // the last outcomes that say something, the newest lowest; 1: it failed
	recovered time.Time
}

const (
	// healthWindow outcomes are looked at.
	healthWindow = 10
	// rampEvery is the time in which a destination that has recovered gets twice as much:
	// a thousand slots within 15 s.
	rampEvery = 1500 * time.Millisecond
)

// note takes up an outcome: nil, that it is well; [errDestination], that it is not.
// Others say nothing.
func (h *health) note(outcome error) {
	switch outcome {
	case nil:
		h.recent = h.recent << 1 & (1<<healthWindow - 1)
	case errDestination:
		h.recent = (h.recent<<1 | 1) & (1<<healthWindow - 1)
	}
}

// failing tells whether at least this ratio of the last outcomes failed.
func (h *health) failing(ratio float64) bool {
	return float64(bits.OnesCount16(h.recent)) >= max(ratio*healthWindow, 1)
}

// recover starts anew, slowly: from now on only the ramp holds back.
func (h *health) recover(now time.Time) { h.recent, h.recovered = 0, now }

// ramp bounds the requests in flight after a recovery.
func (h *health) ramp(now time.Time, least, most int) int {
	if h.recovered.IsZero() {
		return most
	}
	doublings := int(now.Sub(h.recovered) / rampEvery)
	if doublings > 30 {
		h.recovered = time.Time{}
		return most
	}
	return min(most, max(least, 1)<<doublings)
}
