package client_test

import (
	"fmt"
	"testing"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// BenchmarkClient_Send measures events of 701 bytes of data from Send to their
// acknowledgement by a broker on the same machine that only decodes them.
func BenchmarkClient_Send(b *testing.B) {
	_, address := newBroker(b, func(s *session) error {
		w := welcome()
		w.MaxBatchEvents = 1000
		if err := s.say(w); err != nil {
			return err
		}
		for {
			request, err := s.rpc.Recv()
			if err != nil {
				return nil
			}
			if batch := request.GetBatch(); batch != nil {
				if err := s.say(&raffsyncv1.Ack{ThroughSequence: batch.Sequence}); err != nil {
					return err
				}
			}
		}
	})
	cfg := config(address)
	cfg.OnResult = func(*raffsyncv1.Event, client.Result) {}
	c := run(b, cfg)
	data := &raffsyncv1.Event_BinaryData{BinaryData: make([]byte, 701)}
	ctx := b.Context()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		e := &raffsyncv1.Event{Id: fmt.Sprintf("e%09d", i), Type: "order.created", OrderingKey: "order/1042", Data: data}
		if err := c.Send(ctx, e); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "events/s")
}
