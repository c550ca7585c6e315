package broker

import "testing"

// Whatever comes to stand first in the window, an acknowledgement does not pass a batch
// that is in none.
func TestSession_NeverAcknowledgesPastADroppedBatch(t *testing.T) {
	s := &session{broker: &Broker{}, ready: make(chan struct{}, 1), finishing: make(chan struct{})}
	first, second := &batch{sequence: 1}, &batch{sequence: 2, settled: true}
	s.pending = []*batch{first}
	s.dropFrom(0) // its commit failed
	s.pending = append(s.pending, second)
	if response, _, _ := s.next(); response.GetAck() != nil {
		t.Errorf("acknowledged through %d, and the first was dropped", response.GetAck().GetThroughSequence())
	}
}

func TestSession_ReceivesNothingMoreOnceACommitFailed(t *testing.T) {
	s := &session{broker: &Broker{}, ready: make(chan struct{}, 1), finishing: make(chan struct{})}
	first := &batch{sequence: 1}
	s.pending = []*batch{first}
	s.commitFailed()
	if !s.ending || s.final != error(errNotDurable) || len(s.pending) != 0 || !first.dropped {
		t.Errorf("ending %v with %v, %d pending", s.ending, s.final, len(s.pending))
	}
}
