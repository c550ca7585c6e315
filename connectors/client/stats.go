package client

import raffsyncv1 "raffsync/proto/raffsync/v1"

// Stats are counters since New and the state of the moment.
type Stats struct {
	// Source is the name that the broker knows this client by; empty before the
	// first Welcome.
	Source string
	// Connected is true while a stream is open.
	Connected bool
	// Streams counts the streams that were opened.
	Streams uint64
	// Trouble is why the last stream ended, nil while another one is open.
	Trouble error
	// Unacknowledged counts the events that Send took and that are not in one of
	// the next six.
	Unacknowledged uint64
	Accepted       uint64
	Duplicate      uint64
	Conflict       uint64
	Invalid        uint64
	Unrouted       uint64
	// Other counts statuses that this version of the package does not know.
	Other uint64
}

// Stats returns the counters, which are exact together.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Unacknowledged = uint64(c.queue.waiting())
	return s
}

func (s *Stats) count(status raffsyncv1.Status) {
	switch status {
	case raffsyncv1.Status_STATUS_ACCEPTED:
		s.Accepted++
	case raffsyncv1.Status_STATUS_DUPLICATE:
		s.Duplicate++
	case raffsyncv1.Status_STATUS_CONFLICT:
		s.Conflict++
	case raffsyncv1.Status_STATUS_INVALID:
		s.Invalid++
	case raffsyncv1.Status_STATUS_UNROUTED:
		s.Unrouted++
	default:
		s.Other++
	}
}
