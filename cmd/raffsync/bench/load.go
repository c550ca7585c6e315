package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	payloadBytes = 701
	// batchEvents is the most events of a batch on our side, and the size of River's.
	batchEvents = 1000
	// backlog is the most events sent and not yet delivered, on both sides.
	backlog = 20_000
	// topUpEvery is how often as many events are sent as were delivered: far more often than
	// the backlog would last.
	topUpEvery = 50 * time.Millisecond
	// streams that the events come by.
	streams = 8
	// orderType is the type of events.
	orderType = "order.created"
	// orderingKeys that events have in turn: two open ones seldom share one.
	orderingKeys = 10_000
)

// payload is an order as JSON.
var payload = func() []byte {
	const begin, end = `{"number":"1042","currency":"IDR","lines":[{"sku":"LATTE-OAT","quantity":2,"price":"38000"}],"note":"`, `"}`
	return []byte(begin + strings.Repeat("x", payloadBytes-len(begin)-len(end)) + end)
}()

// load is connectors that stream events.
type load struct {
	clients []*client.Client
	running sync.WaitGroup
	end     context.CancelFunc
	failed  atomic.Pointer[error]
	sent    int
	// fan is how many deliveries come of an event.
	fan int
}

// connect opens so many streams to an engine, and sends an event over each, so that
// none of that falls into the time that is measured. onResult may be nil.
func connect(ctx context.Context, address, key string, n int, onResult func(*raffsyncv1.Event, client.Result)) (*load, error) {
	running, end := context.WithCancel(ctx)
	l := &load{end: end, fan: 1}
	for range n {
		c, err := client.New(client.Config{
			Target: address, Key: key, Name: "raffsync bench", OnResult: onResult,
			GiveUpAfter: 30 * time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return nil, errors.Join(err, l.close(ctx))
		}
		l.clients = append(l.clients, c)
		l.running.Go(func() {
			if err := c.Run(running); err != nil {
				l.failed.CompareAndSwap(nil, &err)
			}
		})
	}
	for range l.clients {
		if err := l.send(ctx); err != nil {
			return nil, errors.Join(err, l.close(ctx))
		}
	}
	if err := l.flush(ctx); err != nil {
		return nil, errors.Join(err, l.close(ctx))
	}
	return l, nil
}

// send sends the next event. Those of one ordering key go the same way.
func (l *load) send(ctx context.Context) error {
	return l.sendAs(ctx, fmt.Sprintf("order/%d", l.sent%orderingKeys))
}

func (l *load) sendAs(ctx context.Context, orderingKey string) error {
	return l.sendOf(ctx, orderType, orderingKey)
}

// sendOf sends an event of a type.
func (l *load) sendOf(ctx context.Context, kind, orderingKey string) error {
	c := l.clients[l.sent%len(l.clients)]
	l.sent++
	return c.Send(ctx, &raffsyncv1.Event{
		Id: rand.Text(), Type: kind, OrderingKey: orderingKey, OccurredAt: timestamppb.Now(),
		ContentType: "application/json", Data: &raffsyncv1.Event_BinaryData{BinaryData: payload},
	})
}

// flush waits until everything is acknowledged.
func (l *load) flush(ctx context.Context) error {
	for _, c := range l.clients {
		if err := c.Flush(ctx); err != nil {
			if failed := l.failed.Load(); failed != nil {
				err = *failed
			}
			return err
		}
	}
	return nil
}

func (l *load) close(ctx context.Context) error {
	defer l.running.Wait()
	defer l.end()
	var errs []error
	for _, c := range l.clients {
		stats := c.Stats()
		if other := stats.Duplicate + stats.Conflict + stats.Invalid + stats.Unrouted; other > 0 {
			errs = append(errs, fmt.Errorf("%d events were not plainly accepted: %+v", other, stats))
		}
		errs = append(errs, c.Close(ctx))
	}
	return errors.Join(errs...)
}

// sendWithin sends n events, never more than the backlog ahead of the deliveries that
// come of them.
func (l *load) sendWithin(ctx context.Context, s *shop, n int) error {
	tick := time.NewTicker(topUpEvery)
	defer tick.Stop()
	delivered := 0
	for range n {
		for l.sent-delivered/l.fan >= backlog {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			var err error
			if delivered, err = s.delivered(ctx); err != nil {
				return err
			}
		}
		if err := l.send(ctx); err != nil {
			return err
		}
	}
	return nil
}
