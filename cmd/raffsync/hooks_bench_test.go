package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// BenchmarkWebhooks measures signed webhooks of 1.7 KB, each answered once it is durable
// with its delivery, on a Postgres of its own with fsync on; whoever sends them, over 128
// connections, shares the machine. It writes HTTP by hand, so that most of what is
// measured is ours.
//
//	go test ./cmd/raffsync -run '^$' -bench Webhooks -benchtime 100000x
func BenchmarkWebhooks(b *testing.B) {
	server := outboxtest.NewServer(b, outboxtest.ServerOptions{Fsync: true, Settings: map[string]string{"max_wal_size": "4GB"}})
	store, err := outbox.Open(b.Context(), outbox.Config{DSN: server.NewDatabase()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	b.Setenv("SHOP_SECRET", "hush")
	b.Setenv("BOOKS_SECRET", receiverSecret)
	if _, err := store.Apply(b.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.Configuration{
		Tenant:  "kopi",
		Sources: []outbox.SourceConfig{{Name: "shop", Webhook: json.RawMessage(`{"signature": {"scheme": "shopify", "secrets": ["env:SHOP_SECRET"]}}`)}},
		Destinations: []outbox.DestinationConfig{{
			Name: "books", Kind: "webhook", Settings: json.RawMessage(`{"url": "http://127.0.0.1:1/", "secret": "env:BOOKS_SECRET"}`),
			Concurrency: 1, Timeout: time.Second, Breaker: outbox.DefaultBreaker,
		}},
		Routes: []outbox.RouteConfig{{Name: "all", To: "books", OnException: outbox.Block, Retry: outbox.DefaultRetry}},
	}, "for a benchmark"); err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	a, err := newApp(b.Context(), appConfig{
		store: store, log: log, http: "127.0.0.1:0", grpc: "127.0.0.1:0", metrics: "off", lease: 15 * time.Second, development: true,
		watermark: newWatermark(spaceFlags{}, &database{}, store.Size, log),
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	}()

	lines := strings.Repeat(`{"sku":"LATTE-OAT","quantity":2,"unit_price":"18.50","name":"Caffe latte"},`, 20)
	s := signer(b, bySHOP, "hush")
	var next atomic.Int64
	var senders sync.WaitGroup
	b.ReportAllocs()
	before := ownCPU(b)
	b.ResetTimer()
	for range 128 {
		senders.Go(func() {
			if err := sendUntil(a.httpAt.Addr().String(), s, lines, &next, int64(b.N)); err != nil {
				b.Error(err)
			}
		})
	}
	senders.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "webhooks/s")
	b.ReportMetric(float64((ownCPU(b)-before).Microseconds())/float64(b.N), "CPU-µs/webhook")
	b.ReportMetric(0, "ns/op")
}

// ownCPU is the CPU time of this process, senders included and Postgres not.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// sendUntil sends one webhook after the other, over one connection, while there are any.
func sendUntil(address string, s *hooks.Source, lines string, next *atomic.Int64, last int64) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	var request bytes.Buffer
	for {
		n := next.Add(1)
		if n > last {
			return nil
		}
		body := fmt.Appendf(nil, `{"id":%d,"order_number":%d,"updated_at":"2026-11-23T10:00:00Z","line_items":[%s{}]}`, n, n, lines)
		h := http.Header{}
		s.Sign(h, body, "", time.Time{})
		request.Reset()
		fmt.Fprintf(&request, "POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Shopify-Topic: orders/create\r\nX-Shopify-Webhook-Id: %x\r\nX-Shopify-Hmac-Sha256: %s\r\n\r\n%s",
			len(body), uint64(n)*0x9e3779b97f4a7c15, h.Get("X-Shopify-Hmac-Sha256"), body)
		if _, err := conn.Write(request.Bytes()); err != nil {
			return err
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"accepted"`)) {
			return fmt.Errorf("answered with %s %s: %w", answer.Status, text, err)
		}
	}
}
