package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Ends of a stream that are no trouble.
var (
	errFinished = errors.New("everything is acknowledged")
	errDrained  = errors.New("the broker asked for another stream")
)

// errSilent ends a stream whose broker is taken for dead.
var errSilent = errors.New("the broker did not answer in time")

const (
	// defaultHeartbeat serves where Welcome names none.
	defaultHeartbeat = 30 * time.Second
	// missedHeartbeats is after how many of them a silent broker is taken for dead.
	missedHeartbeats = 3
	// goodbye is how long a broker has to end a stream after the client did.
	goodbye = time.Second
)

// stream is one call of Publish. The goroutine of [Client.Run] sends, another one
// receives; the first of them to fail gives the call's context its cause.
type stream struct {
	client *Client
	rpc    grpc.BidiStreamingClient[raffsyncv1.PublishRequest, raffsyncv1.PublishResponse]
	cancel context.CancelCauseFunc
	// watchdog cancels the call when the broker says nothing for too long. It runs
	// while the receiver waits, so a slow OnResult is not taken for a dead broker.
	watchdog *time.Timer
	limits   limits
	// heartbeat is Welcome.heartbeat_every.
	heartbeat time.Duration
	draining  atomic.Bool
	// progress is true once the stream got anywhere; the receiver owns it until
	// received is closed.
	progress bool
	received chan struct{}
}

// stream opens one and returns why it ended, and whether it got anywhere: whether
// the next failure is a new trouble or the same one.
func (c *Client) stream(ctx context.Context) (progress bool, err error) {
	conn, err := grpc.NewClient(c.target, c.options...)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{client: c, cancel: cancel, received: make(chan struct{})}
	s.watchdog = time.AfterFunc(c.cfg.ConnectTimeout, func() { cancel(errSilent) })
	defer s.watchdog.Stop()
	if err := s.open(ctx, conn); err != nil {
		return false, causeOr(ctx, err)
	}
	opened := time.Now()
	go func() {
		defer close(s.received)
		cancel(s.receive())
	}()
	err = s.send(ctx)
	c.mu.Lock()
	c.stats.Connected = false
	c.mu.Unlock()
	if err != nil {
		cancel(err)
	}
	<-s.received
	if err == nil || !errors.Is(err, errFinished) && !errors.Is(err, errDrained) {
		err = context.Cause(ctx)
	}
	return s.progress || time.Since(opened) > c.cfg.RetryMax, err
}

// causeOr prefers what cancelled the context to the cancellation that came of it.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// over says why Recv returned.
func over(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the broker ended the stream")
	}
	return err
}

// open says Hello and waits for Welcome.
func (s *stream) open(ctx context.Context, conn *grpc.ClientConn) error {
	c := s.client
	rpc, err := raffsyncv1.NewIngestServiceClient(conn).Publish(withTrace(ctx))
	if err != nil {
		return err
	}
	s.rpc = rpc
	c.mu.Lock()
	c.queue.restart()
	depth := uint64(c.queue.waiting())
	c.mu.Unlock()
	hello := &raffsyncv1.Hello{Client: c.cfg.Name, SpoolDepth: depth}
	// io.EOF means that the call is over already; Recv knows why.
	if err := rpc.Send(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Hello{Hello: hello}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer, err := rpc.Recv()
	if err != nil {
		return over(err)
	}
	if _, ok := answer.Frame.(*raffsyncv1.PublishResponse_Draining); ok {
		return errDrained
	}
	welcome := answer.GetWelcome()
	if welcome == nil {
		return fmt.Errorf("the broker answers Hello with %T instead of Welcome", answer.Frame)
	}
	s.limits = limits{
		batchEvents:   int(max(welcome.MaxBatchEvents, 1)),
		windowBatches: int(max(welcome.WindowBatches, 1)),
	}
	s.heartbeat = welcome.HeartbeatEvery.AsDuration()
	if s.heartbeat <= 0 {
		s.heartbeat = defaultHeartbeat
	}
	c.maxData.Store(int64(welcome.MaxEventBytes))
	c.mu.Lock()
	c.stats.Source, c.stats.Connected, c.stats.Trouble = welcome.Source, true, nil
	c.stats.Streams++
	c.mu.Unlock()
	c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "stream open", slog.String("broker", c.where),
		slog.String("source", welcome.Source), slog.Uint64("unacknowledged", depth))
	return nil
}

// receive takes the broker's frames until the stream ends.
func (s *stream) receive() error {
	for {
		s.watchdog.Reset(missedHeartbeats * s.heartbeat)
		answer, err := s.rpc.Recv()
		s.watchdog.Stop()
		if err != nil {
			return over(err)
		}
		switch frame := answer.Frame.(type) {
		case *raffsyncv1.PublishResponse_Ack:
			if err := s.client.acknowledge(frame.Ack); err != nil {
				return err
			}
			s.progress = true
			s.client.nudge()
		case *raffsyncv1.PublishResponse_Draining:
			s.draining.Store(true)
			s.client.nudge()
		case *raffsyncv1.PublishResponse_Heartbeat:
		case *raffsyncv1.PublishResponse_Welcome:
			return errors.New("the broker says Welcome a second time")
		default:
			// A frame of a later version: what must be understood comes with a new
			// version of the service.
		}
	}
}

// send sends what there is, heartbeats in between, until the stream ends.
func (s *stream) send(ctx context.Context) error {
	c := s.client
	// Twice as often as promised, so that a late timer breaks no promise.
	heartbeat := time.NewTimer(s.heartbeat / 2)
	defer heartbeat.Stop()
	for {
		batch, end := s.next()
		switch {
		case end != nil:
			s.leave(ctx)
			return end
		case batch != nil:
			if err := s.write(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Batch{Batch: batch}}); err != nil {
				return err
			}
			heartbeat.Reset(s.heartbeat / 2)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-heartbeat.C:
			if err := s.write(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Heartbeat{Heartbeat: &raffsyncv1.Heartbeat{}}}); err != nil {
				return err
			}
			heartbeat.Reset(s.heartbeat / 2)
		}
	}
}

// next is the batch to send, or the reason to leave the stream, or neither.
func (s *stream) next() (*raffsyncv1.Batch, error) {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.finishedLocked():
		return nil, errFinished
	case !s.draining.Load():
		return c.queue.nextBatch(s.limits), nil
	case c.queue.inFlight == 0:
		return nil, errDrained
	default:
		return nil, nil
	}
}

// write sends one frame. It blocks while the broker does not read; the watchdog ends
// that, since the broker is not heard either.
func (s *stream) write(frame *raffsyncv1.PublishRequest) error {
	err := s.rpc.Send(frame)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		// The stream is over: the receiver knows why, and its cause comes first.
		<-s.received
		return err
	case status.Code(err) == codes.Internal:
		return fmt.Errorf("%w: %w", errUnencodable, err)
	default:
		return err
	}
}

// leave ends the client's side and lets the broker end its own, so that it sees a
// clean end and no vanished client.
func (s *stream) leave(ctx context.Context) {
	if s.rpc.CloseSend() != nil {
		return
	}
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case <-s.received:
	case <-timer.C:
	case <-ctx.Done():
	}
}
