package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const testKey = "rs_test_8d1f0c"

// script is what the broker does on one stream, from Hello on.
type script func(*session) error

// broker is an IngestService on a real listener. It keeps the contract's promises
// towards a client (one event an id, results by what is durable), and what a stream
// suffers besides is the script's: the n-th stream runs the n-th one, later ones
// the last.
type broker struct {
	raffsyncv1.UnimplementedIngestServiceServer
	scripts []script

	mu sync.Mutex
	// durable holds each event's data by id.
	durable map[string]string
	// streams are the ids that arrived on each stream, in order.
	streams [][]string
	hellos  []*raffsyncv1.Hello
}

// startBroker serves until stop is called, which waits for all streams to end.
func startBroker(options []grpc.ServerOption, scripts ...script) (b *broker, address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", nil, err
	}
	b = &broker{scripts: scripts, durable: map[string]string{}}
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(1<<20))...)
	raffsyncv1.RegisterIngestServiceServer(server, b)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with ErrServerStopped at stop
	}()
	return b, listener.Addr().String(), func() { server.Stop(); <-served }, nil
}

func newBroker(t testing.TB, scripts ...script) (*broker, string) {
	t.Helper()
	b, address, stop, err := startBroker(nil, scripts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return b, address
}

func (b *broker) Publish(rpc grpc.BidiStreamingServer[raffsyncv1.PublishRequest, raffsyncv1.PublishResponse]) error {
	md, _ := metadata.FromIncomingContext(rpc.Context())
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+testKey {
		return status.Error(codes.Unauthenticated, "key missing, wrong or revoked")
	}
	b.mu.Lock()
	n := len(b.streams)
	b.streams = append(b.streams, nil)
	b.mu.Unlock()
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	if first.GetHello() == nil {
		return status.Error(codes.InvalidArgument, "the first frame is not Hello")
	}
	b.mu.Lock()
	b.hellos = append(b.hellos, first.GetHello())
	b.mu.Unlock()
	return b.scripts[min(n, len(b.scripts)-1)](&session{broker: b, rpc: rpc, n: n})
}

// session is one stream with its script's conveniences.
type session struct {
	broker *broker
	rpc    grpc.BidiStreamingServer[raffsyncv1.PublishRequest, raffsyncv1.PublishResponse]
	n      int
	// sequence is the last batch that arrived, pending those not acknowledged.
	sequence uint64
	pending  []*raffsyncv1.Batch
	// watchful makes batch return errIdle when the client has nothing to send.
	watchful bool
}

var errIdle = errors.New("the client is idle")

func welcome() *raffsyncv1.Welcome {
	return &raffsyncv1.Welcome{
		Source: "shop", MaxBatchEvents: 100, MaxEventBytes: 512 << 10, WindowBatches: 4,
		HeartbeatEvery: durationpb.New(30 * time.Second),
	}
}

func (s *session) say(frame any) error {
	answer := &raffsyncv1.PublishResponse{}
	switch f := frame.(type) {
	case *raffsyncv1.Welcome:
		answer.Frame = &raffsyncv1.PublishResponse_Welcome{Welcome: f}
	case *raffsyncv1.Ack:
		answer.Frame = &raffsyncv1.PublishResponse_Ack{Ack: f}
	case *raffsyncv1.Heartbeat:
		answer.Frame = &raffsyncv1.PublishResponse_Heartbeat{Heartbeat: f}
	case *raffsyncv1.Draining:
		answer.Frame = &raffsyncv1.PublishResponse_Draining{Draining: f}
	default:
		return fmt.Errorf("no frame %T", frame)
	}
	return s.rpc.Send(answer)
}

// batch waits for the next batch, over heartbeats. io.EOF is the client's clean end.
func (s *session) batch() (*raffsyncv1.Batch, error) {
	for {
		request, err := s.rpc.Recv()
		if err != nil {
			return nil, err
		}
		batch := request.GetBatch()
		if batch == nil {
			if request.GetHeartbeat() == nil {
				return nil, status.Errorf(codes.InvalidArgument, "a second %T", request.Frame)
			}
			if s.watchful {
				return nil, errIdle
			}
			continue
		}
		s.sequence++
		if batch.Sequence != s.sequence {
			return nil, status.Errorf(codes.InvalidArgument, "batch %d, expected %d", batch.Sequence, s.sequence)
		}
		s.pending = append(s.pending, batch)
		s.broker.mu.Lock()
		for _, e := range batch.Events {
			s.broker.streams[s.n] = append(s.broker.streams[s.n], e.Id)
		}
		s.broker.mu.Unlock()
		return batch, nil
	}
}

// commit makes all pending batches durable and returns their Ack, unsent.
func (s *session) commit() *raffsyncv1.Ack {
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	ack := &raffsyncv1.Ack{ThroughSequence: s.sequence}
	for _, batch := range s.pending {
		for i, e := range batch.Events {
			result := &raffsyncv1.EventResult{Sequence: batch.Sequence, Index: uint32(i)}
			data, known := s.broker.durable[e.Id]
			switch {
			case e.Type == "":
				result.Status, result.Fix = raffsyncv1.Status_STATUS_INVALID, "give the event a type"
				result.Violations = []*raffsyncv1.FieldViolation{{Field: "type", Message: "value is required"}}
			case known && data != string(e.GetBinaryData()):
				result.Status, result.Fix = raffsyncv1.Status_STATUS_CONFLICT, "do not send it again"
			case known:
				result.Status = raffsyncv1.Status_STATUS_DUPLICATE
			case e.Type == "unwanted":
				s.broker.durable[e.Id] = string(e.GetBinaryData())
				result.Status, result.Fix = raffsyncv1.Status_STATUS_UNROUTED, "add a route"
			default:
				s.broker.durable[e.Id] = string(e.GetBinaryData())
				continue
			}
			ack.Results = append(ack.Results, result)
		}
	}
	s.pending = nil
	return ack
}

// serve takes everything in, a batch an Ack, until the client leaves.
func serve(s *session) error {
	if err := s.say(welcome()); err != nil {
		return err
	}
	return s.serve()
}

func (s *session) serve() error {
	for {
		_, err := s.batch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.say(s.commit()); err != nil {
			return err
		}
	}
}

// arrived returns a copy of the ids of each stream.
func (b *broker) arrived() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	streams := make([][]string, len(b.streams))
	for i, ids := range b.streams {
		streams[i] = append([]string(nil), ids...)
	}
	return streams
}

func event(i int) *raffsyncv1.Event {
	return &raffsyncv1.Event{
		Id: fmt.Sprintf("e%05d", i), Type: "order.created", OrderingKey: "order/1",
		Data: &raffsyncv1.Event_BinaryData{BinaryData: fmt.Appendf(nil, `{"n":%d}`, i)},
	}
}

// within bounds a test that would otherwise hang; nothing is expected to take so long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
