package broker

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func (h *house) connectInside() *grpc.ClientConn {
	h.t.Helper()
	conn, err := grpc.NewClient("passthrough:///inside", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return h.broker.Dial(ctx) }))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

func quarantinedEvent(id string) *raffsyncv1.Event {
	return &raffsyncv1.Event{
		Id: id, Type: "raffsync.quarantined", OrderingKey: "quarantine/" + id, ContentType: "application/octet-stream",
		Data:       &raffsyncv1.Event_BinaryData{BinaryData: []byte("<html>\xff")},
		Quarantine: &raffsyncv1.Quarantine{Code: "BODY_NOT_JSON", Reason: "the body is no JSON", ContentType: "text/html", BodyBytes: 7, BodySha256: []byte{1}},
	}
}

// A receiver in the process sends for its source, by the same service; it alone may send
// what is quarantined.
func TestBroker_FromInside(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var counts Counts
	h := newHouse(t, func(c *Config, _ *Broker) {
		c.Observe.Events = func(_, _ string, n Counts) {
			mu.Lock()
			defer mu.Unlock()
			counts.Accepted += n.Accepted
			counts.Quarantined += n.Quarantined
		}
		c.RecheckEvery = 20 * time.Millisecond
	})
	till, err := h.store.Authenticate(t.Context(), h.keys["till"])
	if err != nil {
		t.Fatal(err)
	}
	key := h.broker.Admit("kopi", "till", till.Source)
	client := raffsyncv1.NewIngestServiceClient(h.connectInside())
	answer, err := client.PublishBatch(withKey(t.Context(), key), &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("e1", "order/1"), quarantinedEvent("q1")}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range answer.GetResults() {
		if r.GetStatus() != raffsyncv1.Status_STATUS_ACCEPTED {
			t.Errorf("result %d is %v", i, r)
		}
	}
	mu.Lock()
	if counts.Accepted != 1 || counts.Quarantined != 1 {
		t.Errorf("counted %+v", counts)
	}
	mu.Unlock()
	var kept int
	if err := h.db.QueryRow(t.Context(), `SELECT count(*) FROM quarantined q JOIN exceptions x ON x.id = q.exception WHERE q.source = $1 AND x.held = 1`, till.Source).Scan(&kept); err != nil || kept != 1 {
		t.Errorf("%d are kept: %v", kept, err)
	}

	outside := raffsyncv1.NewIngestServiceClient(h.connect())
	answer, err = outside.PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{quarantinedEvent("q2")}})
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.GetResults()[0]; r.GetStatus() != raffsyncv1.Status_STATUS_INVALID || r.GetViolations()[0].GetField() != "quarantine" {
		t.Errorf("from outside: %v", r)
	}

	s := h.dial(h.connectInside(), key)
	s.hello()
	s.receive()
	h.broker.Dismiss(key)
	if _, err := s.end(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("its stream ends with %v", err)
	}
	if _, err := client.PublishBatch(withKey(t.Context(), key), &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("e2", "order/1")}}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a key that was dismissed: %v", err)
	}
}
