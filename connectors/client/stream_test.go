package client_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func exhausted(after time.Duration) error {
	s, err := status.New(codes.ResourceExhausted, "the window is full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		return err
	}
	return s.Err()
}

// whole checks that each event was told once, in order, whatever its streams suffered.
func (r *running) whole(t *testing.T, ids []string) {
	t.Helper()
	if err := r.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids, r.told.ids); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestStream_Resumes(t *testing.T) {
	for name, first := range map[string]script{
		"VanishesBeforeWelcome": func(s *session) error { return status.Error(codes.Unavailable, "stopping") },
		"VanishesWithABatch": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "gone mid-batch")
		},
		"MakesDurableAndDoesNotSay": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			s.commit()
			return status.Error(codes.Unavailable, "COMMIT unclear")
		},
		"EndsWithoutAnError": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			_, err := s.batch()
			return err
		},
		"IsExhausted": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			return exhausted(time.Millisecond)
		},
		"AnswersWithNoWelcome": func(s *session) error { return s.say(&raffsyncv1.Heartbeat{}) },
		"DrainsAtOnce":         func(s *session) error { return s.say(&raffsyncv1.Draining{}) },
		"SaysWelcomeTwice": func(s *session) error {
			if err := errors.Join(s.say(welcome()), s.say(welcome())); err != nil {
				return err
			}
			<-s.rpc.Context().Done()
			return nil
		},
		"AcknowledgesWhatWasNotSent": func(s *session) error {
			if err := errors.Join(s.say(welcome()), s.say(&raffsyncv1.Ack{ThroughSequence: 99})); err != nil {
				return err
			}
			<-s.rpc.Context().Done()
			return nil
		},
		"GivesAResultForNoBatch": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			if err := s.say(&raffsyncv1.Ack{ThroughSequence: 1, Results: []*raffsyncv1.EventResult{{Sequence: 2}}}); err != nil {
				return err
			}
			<-s.rpc.Context().Done()
			return nil
		},
		"GivesAResultForNoEvent": func(s *session) error {
			if err := s.say(welcome()); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			if err := s.say(&raffsyncv1.Ack{ThroughSequence: 1, Results: []*raffsyncv1.EventResult{{Sequence: 1, Index: 100}}}); err != nil {
				return err
			}
			<-s.rpc.Context().Done()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, address := newBroker(t, first, serve)
			c := run(t, config(address))
			c.whole(t, c.send(t, 0, 500))
			if len(b.durable) != 500 {
				t.Errorf("%d events are durable", len(b.durable))
			}
			streams := b.arrived()
			if len(streams) != 2 {
				t.Fatalf("%d streams", len(streams))
			}
			if again := streams[1][0]; again != "e00000" {
				t.Errorf("the second stream begins with %s", again)
			}
			if s := c.Stats(); s.Duplicate > 0 {
				for i, r := range c.told.results {
					if r.Status == raffsyncv1.Status_STATUS_DUPLICATE && !r.Resent {
						t.Errorf("%s is a duplicate of its own and not marked as sent again", c.told.ids[i])
					}
				}
			}
		})
	}
}

// This broker acknowledges late, only once the client has nothing more to say, and
// refuses a batch past the window.
func TestStream_SendsNoBatchPastTheWindow(t *testing.T) {
	const window = 2
	_, address := newBroker(t, func(s *session) error {
		w := welcome()
		w.WindowBatches, w.MaxBatchEvents = window, 5
		w.HeartbeatEvery = durationpb.New(10 * time.Millisecond)
		if err := s.say(w); err != nil {
			return err
		}
		requests, failed := make(chan *raffsyncv1.PublishRequest), make(chan error, 1)
		go func() {
			for {
				request, err := s.rpc.Recv()
				if err != nil {
					failed <- err
					return
				}
				requests <- request
			}
		}()
		unacknowledged := 0
		for {
			select {
			case err := <-failed:
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			case request := <-requests:
				if request.GetHeartbeat() != nil {
					// The client is idle: its window is full, or nothing is left.
					if unacknowledged > 0 {
						if err := s.say(s.commit()); err != nil {
							return err
						}
						unacknowledged = 0
					} else if err := s.say(&raffsyncv1.Heartbeat{}); err != nil {
						return err
					}
					continue
				}
				batch := request.GetBatch()
				s.sequence++
				s.pending = append(s.pending, batch)
				unacknowledged++
				if unacknowledged > window || len(batch.Events) > 5 {
					return status.Errorf(codes.InvalidArgument, "%d batches unacknowledged, %d events", unacknowledged, len(batch.Events))
				}
			}
		}
	})
	c := run(t, config(address))
	c.whole(t, c.send(t, 0, 40))
}

func TestStream_KeepsFramesUnderTheLimit(t *testing.T) {
	largest := 0
	_, address := newBroker(t, func(s *session) error {
		w := welcome()
		w.MaxBatchEvents = 1000
		if err := s.say(w); err != nil {
			return err
		}
		for {
			batch, err := s.batch()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			largest = max(largest, proto.Size(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Batch{Batch: batch}}))
			if err := s.say(s.commit()); err != nil {
				return err
			}
		}
	})
	cfg := config(address)
	cfg.BufferBytes = 64 << 20
	c := run(t, cfg)
	var ids []string
	for i := range 40 {
		e := event(i)
		e.Data = &raffsyncv1.Event_BinaryData{BinaryData: make([]byte, 100_000+i*10_000)}
		if err := c.Send(within(t), e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.Id)
	}
	c.whole(t, ids)
	if s := c.Stats(); s.Streams != 1 {
		t.Errorf("a frame was refused: %+v", s)
	}
	if largest > 1<<20 || largest < 500_000 {
		t.Errorf("the largest frame had %d bytes", largest)
	}
}

func TestStream_Drains(t *testing.T) {
	b, address := newBroker(t, func(s *session) error {
		w := welcome()
		w.MaxBatchEvents = 10
		if err := s.say(w); err != nil {
			return err
		}
		if _, err := s.batch(); err != nil {
			return err
		}
		if err := s.say(&raffsyncv1.Draining{}); err != nil {
			return err
		}
		// What is due still comes, until the client ends its side.
		if err := s.say(s.commit()); err != nil {
			return err
		}
		return s.serve()
	}, serve)
	c := run(t, config(address))
	c.whole(t, c.send(t, 0, 400))
	streams := b.arrived()
	if len(streams) != 2 || len(streams[0])+len(streams[1]) != 400 {
		t.Errorf("%d streams: draining sent something twice, or opened none", len(streams))
	}
	if s := c.Stats(); s.Accepted != 400 {
		t.Errorf("%+v", s)
	}
}
