package broker

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func (b *Broker) welcome(c outbox.Credential) *raffsyncv1.PublishResponse {
	return &raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Welcome{Welcome: &raffsyncv1.Welcome{
		Source:         c.SourceName,
		MaxBatchEvents: uint32(b.config.MaxBatchEvents),
		MaxEventBytes:  uint32(b.config.MaxEventBytes),
		WindowBatches:  uint32(b.config.WindowBatches),
		HeartbeatEvery: durationpb.New(b.config.HeartbeatEvery),
	}}}
}

// send sends what there is to send, and a heartbeat where there has been nothing for
// half the time that it was promised for. It returns when the stream is to end.
func (s *session) send(ctx context.Context) error {
	beat := s.broker.config.HeartbeatEvery / 2
	tick := time.NewTicker(beat)
	defer tick.Stop()
	sent := time.Now()
	for {
		response, end, err := s.next()
		if end {
			return err
		}
		if response == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.ready:
				continue
			case <-tick.C:
				if time.Since(sent) < beat || !s.greetedBack() {
					continue
				}
				response = &raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Heartbeat{Heartbeat: &raffsyncv1.Heartbeat{}}}
			}
		}
		if err := s.stream.SendMsg(response); err != nil {
			return err
		}
		sent = time.Now()
	}
}

// next takes one frame that is to be sent. The batches in an acknowledgement leave
// the window before it is sent, never after: a client that has it may send the next
// at once. What a client that does not read can make the broker hold is therefore
// one acknowledgement and one window.
//
// An acknowledgement is cumulative, so it never passes a batch that is not in one.
func (s *session) next() (response *raffsyncv1.PublishResponse, end bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.control) > 0 {
		response = s.control[0]
		s.control = s.control[1:]
		return response, false, nil
	}
	ack := &raffsyncv1.Ack{}
	n, size, now := 0, 0, time.Now()
	for ; n < len(s.pending) && size < maxAnswerBytes; n++ {
		b := s.pending[n]
		if !b.settled || b.failed.Load() || b.sequence != s.through+1 {
			break
		}
		s.through = b.sequence
		for _, r := range b.results {
			if r != nil {
				ack.Results = append(ack.Results, r)
				size += resultSize(r)
			}
		}
		s.broker.intake.budget.give(b.cost)
		s.broker.config.Observe.acknowledged(b, now)
	}
	if n > 0 {
		clear(s.pending[:n])
		s.pending = append(s.pending[:0], s.pending[n:]...)
		ack.ThroughSequence = s.through
		return &raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Ack{Ack: ack}}, false, nil
	}
	return nil, s.ending && len(s.pending) == 0, s.final
}

func (s *session) greetedBack() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.welcomed
}
