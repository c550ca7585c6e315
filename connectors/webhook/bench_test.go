package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/connectors/egress"
)

// The figures to compare: a signed Send against the same POST by bare net/http, to
// one receiver that reads and forgets. 701 bytes is DESIGN.md's payload, 512 KiB the
// largest.
var benchmarkSizes = []struct {
	name  string
	bytes int
}{{"701B", 701}, {"512KiB", 512 << 10}}

func forget(b *testing.B) string {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(receiver.Close)
	return receiver.URL
}

func BenchmarkSend(b *testing.B) {
	for _, size := range benchmarkSizes {
		b.Run(size.name, func(b *testing.B) {
			d := newDestination(b, map[string]any{"url": forget(b)})
			step := connectors.Step{
				Event: &connectors.Event{
					Tenant: "kopi", Source: "till-7", ID: "order/1042/created", Type: "order.created", OrderingKey: "order/1042",
					ContentType: "application/json", Data: bytes.Repeat([]byte("7"), size.bytes),
				},
				Key: strings.Repeat("0a1b2c3d", 8),
			}
			b.SetBytes(int64(size.bytes))
			b.SetParallelism(16)
			b.ReportAllocs()
			// Requests are sent within a time, and many of them within the same.
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute/2)
			defer cancel()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, err := d.Prepare(step)
					if err != nil {
						b.Error(err)
						return
					}
					if o := d.Send(ctx, r); o.Kind != delivered {
						b.Errorf("outcome %+v", o)
						return
					}
				}
			})
		})
	}
}

func BenchmarkBarePost(b *testing.B) {
	for _, size := range benchmarkSizes {
		b.Run(size.name, func(b *testing.B) {
			address, data := forget(b), bytes.Repeat([]byte("7"), size.bytes)
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.MaxIdleConnsPerHost = 128
			b.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}
			b.SetBytes(int64(size.bytes))
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					response, err := client.Post(address, "application/json", bytes.NewReader(data))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			})
		})
	}
}

func BenchmarkPrepareAndSign(b *testing.B) {
	d := newDestination(b, map[string]any{"url": "https://books.example/hooks"})
	b.ReportAllocs()
	for b.Loop() {
		d.sign(prepared(b, d).(*request), d.now())
	}
}

// What an answer costs to be understood, on the way of each delivery.
func BenchmarkRead(b *testing.B) {
	d := newDestination(b, map[string]any{"url": "https://books.example/hooks"})
	header := http.Header{"Content-Type": {"application/json"}, "Date": {"Mon, 23 Nov 2026 10:41:11 GMT"}}
	for _, answer := range []egress.Response{
		{Status: 200, Header: header},
		{Status: 200, Header: header, Body: []byte(`{"id": "books-17", "status": "effect"}`)},
		{Status: 422, Header: header, Body: []byte(`{"error": {"code": "unknown_sku", "field": "lines[0].sku", "message": "no SKU LATTE-OAT"}}`)},
		{Status: 503, Header: header, Body: []byte("<html>Service Unavailable</html>")},
		{Status: 200, Header: header, Body: []byte(`{"id": 17, "lines": [` + strings.Repeat(`{"sku": "LATTE-OAT", "quantity": 2},`, 400) + `{}]}`)},
	} {
		b.Run(fmt.Sprintf("%d/%dB", answer.Status, len(answer.Body)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d.read(&answer).Kind == 0 {
					b.Fatal("no kind")
				}
			}
		})
	}
}
