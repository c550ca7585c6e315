package torture

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	keysOfClient = 24 // ordering keys that one client alone uses
	keysShared   = 8  // and those that all of them use
	sendEvery    = 6 * time.Millisecond
	mostOpen     = 6000 // deliveries
	largeEvery   = 97   // events; one in so many has data of this size
	largeData    = 64 << 10
	burstOf      = 512 // events: more than COPY waits for, in each of the committers
	eventType    = "order.created"
)

// clients is everybody who sends.
type clients struct {
	ledger *ledger
	key    string
	grpc   []string // addresses of the replicas
	// open is how many deliveries are. Clients hold back while there are many, so that a
	// run is about faults, and not about a backlog.
	open *atomic.Int64
	seed uint64
	// bursts make the client that takes one send so many at once.
	bursts chan int

	odd oddities
}

// oddities counts the calls of odd clients that were answered, or that ended as they were
// meant to.
type oddities struct{ resent, reused, unread, bursts atomic.Int64 }

// dial reaches any replica that is there.
func (c *clients) dial(ctx context.Context) (net.Conn, error) {
	var err error
	for _, i := range rand.Perm(len(c.grpc)) {
		var conn net.Conn
		var dialer net.Dialer
		if conn, err = dialer.DialContext(ctx, "tcp", c.grpc[i]); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// stream sends events of its own until the context ends, and then waits until all of
// them are acknowledged. Each number from last is that many more, under keys that nothing
// else has.
func (c *clients) stream(ctx, limit context.Context, name string, last <-chan int) error {
	sender, err := client.New(client.Config{
		Dial: c.dial, Key: c.key, Name: name, Logger: slog.New(slog.DiscardHandler),
		RetryMin: 10 * time.Millisecond, RetryMax: 200 * time.Millisecond, BufferEvents: 2 * burstOf, ConnectTimeout: 5 * time.Second,
		OnResult: func(e *raffsyncv1.Event, result client.Result) {
			switch result.Status {
			case raffsyncv1.Status_STATUS_ACCEPTED, raffsyncv1.Status_STATUS_DUPLICATE:
				c.ledger.acknowledged(e.Id)
			default:
				c.ledger.protest("%s: event %s was answered %s %s", name, e.Id, result.Status, result.Fix)
			}
		},
	})
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- sender.Run(limit) }()
	random := rand.New(rand.NewPCG(c.seed, uint64(crc32.ChecksumIEEE([]byte(name)))))
	number := 0
	send := func(ctx context.Context, key string) error {
		e := c.event(name, number, key)
		number++
		return sender.Send(ctx, e)
	}
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if c.open.Load() > mostOpen {
			pause(ctx, 20*sendEvery)
			continue
		}
		key := fmt.Sprintf("order/%s-%d", name, random.IntN(keysOfClient))
		if random.IntN(8) == 0 {
			key = fmt.Sprintf("shared/%d", random.IntN(keysShared))
		}
		if err := send(limit, key); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case n := <-c.bursts:
			for range n {
				if err := send(limit, fmt.Sprintf("order/%s-%d", name, random.IntN(keysOfClient))); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			c.odd.bursts.Add(1)
		}
	}
	for n := range last {
		for i := range n {
			if err := send(limit, fmt.Sprintf("last/%s-%d-%d", name, number, i)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := sender.Flush(limit); err != nil {
			return fmt.Errorf("%s: not everything is acknowledged: %w", name, err)
		}
	}
	if err := sender.Close(limit); err != nil {
		return fmt.Errorf("%s: not everything is acknowledged: %w", name, err)
	}
	return <-ran
}

// event makes the next event of a client, and notes it.
func (c *clients) event(name string, number int, key string) *raffsyncv1.Event {
	id := fmt.Sprintf("%s-%06d", name, number)
	data := c.data(id, number)
	c.ledger.sending(sent{ID: id, Key: key, Hash: sha256.Sum256([]byte(data)), Client: name, Number: number})
	return newEvent(id, typeOf(number), key, data)
}

func (c *clients) data(id string, number int) string {
	filling := ""
	if number%largeEvery == largeEvery-1 {
		filling = strings.Repeat("x", largeData)
	}
	if placed(number) {
		order := orderOf(number)
		return fmt.Sprintf(`{"id":%q,"order":"%d","sku":%q,"filling":%q}`, id, order, skuOf(order), filling)
	}
	return fmt.Sprintf(`{"id":%q,"filling":%q}`, id, filling)
}

func newEvent(id, eventType, key, data string) *raffsyncv1.Event {
	return &raffsyncv1.Event{Id: id, Type: eventType, OrderingKey: key, Data: &raffsyncv1.Event_TextData{TextData: data}}
}

// again is the event as it was sent.
func (c *clients) again(s sent) *raffsyncv1.Event {
	return newEvent(s.ID, typeOf(s.Number), s.Key, c.data(s.ID, s.Number))
}

// pester is the odd ones, in turn: one resends what is durable, one reuses ids, one
// never reads what it is answered.
func (c *clients) pester(ctx context.Context) {
	random := rand.New(rand.NewPCG(c.seed, 99))
	for round := 0; ctx.Err() == nil; round++ {
		connection, err := grpc.NewClient("passthrough:///torture",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }))
		if err != nil {
			c.ledger.protest("the odd client cannot be made: %v", err)
			return
		}
		service := raffsyncv1.NewIngestServiceClient(connection)
		some := c.ledger.some(16, random.IntN(1<<30))
		calling, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.key), 5*time.Second)
		switch round % 3 {
		case 0:
			c.resend(calling, service, some)
		case 1:
			c.reuse(calling, service, some, round)
		case 2:
			c.neverRead(calling, service, some)
		}
		cancel()
		_ = connection.Close()
		pause(ctx, 150*time.Millisecond)
	}
}

