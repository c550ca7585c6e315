package client_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestStream_Heartbeats(t *testing.T) {
	t.Run("SendsThemWhenIdle", func(t *testing.T) {
		heard := make(chan struct{})
		_, address := newBroker(t, func(s *session) error {
			w := welcome()
			w.HeartbeatEvery = durationpb.New(20 * time.Millisecond)
			if err := s.say(w); err != nil {
				return err
			}
			for range 5 {
				request, err := s.rpc.Recv()
				if err != nil {
					return err
				}
				if request.GetHeartbeat() == nil {
					return status.Errorf(codes.InvalidArgument, "%T", request.Frame)
				}
				if err := s.say(&raffsyncv1.Heartbeat{}); err != nil {
					return err
				}
			}
			close(heard)
			return s.serve()
		})
		c := run(t, config(address))
		select {
		case <-heard:
		case <-within(t).Done():
			t.Fatal("no heartbeat")
		}
		c.whole(t, c.send(t, 0, 3))
		if s := c.Stats(); s.Streams != 1 {
			t.Errorf("%+v", s)
		}
	})

	t.Run("LeavesASilentBroker", func(t *testing.T) {
		b, address := newBroker(t, func(s *session) error {
			w := welcome()
			w.HeartbeatEvery = durationpb.New(5 * time.Millisecond)
			if err := s.say(w); err != nil {
				return err
			}
			<-s.rpc.Context().Done() // never reads, never speaks
			return nil
		}, serve)
		c := run(t, config(address))
		c.whole(t, c.send(t, 0, 50))
		if n := len(b.arrived()); n != 2 {
			t.Errorf("%d streams", n)
		}
	})

	t.Run("LeavesABrokerThatNeverWelcomes", func(t *testing.T) {
		_, address := newBroker(t, func(s *session) error {
			<-s.rpc.Context().Done()
			return nil
		}, serve)
		cfg := config(address)
		cfg.ConnectTimeout = 20 * time.Millisecond
		c := run(t, cfg)
		ids := c.send(t, 0, 5)
		// The second stream gets no longer to connect on a busy machine; another one
		// follows then.
		c.whole(t, ids)
	})

	t.Run("DoesNotTakeASlowCallbackForADeadBroker", func(t *testing.T) {
		released := make(chan struct{})
		heartbeats := 0
		_, address := newBroker(t, func(s *session) error {
			w := welcome()
			w.HeartbeatEvery = durationpb.New(10 * time.Millisecond)
			if err := s.say(w); err != nil {
				return err
			}
			if _, err := s.batch(); err != nil {
				return err
			}
			if err := s.say(s.commit()); err != nil {
				return err
			}
			for heartbeats < 12 { // six intervals: twice what a silent broker is given
				request, err := s.rpc.Recv()
				if err != nil {
					return err
				}
				if request.GetHeartbeat() != nil {
					heartbeats++
				}
			}
			close(released)
			return s.serve()
		})
		cfg := config(address)
		var recorded told
		cfg.OnResult = func(e *raffsyncv1.Event, r client.Result) {
			<-released
			recorded.add(e, r)
		}
		c := run(t, cfg)
		c.send(t, 0, 1)
		if err := c.Close(within(t)); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Streams != 1 || len(recorded.ids) != 1 {
			t.Errorf("%+v", s)
		}
	})
}
