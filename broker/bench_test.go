package broker

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// BenchmarkPublish measures from the client's Send to its acknowledgement, over real
// gRPC and Postgres: eight streams, each with a full window. fsync is off there.
func BenchmarkPublish(b *testing.B) {
	body := `{"items":[` + strings.Repeat(`{"sku":"LATTE-OAT","quantity":2,"unit_price":18.50,"name":"Caffe latte"},`, 8) + `{}],"total":100}`
	for _, test := range []struct {
		size int
		when string
	}{{1, ""}, {10, ""}, {100, ""}, {1000, ""}, {1000, `body.total > 0`}} {
		b.Run(fmt.Sprintf("EventsPerBatch=%d/When=%s", test.size, strings.ReplaceAll(test.when, " ", "")), func(b *testing.B) {
			size := test.size
			h := newHouse(b)
			conn := h.connect()
			h.route(outbox.RouteConfig{Name: "orders", To: "books", When: test.when})
			const streams = 8
			var next atomic.Int64 // number of an event
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for range streams {
				s := h.dial(conn, h.keys["till"])
				s.hello()
				s.receive()
				all.Go(func() {
					acknowledged, left := uint64(0), true
					for left || acknowledged < s.next-1 {
						for left && s.next-acknowledged <= 4 {
							first := next.Add(int64(size)) - int64(size)
							if left = first < int64(b.N); !left {
								break
							}
							batch := make([]*raffsyncv1.Event, size)
							for i := range batch {
								n := first + int64(i)
								batch[i] = &raffsyncv1.Event{
									Id: fmt.Sprintf("event-%016x", n*0x9e3779b97f4a7c), Type: "order.created",
									OrderingKey: fmt.Sprintf("order/%d", n%10_000), Data: text(body),
								}
							}
							s.batch(batch...)
						}
						if acknowledged < s.next-1 {
							acknowledged = s.receive().GetAck().GetThroughSequence()
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkIntake measures what the broker does to an event before it is committed:
// decode, validate, route.
func BenchmarkIntake(b *testing.B) {
	h := newHouse(b)
	h.open() // it runs
	body := `{"items":[` + strings.Repeat(`{"sku":"LATTE-OAT","quantity":2,"unit_price":18.50,"name":"Caffe latte"},`, 8) + `{}],"total":100}`
	e := event("e1", "order/1")
	e.Data = text(body)
	message := encode(b, &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{e}})
	credential, err := h.store.Authenticate(b.Context(), h.keys["till"])
	if err != nil {
		b.Fatal(err)
	}
	h.route(outbox.RouteConfig{Name: "orders", To: "books"})
	b.ReportAllocs()
	for b.Loop() {
		raw, err := parseBatchRequest(message, 1000)
		if err != nil {
			b.Fatal(err)
		}
		batch, _, err := h.broker.intake.admit(credential, raw, &call{})
		if err != nil {
			b.Fatal(err)
		}
		h.broker.intake.budget.give(batch.cost)
	}
}
