package broker

import (
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
)

// While the disk is nearly full a batch is refused, with when to come back, and its
// source was heard all the same; afterwards it is taken.
func TestBroker_RefusesWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	var heard atomic.Int32
	h := newHouse(t, func(c *Config, _ *Broker) {
		c.OnHeard = func(int32) { heard.Add(1) }
		c.Full = func() string {
			if full.Load() {
				return "the disk is nearly full"
			}
			return ""
		}
	})
	full.Store(true)
	s := h.open()
	s.batch(event("e1", "order/1"))
	_, err := s.end()
	checkStatus(t, err, codes.ResourceExhausted, "DISK_FULL", "the disk is nearly full; nothing of this batch was kept")
	if heard.Load() != 1 || one[int](h, `SELECT count(*) FROM events`) != 0 {
		t.Errorf("heard %d times", heard.Load())
	}
	full.Store(false)
	again := h.open()
	again.batch(event("e1", "order/1"))
	again.acked(1)
	if heard.Load() != 2 || one[int](h, `SELECT count(*) FROM events`) != 1 {
		t.Errorf("afterwards heard %d times", heard.Load())
	}
}
