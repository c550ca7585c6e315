package demo

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// counter is the far end of the contract over real gRPC: it acknowledges and keeps
// what it got. (The broker itself, on Postgres, meets the shop in the test of the
// whole binary.)
type counter struct {
	raffsyncv1.UnimplementedIngestServiceServer
	address string
	mu      sync.Mutex
	events  []*raffsyncv1.Event
	resent  int
	known   map[string]string
}

func serveCounter(t *testing.T) *counter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{address: listener.Addr().String(), known: map[string]string{}}
	server := grpc.NewServer()
	raffsyncv1.RegisterIngestServiceServer(server, c)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *counter) Publish(stream grpc.BidiStreamingServer[raffsyncv1.PublishRequest, raffsyncv1.PublishResponse]) error {
	header, _ := metadata.FromIncomingContext(stream.Context())
	if got := header.Get("authorization"); len(got) != 1 || got[0] != "Bearer right" {
		return status.Error(codes.Unauthenticated, "the key is wrong")
	}
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		response := &raffsyncv1.PublishResponse{}
		switch frame := request.Frame.(type) {
		case *raffsyncv1.PublishRequest_Hello:
			response.Frame = &raffsyncv1.PublishResponse_Welcome{Welcome: &raffsyncv1.Welcome{
				Source:         "shop",
				MaxBatchEvents: 100, MaxEventBytes: 512 << 10, WindowBatches: 4, HeartbeatEvery: durationpb.New(30e9),
			}}
		case *raffsyncv1.PublishRequest_Batch:
			c.take(frame.Batch.Events)
			response.Frame = &raffsyncv1.PublishResponse_Ack{Ack: &raffsyncv1.Ack{ThroughSequence: frame.Batch.Sequence}}
		default:
			continue
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func (c *counter) take(events []*raffsyncv1.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		if _, again := c.known[e.Id]; again {
			c.resent++
		}
		c.known[e.Id] = e.GetTextData()
		c.events = append(c.events, e)
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events)
}

// trade runs a shop until the counter has so many events more.
func trade(t *testing.T, c *counter, state string, events int) {
	t.Helper()
	shop, err := NewShop(ShopConfig{State: state, Target: c.address, Key: "right", Rate: 1000, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- shop.Run(ctx) }()
	enough := c.count() + events
	eventually(t, "the events are there", func() bool { return c.count() >= enough })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := shop.client.Stats().Unacknowledged; left != 0 {
		t.Errorf("%d events were left when the shop closed", left)
	}
}

func TestShop_NeverUsesANumberTwice(t *testing.T) {
	c, state := serveCounter(t), t.TempDir()
	for range 3 {
		trade(t, c, state, 50)
	}
	if c.events[0].OrderingKey != "order/1042" {
		t.Errorf("the first event is of %s", c.events[0].OrderingKey)
	}
	if c.resent != 0 {
		t.Errorf("%d ids came twice", c.resent)
	}
}

// A shop that lost its state begins at 1042 again, as another till.
func TestShop_AnotherStateIsAnotherTill(t *testing.T) {
	c := serveCounter(t)
	trade(t, c, t.TempDir(), 20)
	trade(t, c, t.TempDir(), 20)
	if c.resent != 0 {
		t.Errorf("%d ids came twice", c.resent)
	}
}

func TestShop_SaysThatItsKeyIsWrong(t *testing.T) {
	c := serveCounter(t)
	shop, err := NewShop(ShopConfig{State: t.TempDir(), Target: c.address, Key: "wrong", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := shop.Run(t.Context()); err == nil || strings.Contains(err.Error(), "wrong\"") {
		t.Errorf("error %v", err)
	}
}

// A number is on disk before it is given out: whoever reads the file after a crash
// gets a later one.
func TestNumbers_OnDiskBeforeTheyAreUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.json")
	n, err := openNumbers(path)
	if err != nil {
		t.Fatal(err)
	}
	for want := int64(FirstOrder); want < FirstOrder+5; want++ {
		got, err := n.take()
		if err != nil || got != want {
			t.Fatalf("%d %v", got, err)
		}
		crashed, err := openNumbers(path)
		if err != nil {
			t.Fatal(err)
		}
		if next, err := crashed.take(); err != nil || next <= got {
			t.Errorf("%d after %d: %v", next, got, err)
		}
		if err := n.save(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumbers_RefuseADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.json")
	for _, text := range []string{"", "{", `{"till":"a"}`, `{"next_order":5000}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openNumbers(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