func (c *clients) resend(ctx context.Context, service raffsyncv1.IngestServiceClient, some []sent) {
	var events []*raffsyncv1.Event
	for _, s := range some {
		events = append(events, c.again(s))
	}
	if c.call(ctx, service, events, raffsyncv1.Status_STATUS_DUPLICATE) {
		c.odd.resent.Add(1)
	}
}

// reuse sends ids that are taken, with other content under another ordering key.
func (c *clients) reuse(ctx context.Context, service raffsyncv1.IngestServiceClient, some []sent, round int) {
	var events []*raffsyncv1.Event
	for i, s := range some[:min(len(some), 4)] {
		events = append(events, newEvent(s.ID, typeOf(s.Number), fmt.Sprintf("reused/%d", i), fmt.Sprintf(`{"id":%q,"reused":%d}`, s.ID, round)))
	}
	if c.call(ctx, service, events, raffsyncv1.Status_STATUS_CONFLICT) {
		c.odd.reused.Add(1)
		for _, e := range events {
			c.ledger.conflict(e.Id, sha256.Sum256([]byte(e.GetTextData())))
		}
	}
}

// call sends events of which each result must be this one; an error says nothing.
func (c *clients) call(ctx context.Context, service raffsyncv1.IngestServiceClient, events []*raffsyncv1.Event, want raffsyncv1.Status) bool {
	if len(events) == 0 {
		return false
	}
	answer, err := service.PublishBatch(ctx, &raffsyncv1.PublishBatchRequest{Events: events})
	if err != nil {
		if code := status.Code(err); code == codes.InvalidArgument || code == codes.Unauthenticated {
			c.ledger.protest("a batch was refused: %v", err)
		}
		return false
	}
	for _, r := range answer.Results {
		if r.Status != want {
			c.ledger.protest("event %s was answered %s, not %s", events[r.Index].Id, r.Status, want)
		}
	}
	return len(answer.Results) == len(events)
}

// neverRead streams what is durable, reads nothing, and goes away.
func (c *clients) neverRead(ctx context.Context, service raffsyncv1.IngestServiceClient, some []sent) {
	stream, err := service.Publish(ctx)
	if err != nil {
		return
	}
	if stream.Send(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Hello{Hello: &raffsyncv1.Hello{Client: "never reads"}}}) != nil {
		return
	}
	for i, s := range some[:min(len(some), 8)] {
		batch := &raffsyncv1.Batch{Sequence: uint64(i + 1), Events: []*raffsyncv1.Event{c.again(s)}}
		if stream.Send(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Batch{Batch: batch}}) != nil {
			return
		}
	}
	pause(ctx, 200*time.Millisecond)
	c.odd.unread.Add(1)
}
