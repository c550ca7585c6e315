package publish

import (
	"errors"
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

const testKey = "rs_test_5f3c91"

// memoryBroker is an IngestService on a real listener that keeps events in memory and
// answers as the contract says. before, where there is one, is asked before a batch
// is taken; its error ends the stream.
type memoryBroker struct {
	raffsyncv1.UnimplementedIngestServiceServer
	address string
	before  func(batch int) error

	mu      sync.Mutex
	events  map[string]*raffsyncv1.Event
	order   []string
	batches int
}

func startBroker(t *testing.T, before func(batch int) error) *memoryBroker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &memoryBroker{address: listener.Addr().String(), before: before, events: map[string]*raffsyncv1.Event{}}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(1 << 20))
	raffsyncv1.RegisterIngestServiceServer(server, b)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with ErrServerStopped
	}()
	t.Cleanup(func() { server.Stop(); <-served })
	return b
}

func (b *memoryBroker) Publish(rpc grpc.BidiStreamingServer[raffsyncv1.PublishRequest, raffsyncv1.PublishResponse]) error {
	md, _ := metadata.FromIncomingContext(rpc.Context())
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+testKey {
		return status.Error(codes.Unauthenticated, "the key is missing, wrong or revoked")
	}
	if _, err := rpc.Recv(); err != nil {
		return err
	}
	welcome := &raffsyncv1.Welcome{Source: "shop", MaxBatchEvents: 500, MaxEventBytes: 512 << 10, WindowBatches: 4, HeartbeatEvery: durationpb.New(30 * time.Second)}
	if err := rpc.Send(&raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	for {
		request, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := request.GetBatch()
		if batch == nil {
			continue
		}
		b.mu.Lock()
		b.batches++
		n := b.batches
		b.mu.Unlock()
		if b.before != nil {
			if err := b.before(n); err != nil {
				return err
			}
		}
		if err := rpc.Send(&raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Ack{Ack: b.take(batch)}}); err != nil {
			return err
		}
	}
}

func (b *memoryBroker) take(batch *raffsyncv1.Batch) *raffsyncv1.Ack {
	b.mu.Lock()
	defer b.mu.Unlock()
	ack := &raffsyncv1.Ack{ThroughSequence: batch.Sequence}
	for i, e := range batch.Events {
		result := &raffsyncv1.EventResult{Sequence: batch.Sequence, Index: uint32(i)}
		known := b.events[e.Id]
		switch {
		case len(e.Outlet) > 120:
			result.Status, result.Fix = raffsyncv1.Status_STATUS_INVALID, "shorten the outlet"
			result.Violations = []*raffsyncv1.FieldViolation{{Field: "outlet", Message: "must be at most 120 bytes"}}
		case known != nil && string(known.GetBinaryData()) != string(e.GetBinaryData()):
			result.Status, result.Fix = raffsyncv1.Status_STATUS_CONFLICT, "a person decides: do not send it again"
		case known != nil:
			result.Status = raffsyncv1.Status_STATUS_DUPLICATE
		case e.Outlet == "nowhere":
			b.events[e.Id], result.Status = e, raffsyncv1.Status_STATUS_UNROUTED
		default:
			b.events[e.Id] = e
			b.order = append(b.order, e.Id)
			continue
		}
		ack.Results = append(ack.Results, result)
	}
	return ack
}
