package broker

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func heartbeat(every time.Duration) option {
	return func(c *Config, _ *Broker) { c.HeartbeatEvery = every }
}

func flush(within time.Duration) option {
	return func(_ *Config, b *Broker) {
		if b != nil {
			b.flushTimeout = within
		}
	}
}

func TestPublish_Authentication(t *testing.T) {
	h := newHouse(t)
	conn := h.connect()
	revoked, err := h.store.CreateKey(t.Context(), clerk, "till")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.RevokeKey(t.Context(), clerk, strings.Split(revoked, "_")[1]); err != nil {
		t.Fatal(err)
	}
	wrong := h.keys["till"][:len(h.keys["till"])-4] + "AAAA"
	for name, test := range map[string]struct {
		ctx    context.Context
		reason string
	}{
		"Missing": {t.Context(), "KEY_MISSING"},
		"Wrong":   {withKey(t.Context(), wrong), "KEY_REFUSED"},
		"Revoked": {withKey(t.Context(), revoked), "KEY_REFUSED"},
		"NoKey":   {withKey(t.Context(), "hello"), "KEY_REFUSED"},
		"Two":     {withKey(withKey(t.Context(), h.keys["till"]), wrong), "KEY_MISSING"},
	} {
		t.Run(name, func(t *testing.T) {
			client := raffsyncv1.NewIngestServiceClient(conn)
			stream, err := client.Publish(test.ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			checkStatus(t, err, codes.Unauthenticated, test.reason, "raffsync keys create")
			_, err = client.PublishBatch(test.ctx, &raffsyncv1.PublishBatchRequest{Events: events("e", 1)})
			checkStatus(t, err, codes.Unauthenticated, test.reason, "raffsync keys create")
		})
	}
	if said := h.log.String(); strings.Contains(said, wrong) || strings.Contains(said, revoked) {
		t.Errorf("the log holds a key:\n%s", said)
	}
}

// Where the routes cannot be used, nobody can say where an event is to go: it is not
// taken in as one that no route wants.
func TestPublish_UnderHeldRules(t *testing.T) {
	h := newHouse(t)
	h.broker.SetRules("kopi", HeldRules)
	client := raffsyncv1.NewIngestServiceClient(h.connect())
	_, err := client.PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: events("e", 1)})
	checkStatus(t, err, codes.Unavailable, "CONFIGURATION", "send again later")
	if n := one[int](h, `SELECT count(*) FROM events`); n != 0 {
		t.Errorf("%d events were taken in", n)
	}
}

func TestPublish_RevokedMeanwhile(t *testing.T) {
	h := newHouse(t, func(c *Config, _ *Broker) { c.RecheckEvery = 20 * time.Millisecond })
	s, other := h.open(), h.dial(h.connect(), h.keys["web"])
	other.hello()
	if err := h.store.RevokeKey(t.Context(), clerk, strings.Split(h.keys["till"], "_")[1]); err != nil {
		t.Fatal(err)
	}
	_, err := s.end()
	checkStatus(t, err, codes.Unauthenticated, "KEY_REFUSED", "revoked")
	other.receive() // the welcome
	other.batch(events("e", 1)...)
	other.acked(1)
}

