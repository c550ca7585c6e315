package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// session is one Publish stream. Three goroutines work on it: the handler supervises
// its timers and is the one that ends it, one receives, one sends. Nobody waits for
// a client that does not read but the sender, which the end of the handler sets free.
type session struct {
	broker     *Broker
	stream     grpc.ServerStream
	key        string
	credential outbox.Credential
	parent     string // traceparent
	opened     time.Time
	heard      atomic.Int64 // when the client last said anything, since opened
	broken     atomic.Bool  // a commit failed: nothing of it may be committed any more

	greeted bool // of the receiver

	mu       sync.Mutex
	client   string
	last     uint64                        // sequence received
	through  uint64                        // sequence acknowledged
	pending  []*batch                      // received, and not in an acknowledgement yet; in order
	control  []*raffsyncv1.PublishResponse // Welcome and Draining that are to be sent
	welcomed bool
	final    error // what the client is told at the end, once finishing
	ending   bool

	ready     chan struct{} // holds one: there may be something to send
	finishing chan struct{} // closed when nothing more is received
	over      chan error    // the sender or the receiver is through
}

// publish serves one Publish stream.
func (b *Broker) publish(stream grpc.ServerStream) (err error) {
	key, credential, err := b.authenticate(stream.Context())
	if err != nil {
		return err
	}
	s := &session{
		broker: b, stream: stream, key: key, credential: credential, parent: traceparentOf(stream.Context()), opened: time.Now(),
		ready: make(chan struct{}, 1), finishing: make(chan struct{}), over: make(chan error, 2),
	}
	if err := b.sessions.add(s); err != nil {
		return err
	}
	defer func() { s.close(err) }()
	for _, work := range []func(context.Context) error{s.receive, s.send} {
		b.running.Go(func() {
			s.over <- guard(func() error { return work(stream.Context()) })
		})
	}
	return s.supervise(stream.Context())
}

// supervise returns when the stream is to end, with what the client is told.
func (s *session) supervise(ctx context.Context) error {
	config := &s.broker.config
	limit := silentHeartbeats * config.HeartbeatEvery
	silence := time.NewTimer(limit)
	defer silence.Stop()
	aged := time.NewTimer(s.broker.untilDrain(ctx))
	defer aged.Stop()
	stopping, finishing := s.broker.stopping, s.finishing
	var drained, flushed <-chan time.Time
	var why *refusal // for draining
	for {
		select {
		case err := <-s.over:
			if err != errReceived {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-silence.C:
			if quiet := time.Since(s.opened) - time.Duration(s.heard.Load()); quiet < limit {
				silence.Reset(limit - quiet)
				break
			}
			s.finish(silent(limit))
		case <-aged.C:
			why = errAged
			s.drain(why)
			drained = time.After(config.DrainTimeout)
		case <-stopping:
			stopping, why = nil, errStopping
			s.drain(why)
			drained = time.After(config.DrainTimeout)
		case <-drained:
			s.finish(why)
		case <-finishing:
			finishing = nil
			flushed = time.After(s.broker.flushTimeout)
		case <-flushed:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.final
		}
	}
}

// errReceived: the receiver is through, and the sender still has to do.
var errReceived = errors.New("received all")

// receive takes frames until the client closes its side or breaks a rule.
func (s *session) receive(ctx context.Context) error {
	for {
		var raw rawMessage
		if err := s.stream.RecvMsg(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				s.finish(nil)
				return errReceived
			}
			return err
		}
		s.heard.Store(int64(time.Since(s.opened)))
		err := s.frame(raw.bytes())
		raw.free()
		if err != nil {
			s.finish(err)
			return errReceived
		}
	}
}

func (s *session) frame(message []byte) error {
	if len(message) > maxMessageBytes {
		return tooLarge(len(message))
	}
	f, err := parseFrame(message, s.broker.config.MaxBatchEvents)
	if err != nil {
		return err
	}
	switch {
	case f.kind == helloFrame:
		return s.hello(f.hello)
	case !s.greeted:
		return badFrame("frame", "the first frame must be Hello")
	case f.kind == batchFrame:
		return s.batch(f.batch)
	case f.kind == heartbeatFrame:
		return nil
	}
	return badFrame("frame", "must be hello, batch or heartbeat")
}

