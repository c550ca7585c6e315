package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var clerk = outbox.Actor{Tenant: "kopi", Name: "ayu"}

// patience is how long a test waits for what must come. Nothing is asserted of it.
const patience = 20 * time.Second

// house is a running broker on real Postgres. Tenant kopi has the sources till and
// web; order.* goes to books, where body.total is over 0 to stock too; everything
// else is unrouted.
type house struct {
	t       testing.TB
	dsn     string
	store   *outbox.Store
	db      *pgxpool.Pool // as a superuser, to look behind the scenes
	broker  *Broker
	address string
	keys    map[string]string // by source
	stop    func() error      // stops the broker, once; also called after the test
	log     *journal
}

type option func(*Config, *Broker)

func newHouse(t testing.TB, options ...option) *house {
	t.Helper()
	return newHouseAt(t, outboxtest.NewDatabase(t), options...)
}

func newHouseAt(t testing.TB, dsn string, options ...option) *house {
	t.Helper()
	h := &house{t: t, dsn: dsn, keys: make(map[string]string), log: &journal{}}
	var err error
	if h.store, err = outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.store.Close)
	if h.db, err = pgxpool.New(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.db.Close)
	for _, source := range []string{"till", "web"} {
		if h.keys[source], err = h.store.CreateKey(t.Context(), clerk, source); err != nil {
			t.Fatal(err)
		}
	}
	h.run(options...)
	h.route(
		outbox.RouteConfig{Name: "orders", To: "books", Types: []string{"order.*"}},
		outbox.RouteConfig{Name: "worth", To: "stock", Types: []string{"order.*"}, When: "body.total > 0"},
	)
	return h
}

// route applies routes, and puts them in force.
func (h *house) route(routes ...outbox.RouteConfig) {
	h.t.Helper()
	applied, err := h.store.Apply(h.t.Context(), clerk, configuration(routes...), "for a test")
	if err != nil {
		h.t.Fatal(err)
	}
	h.broker.SetRules("kopi", mustCompile(h.t, applied.Configuration, applied.Names))
}

// run starts a broker. What options change of it, they change before it runs.
func (h *house) run(options ...option) {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.address = listener.Addr().String()
	config := Config{Store: h.store, Listeners: []net.Listener{listener}, Log: slog.New(slog.NewTextHandler(h.log, nil)), DrainTimeout: time.Second}
	for _, o := range options {
		o(&config, nil)
	}
	if h.broker, err = New(config); err != nil {
		h.t.Fatal(err)
	}
	for _, o := range options {
		o(&Config{}, h.broker)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.broker.Run(ctx) }()
	h.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	h.t.Cleanup(func() {
		if err := h.stop(); err != nil {
			h.t.Errorf("the broker ended with %v", err)
		}
	})
}

func (h *house) connect() *grpc.ClientConn {
	h.t.Helper()
	conn, err := grpc.NewClient(h.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

func withKey(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

// stream is a Publish stream that has not said anything yet.
type stream struct {
	t testing.TB
	raffsyncv1.IngestService_PublishClient
	cancel context.CancelFunc
	next   uint64
}

func (h *house) dial(conn *grpc.ClientConn, key string) *stream {
	h.t.Helper()
	ctx, cancel := context.WithCancel(withKey(context.Background(), key))
	s, err := raffsyncv1.NewIngestServiceClient(conn).Publish(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(cancel)
	return &stream{t: h.t, IngestService_PublishClient: s, cancel: cancel, next: 1}
}

// open is a stream of the source till that has been welcomed.
func (h *house) open() *stream {
	h.t.Helper()
	s := h.dial(h.connect(), h.keys["till"])
	s.hello()
	if welcome := s.receive().GetWelcome(); welcome.GetSource() != "till" {
		h.t.Fatalf("welcome %v", welcome)
	}
	return s
}

func (s *stream) say(r *raffsyncv1.PublishRequest) {
	s.t.Helper()
	// io.EOF means that the stream has ended; Recv tells why.
	if err := s.Send(r); err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
}

func (s *stream) hello() {
	s.t.Helper()
	s.say(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Hello{Hello: &raffsyncv1.Hello{Client: "test 1"}}})
}

// batch sends events under the next sequence.
func (s *stream) batch(events ...*raffsyncv1.Event) {
	s.t.Helper()
	s.say(batchFrameOf(s.next, events...))
	s.next++
}

func batchFrameOf(sequence uint64, events ...*raffsyncv1.Event) *raffsyncv1.PublishRequest {
	return &raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Batch{Batch: &raffsyncv1.Batch{Sequence: sequence, Events: events}}}
}

// receive returns the next frame that is no heartbeat.
func (s *stream) receive() *raffsyncv1.PublishResponse {
	s.t.Helper()
	for {
		r, err := s.Recv()
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		if r.GetHeartbeat() == nil {
			return r
		}
	}
}

// acked receives acknowledgements through a sequence, and returns their results.
func (s *stream) acked(through uint64) (results []*raffsyncv1.EventResult) {
	s.t.Helper()
	for {
		ack := s.receive().GetAck()
		if ack == nil {
			s.t.Fatal("not an acknowledgement")
		}
		results = append(results, ack.GetResults()...)
		if ack.GetThroughSequence() >= through {
			return results
		}
	}
}

// end reads until the stream ends, and returns how; acknowledged is the last sequence
// that was acknowledged on the way.
func (s *stream) end() (acknowledged uint64, err error) {
	for {
		r, err := s.Recv()
		if err != nil {
			return acknowledged, err
		}
		if ack := r.GetAck(); ack != nil {
			acknowledged = ack.GetThroughSequence()
		}
	}
}

// event is an order worth 100 of an ordering key.
func event(id, key string) *raffsyncv1.Event {
	return &raffsyncv1.Event{Id: id, Type: "order.created", OrderingKey: key, Data: text(`{"total":100}`)}
}

func events(prefix string, n int) []*raffsyncv1.Event {
	all := make([]*raffsyncv1.Event, n)
	for i := range all {
		all[i] = event(fmt.Sprintf("%s-%d", prefix, i), fmt.Sprintf("key-%d", i%17))
	}
	return all
}

// one reads a single value.
func one[T any](h *house, sql string, arguments ...any) T {
	h.t.Helper()
	values := column[T](h, sql, arguments...)
	if len(values) != 1 {
		h.t.Fatalf("%d rows of %s", len(values), sql)
	}
	return values[0]
}

func column[T any](h *house, sql string, arguments ...any) []T {
	h.t.Helper()
	rows, err := h.db.Query(context.Background(), sql, arguments...)
	if err != nil {
		h.t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		h.t.Fatalf("%v\n%s", err, sql)
	}
	return values
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("it never came that %s", what)
		case <-tick.C:
		}
	}
}

// checkStatus wants a code, the reason in ErrorInfo, and RetryInfo exactly where it
// is called for.
func checkStatus(t testing.TB, err error, code codes.Code, reason, says string) {
	t.Helper()
	s := status.Convert(err)
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if s.Code() != code || info.GetReason() != reason || !strings.Contains(s.Message(), says) {
		t.Errorf("status %v %s %q, want %v %s %q", s.Code(), info.GetReason(), s.Message(), code, reason, says)
	}
	comesBack := code == codes.ResourceExhausted || code == codes.Unavailable
	if comesBack != (retry.GetRetryDelay().AsDuration() > 0) {
		t.Errorf("%s: retry %v", reason, retry)
	}
}

// journal keeps what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