func TestPublish_WrongFrames(t *testing.T) {
	h := newHouse(t, func(c *Config, _ *Broker) { c.MaxBatchEvents = 10 })
	conn := h.connect()
	for name, test := range map[string]struct {
		say          func(*stream)
		reason, says string
		acknowledged uint64
	}{
		"BatchBeforeHello": {func(s *stream) { s.batch(events("a", 1)...) }, "FRAME_INVALID", "the first frame must be Hello", 0},
		"SecondHello":      {func(s *stream) { s.hello(); s.hello() }, "FRAME_INVALID", "the only Hello", 0},
		"Empty":            {func(s *stream) { s.hello(); s.say(&raffsyncv1.PublishRequest{}) }, "FRAME_INVALID", "must be hello, batch or heartbeat", 0},
		"LongClient": {func(s *stream) {
			s.say(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Hello{Hello: &raffsyncv1.Hello{Client: strings.Repeat("x", 121)}}})
		}, "FRAME_INVALID", "hello.client: must be at most 120 bytes", 0},
		"SequenceFrom2":   {func(s *stream) { s.hello(); s.next = 2; s.batch(events("b", 1)...) }, "SEQUENCE", "expected 1, got 2", 0},
		"SequenceRepeats": {func(s *stream) { s.hello(); s.batch(events("c", 2)...); s.next = 1; s.batch(events("c", 2)...) }, "SEQUENCE", "expected 2, got 1", 1},
		"SequenceJumps":   {func(s *stream) { s.hello(); s.batch(events("d", 2)...); s.next = 3; s.batch(events("d", 2)...) }, "SEQUENCE", "expected 2, got 3", 1},
		"TooManyEvents":   {func(s *stream) { s.hello(); s.batch(events("f", 3)...); s.batch(events("g", 11)...) }, "FRAME_INVALID", "at most 10 events", 1},
		"NotProtobuf":     {func(s *stream) { s.hello(); s.SendMsg(encoded([]byte{0x12, 0x02, 0x12, 0x7f})) }, "FRAME_INVALID", "not the protobuf encoding", 0},
		"TooLarge": {func(s *stream) {
			s.hello()
			e := event("h", "k")
			e.Data, e.ContentType = text(strings.Repeat("x", maxMessageBytes)), "text/plain"
			s.batch(e)
		}, "FRAME_INVALID", "at most 1048576 bytes", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := h.dial(conn, h.keys["till"])
			test.say(s)
			acknowledged, err := s.end()
			checkStatus(t, err, codes.InvalidArgument, test.reason, test.says)
			if acknowledged != test.acknowledged {
				t.Errorf("acknowledged through %d, want %d", acknowledged, test.acknowledged)
			}
		})
	}
	for name, test := range map[string]struct {
		events []*raffsyncv1.Event
		says   string
	}{
		"NoEvents":      {nil, "at least one event"},
		"TooManyEvents": {events("a", 11), "at most 10 events"},
	} {
		t.Run("PublishBatch/"+name, func(t *testing.T) {
			_, err := raffsyncv1.NewIngestServiceClient(conn).PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: test.events})
			checkStatus(t, err, codes.InvalidArgument, "FRAME_INVALID", test.says)
		})
	}
	if n := h.broker.intake.budget.held.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

func TestPublish_Welcome(t *testing.T) {
	h := newHouse(t, func(c *Config, _ *Broker) { c.MaxBatchEvents, c.MaxEventBytes, c.WindowBatches = 7, 500, 3 })
	s := h.dial(h.connect(), h.keys["web"])
	s.hello()
	w := s.receive().GetWelcome()
	if w.GetSource() != "web" || w.GetMaxBatchEvents() != 7 || w.GetMaxEventBytes() != 500 || w.GetWindowBatches() != 3 ||
		w.GetHeartbeatEvery().AsDuration() != durationpb.New(30*time.Second).AsDuration() {
		t.Error(w)
	}
}

// The limit is long enough for a machine that is busy with something else; the three take
// it side by side.
func TestPublish_Silence(t *testing.T) {
	h := newHouse(t, heartbeat(600*time.Millisecond))
	t.Run("AtOnce", func(t *testing.T) {
		t.Run("BeforeHello", func(t *testing.T) {
			t.Parallel()
			_, err := h.dial(h.connect(), h.keys["till"]).end()
			checkStatus(t, err, codes.Unavailable, "SILENT", "said nothing for 1.8s")
		})
		t.Run("AfterABatch", func(t *testing.T) {
			t.Parallel()
			s := h.open()
			s.batch(events("e", 1)...)
			s.acked(1)
			_, err := s.end()
			checkStatus(t, err, codes.Unavailable, "SILENT", "Heartbeat")
		})
		t.Run("NotWithHeartbeats", func(t *testing.T) {
			t.Parallel()
			s := h.open()
			for range 8 { // one each half interval: longer than the limit
				r, err := s.Recv()
				if err != nil || r.GetHeartbeat() == nil {
					t.Fatalf("%v, %v", r, err)
				}
				s.say(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Heartbeat{Heartbeat: &raffsyncv1.Heartbeat{}}})
			}
			s.batch(events("f", 1)...)
			s.acked(1)
		})
	})
}

