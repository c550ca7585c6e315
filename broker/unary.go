package broker

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// call is one PublishBatch on its way.
type call struct {
	budget *budget
	broken atomic.Bool // a commit failed, or the client went away
	ended  chan struct{}
	parent string // traceparent
}

func (c *call) commitFailed() { c.broken.Store(true) }
func (c *call) gone() bool    { return c.broken.Load() }

func (c *call) traceparent() string { return c.parent }

func (c *call) done(b *batch) {
	c.budget.give(b.cost)
	close(c.ended)
}

// publishBatch serves one PublishBatch.
func (b *Broker) publishBatch(stream grpc.ServerStream) error {
	ctx := stream.Context()
	_, credential, err := b.authenticate(ctx)
	if err != nil {
		return err
	}
	var raw rawMessage
	if err := stream.RecvMsg(&raw); err != nil {
		return err
	}
	defer raw.free()
	if n := len(raw.bytes()); n > maxMessageBytes {
		return tooLarge(n)
	}
	encoded, err := parseBatchRequest(raw.bytes(), b.config.MaxBatchEvents)
	if err != nil {
		return err
	}
	c := &call{budget: &b.intake.budget, ended: make(chan struct{}), parent: traceparentOf(ctx)}
	batch, parts, err := b.intake.admit(credential, encoded, c)
	if err != nil {
		return err
	}
	b.intake.submit(batch, parts)
	select {
	case <-c.ended:
	case <-ctx.Done():
		c.broken.Store(true)
		return ctx.Err()
	}
	if batch.failed.Load() {
		return errNotDurable
	}
	for i, r := range batch.results {
		if r == nil {
			batch.results[i] = &raffsyncv1.EventResult{Index: uint32(i), Status: raffsyncv1.Status_STATUS_ACCEPTED}
		}
	}
	b.config.Observe.acknowledged(batch, time.Now())
	return stream.SendMsg(&raffsyncv1.PublishBatchResponse{Results: batch.results})
}
