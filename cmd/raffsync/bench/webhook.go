package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// onTheWire is the most requests in flight, on both sides.
	onTheWire = 128
	// signingKey signs the webhooks. It is for nobody but this process's receiver.
	signingKey     = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretVariable = "RAFFSYNC_BENCH_SECRET"
)

// webhook compares events streamed in and delivered, signed, to a receiver on
// loopback with the same POSTs by a bare client.
func (r *rig) webhook(ctx context.Context) ([]Figure, error) {
	receiver, err := startReceiver(ctx)
	if err != nil {
		return nil, err
	}
	defer receiver.close()
	n := r.scale(150_000, 20_000)
	settings := fmt.Sprintf(`{"url": %q, "secret": "env:%s"}`, receiver.url, secretVariable)
	mine := func(ctx context.Context) (rate float64, err error) {
		err = r.atWork(ctx, []destination{{name: "hook", kind: "webhook", settings: settings, concurrency: onTheWire}}, func(s *shop, e *engine) error {
			l, err := connect(ctx, e.grpc, s.key, streams, nil)
			if err != nil {
				return err
			}
			if err := s.untilDelivered(ctx, l.sent); err != nil {
				return err
			}
			before := receiver.requests.Load()
			err = r.measured(e, "webhook", n, func() (err error) {
				rate, err = l.deliver(ctx, s, n)
				return err
			})
			if got := receiver.requests.Load() - before; err == nil && got != int64(n) {
				err = fmt.Errorf("%d requests came for %d events", got, n)
			}
			return errors.Join(err, l.close(ctx))
		})
		return rate, err
	}
	peer := func(ctx context.Context) (rate float64, err error) {
		err = r.working(theirs, 0, n, func() (err error) {
			rate, err = post(ctx, receiver.url, n)
			return err
		})
		return rate, err
	}
	f, err := r.compare(ctx, "webhook, against bare net/http", goal{must: 0.35, aim: 0.55}, mine, peer, "net/http")
	return []Figure{f}, err
}

// receiver takes every request, and counts.
type receiver struct {
	server   *http.Server
	url      string
	requests atomic.Int64
}

func startReceiver(ctx context.Context) (*receiver, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/events"}
	r.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if n, err := io.Copy(io.Discard, request.Body); err != nil || n != payloadBytes {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			r.requests.Add(1)
			w.WriteHeader(http.StatusNoContent)
		}),
	}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// post makes n such requests by net/http alone, with headers like those of ours, and
// returns the rate.
func post(ctx context.Context, url string, n int) (float64, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: onTheWire}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	header := http.Header{}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "raffsync",
		"Webhook-Id":        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"Idempotency-Key":   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"Webhook-Timestamp": "1700000000", "Webhook-Signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
		"Ce-Specversion": "1.0", "Ce-Id": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Ce-Type": "order.created",
		"Ce-Source": "/bench/till", "Ce-Subject": "order/1042", "Ce-Time": "2026-01-01T00:00:00Z",
	} {
		header.Set(name, value)
	}
	var next atomic.Int64
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range onTheWire {
		group.Go(func() error {
			for next.Add(1) <= int64(n) {
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
				if err != nil {
					return err
				}
				request.Header = header.Clone()
				response, err := client.Do(request)
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusNoContent {
					return fmt.Errorf("the receiver answers %s", response.Status)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