func TestPublish_Vanish(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		conn := h.connect()
		s := h.dial(conn, h.keys["till"])
		s.hello()
		s.batch(events(fmt.Sprint("v", i), 100)...)
		s.batch(events(fmt.Sprint("w", i), 100)...)
		conn.Close() // in the middle of it, with nothing received
	}
	h.forgets()
	s := h.open()
	s.batch(events("v0", 100)...)
	s.acked(1)
	if n := one[int](h, `SELECT count(*) FROM events WHERE id LIKE 'v0-%'`); n != 100 {
		t.Errorf("%d events", n)
	}
}

// forgets waits until the broker holds nothing of streams that are over, neither
// memory nor goroutines.
func (h *house) forgets() {
	h.t.Helper()
	eventually(h.t, "the broker let go of every batch and stream", func() bool {
		return h.broker.intake.budget.held.Load() == 0 && len(h.broker.sessions.byKey()) == 0
	})
	eventually(h.t, "every goroutine of a stream ended", func() bool {
		stacks := make([]byte, 4<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("broker.(*session)"))
	})
}

// A client that sends and never reads costs a window, an acknowledgement, and what
// gRPC's flow control holds; then it is told off.
func TestPublish_NeverReads(t *testing.T) {
	h := newHouse(t, flush(50*time.Millisecond))
	s := h.dial(h.connect(), h.keys["till"])
	s.hello()
	invalid := make([]*raffsyncv1.Event, 1000) // each is answered at length
	for i := range invalid {
		invalid[i] = &raffsyncv1.Event{}
	}
	sent := make(chan uint64)
	go func() {
		defer close(sent)
		for s.Send(batchFrameOf(s.next, invalid...)) == nil {
			s.next++
		}
	}()
	// The broker ends the stream although the client reads nothing of it.
	eventually(t, "the stream was ended", func() bool { return strings.Contains(h.log.String(), "read acknowledgements before sending more") })
	h.forgets()
	acknowledged, err := s.end()
	checkStatus(t, err, codes.ResourceExhausted, "WINDOW_EXCEEDED", "4 batches are unacknowledged already")
	<-sent
	if s.next < 5 || acknowledged > 20 {
		t.Errorf("%d batches sent, %d acknowledged: expected some, and far from all", s.next, acknowledged)
	}
}

func TestPublish_Full(t *testing.T) {
	h := newHouse(t, func(_ *Config, b *Broker) {
		if b != nil {
			b.intake.budget.limit = 10_000
		}
	})
	s := h.open()
	s.batch(events("a", 2)...)
	s.acked(1)
	s.batch(events("b", 100)...)
	acknowledged, err := s.end()
	checkStatus(t, err, codes.ResourceExhausted, "BROKER_FULL", "nothing of this batch was kept")
	if acknowledged != 0 {
		t.Errorf("acknowledged %d", acknowledged)
	}
	_, err = raffsyncv1.NewIngestServiceClient(h.connect()).PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: events("c", 100)})
	checkStatus(t, err, codes.ResourceExhausted, "BROKER_FULL", "")
	if n := one[int](h, `SELECT count(*) FROM events`); n != 2 {
		t.Errorf("%d events", n)
	}
}

