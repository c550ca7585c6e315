package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// outcomes writes results as "sequence/index STATUS".
func outcomes(results []*raffsyncv1.EventResult) []string {
	var all []string
	for _, r := range results {
		all = append(all, fmt.Sprintf("%d/%d %s", r.GetSequence(), r.GetIndex(), r.GetStatus().String()[len("STATUS_"):]))
	}
	return all
}

func TestPublish_Results(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	moved := event("m1", "sku/1")
	moved.Type = "stock.moved"
	other := event("e1", "order/2") // another key, another content
	other.Data = text(`{"total":7}`)
	invalid := event("", "order/3")
	broken := event("b1", "order/1")
	broken.Data = text(`{"total":"many"}`)
	s.batch(event("e1", "order/1"), moved, invalid, event("e2", "order/1"))
	results := s.acked(1)
	if diff := cmp.Diff([]string{"1/1 UNROUTED", "1/2 INVALID"}, outcomes(results)); diff != "" {
		t.Error(diff)
	}
	if v := results[1].GetViolations(); len(v) != 1 || v[0].GetField() != "id" {
		t.Errorf("violations %v", v)
	}
	s.batch(event("e1", "order/1"), other, moved, event("e3", "order/1"), event("e3", "order/1"), broken)
	if diff := cmp.Diff([]string{"2/0 DUPLICATE", "2/1 CONFLICT", "2/2 DUPLICATE", "2/4 DUPLICATE", "2/5 UNROUTED"}, outcomes(s.acked(2))); diff != "" {
		t.Error(diff)
	}
	s.batch() // allowed, and says nothing
	if results := s.acked(3); len(results) > 0 {
		t.Errorf("results of nothing: %v", results)
	}
	s.CloseSend()
	if _, err := s.Recv(); err == nil || err.Error() != "EOF" {
		t.Errorf("the stream ended with %v", err)
	}

	if diff := cmp.Diff([]string{"b1", "e1", "e2", "e3", "m1"}, column[string](h, `SELECT id FROM events ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b1", "m1"}, column[string](h, `SELECT id FROM events WHERE unrouted ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
	if n := one[int](h, `SELECT count(*) FROM conflicts WHERE id = 'e1' AND ordering_key = 'order/2'`); n != 1 {
		t.Errorf("%d conflicts kept", n)
	}
	if diff := cmp.Diff([]string{"orders books", "orders books", "orders books", "worth stock", "worth stock", "worth stock"},
		column[string](h, `SELECT d.route || ' ' || n.name FROM deliveries d JOIN destinations n ON n.id = d.destination ORDER BY 1`)); diff != "" {
		t.Error(diff)
	}
}

func TestPublish_KeepsTheEvent(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	full := &raffsyncv1.Event{
		Id: "e1", Type: "order.created", OrderingKey: "order/1", Outlet: "mall", References: map[string]string{"order": "1042"},
		OccurredAt: &timestamppb.Timestamp{Seconds: 1795428000, Nanos: 123456789}, ContentType: "text/plain", Data: binary("caf\xc3\xa9"),
	}
	s.batch(full)
	s.acked(1)
	if got := one[string](h, `SELECT concat_ws(' ', tenant, id, type, ordering_key, outlet, refs, content_type, convert_from(payload, 'UTF8'), extract(epoch FROM occurred_at)) FROM events`); got !=
		`kopi e1 order.created order/1 mall {"order": "1042"} text/plain café 1795428000.123456` {
		t.Error(got)
	}
	h.broker.SetRules("kopi", nil)
	s.batch(event("e2", "order/1"))
	if diff := cmp.Diff([]string{"2/0 UNROUTED"}, outcomes(s.acked(2))); diff != "" {
		t.Error(diff)
	}
	if got := one[string](h, `SELECT content_type FROM events WHERE id = 'e2'`); got != "application/json" {
		t.Error(got)
	}
}

// An event without a time happened when it was accepted, and is the same event
// whenever it is sent again.
func TestPublish_WithoutTime(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	s.batch(event("e1", "order/1"))
	s.acked(1)
	s.batch(event("e1", "order/1"))
	if diff := cmp.Diff([]string{"2/0 DUPLICATE"}, outcomes(s.acked(2))); diff != "" {
		t.Error(diff)
	}
	if apart := one[time.Duration](h, `SELECT accepted_at - occurred_at FROM events`); apart.Abs() > time.Hour {
		t.Errorf("accepted and occurred are %s apart", apart)
	}
}

func TestPublish_KeepsOrder(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	const batches, size, keys = 60, 20, 7
	acknowledged := uint64(0)
	for b := range batches {
		for s.next > acknowledged+4 { // the window
			acknowledged = s.receive().GetAck().GetThroughSequence()
		}
		var batch []*raffsyncv1.Event
		for i := range size {
			n := b*size + i
			batch = append(batch, event(fmt.Sprintf("%04d", n), fmt.Sprintf("key-%d", n*n%keys)))
		}
		s.batch(batch...)
	}
	s.acked(batches)
	if n := one[int](h, `SELECT count(*) FROM events`); n != batches*size {
		t.Errorf("%d events", n)
	}
	// As delivered: by time of acceptance, then by position.
	if n := one[int](h, `SELECT count(*) FROM (SELECT id < lag(id) OVER (PARTITION BY ordering_key ORDER BY accepted_at, seq) AS wrong FROM events) AS o WHERE wrong`); n != 0 {
		t.Errorf("%d events stand before an earlier one of their key", n)
	}
}

// Invalid UTF-8 makes one event invalid; grpc-go would fail the whole call.
func TestPublish_InvalidUTF8(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	bad := event("e-BAD", "order/1")
	message, err := proto.Marshal(batchFrameOf(1, event("e1", "order/1"), bad, event("e2", "order/1")))
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(message, 'B')
	message[at] = 0xe9
	if err := s.SendMsg(encoded(message)); err != nil {
		t.Fatal(err)
	}
	s.next++
	results := s.acked(1)
	if diff := cmp.Diff([]string{"1/1 INVALID"}, outcomes(results)); diff != "" {
		t.Fatal(diff)
	}
	if v := results[0].GetViolations(); len(v) != 1 || v[0].GetField() != "id" || v[0].GetMessage() != "must be UTF-8" {
		t.Errorf("violations %v", v)
	}
	if diff := cmp.Diff([]string{"e1", "e2"}, column[string](h, `SELECT id FROM events ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
}

// encoded sends bytes as they are: as the unknown field that they would be of a
// message without any. The field's own tag is the first of the bytes.
func encoded(message []byte) *raffsyncv1.Heartbeat {
	var m raffsyncv1.Heartbeat
	m.ProtoReflect().SetUnknown(message)
	if _, _, n := protowire.ConsumeTag(message); n < 0 {
		panic("not a message")
	}
	return &m
}

func TestPublishBatch(t *testing.T) {
	h := newHouse(t)
	client := raffsyncv1.NewIngestServiceClient(h.connect())
	ctx := withKey(t.Context(), h.keys["web"])
	moved := event("m1", "sku/1")
	moved.Type = "stock.moved"
	response, err := client.PublishBatch(ctx, &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("e1", "order/1"), moved, event("e2", ""), event("e1", "order/1")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0/0 ACCEPTED", "0/1 UNROUTED", "0/2 INVALID", "0/3 DUPLICATE"}, outcomes(response.GetResults())); diff != "" {
		t.Error(diff)
	}
	if n := one[int](h, `SELECT count(*) FROM events e JOIN sources s ON s.id = e.source WHERE s.name = 'web'`); n != 2 {
		t.Errorf("%d events", n)
	}
	if held := h.broker.intake.budget.held.Load(); held != 0 {
		t.Errorf("%d bytes are held of what is answered", held)
	}
}

func TestBroker_OnCommitted(t *testing.T) {
	lanes := make(chan []int16, 10)
	h := newHouse(t, func(c *Config, _ *Broker) { c.OnCommitted = func(l []int16) { lanes <- l } })
	s := h.open()
	unrouted := event("m1", "order/2")
	unrouted.Type = "stock.moved"
	s.batch(unrouted, event("e1", "order/1"), event("e2", "order/1"))
	s.acked(1)
	want := []int16{outbox.LaneOf(outbox.KeyHash("kopi", "order/1"), h.store.Lanes())}
	if got := <-lanes; !slices.Equal(got, want) {
		t.Errorf("lanes %v, want %v", got, want)
	}
	select {
	case l := <-lanes:
		t.Errorf("and lanes %v", l)
	default:
	}
}