func (s *session) hello(encoded []byte) error {
	if s.greeted {
		return badFrame("hello", "must be the first frame, and the only Hello of its stream")
	}
	var hello raffsyncv1.Hello
	if err := proto.Unmarshal(encoded, &hello); err != nil {
		return badFrame("hello", "must be the protobuf encoding of a Hello, its text UTF-8")
	}
	if found := s.broker.intake.validator.violations(&hello); len(found) > 0 {
		return badFrame("hello."+found[0].Field, found[0].Message)
	}
	s.greeted = true
	s.mu.Lock()
	s.client = hello.GetClient()
	s.welcomed = true
	s.control = append(s.control, s.broker.welcome(s.credential))
	s.mu.Unlock()
	s.broker.log.InfoContext(s.stream.Context(), "stream opened", "tenant", s.credential.Tenant, "source", s.credential.SourceName,
		"key", s.credential.Prefix, "client", hello.GetClient(), "spool", hello.GetSpoolDepth())
	s.notify()
	return nil
}

func (s *session) batch(raw rawBatch) error {
	s.mu.Lock()
	want, unacknowledged := s.last+1, len(s.pending)
	s.mu.Unlock()
	if raw.sequence != want {
		return badSequence(want, raw.sequence)
	}
	if window := s.broker.config.WindowBatches; unacknowledged >= window {
		return windowExceeded(window)
	}
	b, parts, err := s.broker.intake.admit(s.credential, raw, s)
	if err != nil {
		return err
	}
	s.mu.Lock()
	refused := s.ending // by another goroutine, meanwhile
	if !refused {
		s.last = raw.sequence
		s.pending = append(s.pending, b)
	}
	s.mu.Unlock()
	if refused {
		s.broker.intake.budget.give(b.cost)
		return nil
	}
	s.broker.intake.submit(b, parts)
	return nil
}

// finish stops receiving. Once what is pending is acknowledged, or at the latest
// after flushTimeout, the client is told err; nil is a good end. The first call counts.
func (s *session) finish(err error) {
	s.mu.Lock()
	s.finishLocked(err)
	s.mu.Unlock()
	s.notify()
}

func (s *session) finishLocked(err error) {
	if !s.ending {
		s.ending, s.final = true, err
		close(s.finishing)
	}
}

// drain asks the client to go elsewhere; one that has not even said Hello is told to.
func (s *session) drain(why *refusal) {
	s.mu.Lock()
	welcomed := s.welcomed
	if welcomed {
		s.control = append(s.control, &raffsyncv1.PublishResponse{Frame: &raffsyncv1.PublishResponse_Draining{Draining: &raffsyncv1.Draining{}}})
	}
	s.mu.Unlock()
	if !welcomed {
		s.finish(why)
	}
	s.notify()
}

func (s *session) notify() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// close forgets the stream. What is still on its way is acknowledged to nobody.
func (s *session) close(err error) {
	s.broker.sessions.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.dropFrom(0)
	s.broker.log.InfoContext(s.stream.Context(), "stream ended", "tenant", s.credential.Tenant, "source", s.credential.SourceName,
		"client", s.client, "batches", s.last, "lasted", time.Since(s.opened), "error", err)
}

// dropFrom gives up on pending batches. The caller holds the lock.
func (s *session) dropFrom(n int) {
	for _, b := range s.pending[n:] {
		b.dropped = true
		if b.settled {
			s.broker.intake.budget.give(b.cost)
		}
	}
	s.pending = slices.Delete(s.pending, n, len(s.pending))
}

// commitFailed, gone, done and traceparent make a session a [caller].

func (s *session) commitFailed() {
	s.broken.Store(true)
	s.mu.Lock()
	acknowledgeable := slices.IndexFunc(s.pending, func(b *batch) bool { return !b.settled || b.failed.Load() })
	if acknowledgeable >= 0 {
		s.dropFrom(acknowledgeable)
	}
	// In the same moment: what was received in between would stand where the dropped
	// ones stood.
	s.finishLocked(errNotDurable)
	s.mu.Unlock()
	s.notify()
}

func (s *session) gone() bool { return s.broken.Load() }

func (s *session) traceparent() string { return s.parent }

func (s *session) done(b *batch) {
	s.mu.Lock()
	b.settled = true
	if b.dropped {
		s.broker.intake.budget.give(b.cost)
	}
	s.mu.Unlock()
	if b.failed.Load() {
		s.commitFailed()
	}
	s.notify()
}

func tooLarge(n int) *refusal {
	return badFrame("frame", fmt.Sprintf("a message holds at most %d bytes, this one %d; send smaller batches", maxMessageBytes, n))
}