func TestPublish_TooManyStreams(t *testing.T) {
	h := newHouse(t, func(c *Config, _ *Broker) { c.MaxStreams = 2 })
	first, _ := h.open(), h.open()
	_, err := h.dial(h.connect(), h.keys["web"]).end()
	checkStatus(t, err, codes.ResourceExhausted, "TOO_MANY_STREAMS", "")
	first.CloseSend()
	if _, err := first.end(); err.Error() != "EOF" {
		t.Fatal(err)
	}
	eventually(t, "the stream was forgotten", func() bool { return len(h.broker.sessions.byKey()[h.keys["till"]]) == 1 })
	h.open()
}

func TestBroker_Drain(t *testing.T) {
	t.Run("Stop", func(t *testing.T) {
		h := newHouse(t)
		good, stubborn, mute := h.open(), h.open(), h.dial(h.connect(), h.keys["till"])
		good.batch(events("a", 10)...)
		eventually(t, "the mute stream is there", func() bool { return len(h.broker.sessions.byKey()[h.keys["till"]]) == 3 })
		stopped := make(chan error)
		go func() { stopped <- h.stop() }()
		for draining, acked := false, false; !draining || !acked; { // in either order
			r := good.receive()
			draining, acked = draining || r.GetDraining() != nil, acked || r.GetAck().GetThroughSequence() == 1
		}
		good.batch(events("b", 10)...) // was under way when Draining came
		good.acked(2)
		good.CloseSend()
		if _, err := good.end(); err.Error() != "EOF" {
			t.Error(err)
		}
		_, err := mute.end()
		checkStatus(t, err, codes.Unavailable, "STOPPING", "")
		_, err = stubborn.end()
		checkStatus(t, err, codes.Unavailable, "STOPPING", "the broker is stopping")
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("ConnectionAge", func(t *testing.T) {
		h := newHouse(t, func(c *Config, _ *Broker) { c.ConnectionAge = time.Second })
		conn := h.connect()
		s := h.dial(conn, h.keys["till"])
		s.hello()
		s.receive()
		s.batch(events("a", 1)...)
		for draining, acked := false, false; !draining || !acked; { // in either order
			r := s.receive()
			draining, acked = draining || r.GetDraining() != nil, acked || r.GetAck().GetThroughSequence() == 1
		}
		// The connection is told to go before its streams are; the client may take notice
		// later.
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Fatal("the connection does not know that it is to go")
		}
		next := h.dial(conn, h.keys["till"]) // on another connection
		next.hello()
		if r := next.receive(); r.GetWelcome() == nil {
			t.Fatalf("got %v", r)
		}
		_, err := s.end()
		checkStatus(t, err, codes.Unavailable, "CONNECTION_AGED", "")
	})
}

func TestBroker_Reflection(t *testing.T) {
	ask := func(h *house) (*reflectionv1.ServerReflectionResponse, error) {
		s, err := reflectionv1.NewServerReflectionClient(h.connect()).ServerReflectionInfo(t.Context())
		if err != nil {
			return nil, err
		}
		_ = s.Send(&reflectionv1.ServerReflectionRequest{ // an error shows in Recv
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: serviceName + ".PublishBatch"},
		})
		return s.Recv()
	}
	if _, err := ask(newHouse(t)); status.Code(err) != codes.Unimplemented {
		t.Errorf("by default: %v", err)
	}
	answer, err := ask(newHouse(t, func(c *Config, _ *Broker) { c.Reflection = true }))
	if err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("%v, %v", answer, err)
	}
}

func TestBroker_Health(t *testing.T) {
	h := newHouse(t)
	client := healthv1.NewHealthClient(h.connect())
	for _, service := range []string{"", serviceName} {
		answer, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, answer, err)
		}
	}
}

func TestNew_Configuration(t *testing.T) {
	everywhere, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	_, err = New(Config{Listeners: []net.Listener{everywhere}, MaxBatchEvents: 9000, HeartbeatEvery: -1})
	for _, want := range []string{"a Store is needed", "configure TLS, or listen on 127.0.0.1", "expected 1 to 8192, got 9000", "heartbeat: expected a positive duration"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
