package dispatch_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func TestMain(m *testing.M) {
	if dsn, address := os.Getenv(childVariable), os.Getenv(booksVariable); address != "" {
		runBookkeeper(dsn, address)
		return
	} else if dsn != "" {
		runChild(dsn) // this process is a replica that a test kills or freezes
		return
	}
	flag.Set("rapid.steps", "100") // unless the command line says otherwise
	flag.Set("rapid.checks", "300")
	goleak.VerifyTestMain(m)
}

// sent is a request as a platform saw it.
type sent struct {
	ID, OrderingKey, Key string
	Attempt              int
}

// platform is a destination of the tests: it keeps what it was sent, and answers as
// it is told.
type platform struct {
	traits connectors.Traits
	answer func(ctx context.Context, s sent) connectors.Outcome
	hang   chan struct{} // Prepare of hang.prepare returns when it is closed
	// missing is what Prepare looks up in vain; nil: nothing.
	missing func(*connectors.Event) []connectors.Miss
	// reconcile answers questions, where the platform can be asked.
	reconcile func(ctx context.Context, s sent) connectors.Reconciliation

	mu       sync.Mutex
	requests []sent
	effects  map[string]int // by idempotency key
	order    map[string][]string
	changed  chan struct{} // closed and replaced at each request
	asked    []sent
}

// askable is a platform that can be asked.
type askable struct{ *platform }

func (p askable) Reconcile(ctx context.Context, r connectors.Request) connectors.Reconciliation {
	s := r.(sent)
	p.mu.Lock()
	p.asked = append(p.asked, s)
	p.mu.Unlock()
	return p.reconcile(ctx, s)
}

func (p *platform) connector() connectors.Destination {
	if p.reconcile != nil {
		return askable{p}
	}
	return p
}

var delivered = connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, Status: 200}

func newPlatform(answer func(ctx context.Context, s sent) connectors.Outcome) *platform {
	if answer == nil {
		answer = func(context.Context, sent) connectors.Outcome { return delivered }
	}
	return &platform{
		traits: connectors.Traits{Idempotent: true}, answer: answer,
		effects: make(map[string]int), order: make(map[string][]string), changed: make(chan struct{}),
	}
}

func (p *platform) Traits() connectors.Traits { return p.traits }

func (p *platform) Prepare(s connectors.Step) (connectors.Request, error) {
	switch s.Event.Type {
	case "panic.prepare":
		panic("a connector's bug")
	case "hang.prepare":
		<-p.hang
	}
	if p.missing != nil {
		if missing := p.missing(s.Event); len(missing) > 0 {
			return nil, &connectors.PrepareError{Missing: missing}
		}
	}
	return sent{ID: s.Event.ID, OrderingKey: s.Event.OrderingKey, Key: s.Key, Attempt: s.Attempt}, nil
}

func (p *platform) Send(ctx context.Context, r connectors.Request) connectors.Outcome {
	s := r.(sent)
	p.mu.Lock()
	p.requests = append(p.requests, s)
	p.mu.Unlock()
	o := p.answer(ctx, s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.Kind == raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED {
		p.effects[s.Key]++
		p.order[s.OrderingKey] = append(p.order[s.OrderingKey], s.ID)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return o
}

func (p *platform) seen() []sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sent(nil), p.requests...)
}

func (p *platform) orderOf(key string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.order[key]...)
}

// bench is a store with destinations, a writer, and as many dispatchers as asked for.
type bench struct {
	t         testing.TB
	dsn       string
	store     *outbox.Store
	db        *pgxpool.Pool
	applied   outbox.Applied
	writer    *outbox.Writer
	platforms map[string]*platform
	plan      *dispatch.Plan
	configure func(*dispatch.Config) // of the dispatchers that are started; nil: as they are
}

// Short enough that a test can wait for a lease, long enough for a busy machine.
const testLease = 2 * time.Second

func newBench(t testing.TB, platforms map[string]*platform) *bench {
	t.Helper()
	return newBenchAt(t, outboxtest.NewDatabase(t), platforms)
}

func newBenchAt(t testing.TB, dsn string, platforms map[string]*platform) *bench {
	t.Helper()
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true, Lease: testLease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	db, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b := &bench{t: t, dsn: dsn, store: store, db: db, platforms: platforms}
	c := outbox.Configuration{Tenant: "kopi", Sources: []outbox.SourceConfig{{Name: "till"}}}
	for name := range platforms {
		c.Destinations = append(c.Destinations, outbox.DestinationConfig{Name: name, Kind: "test"})
	}
	if b.applied, err = store.Apply(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, c, "for a test"); err != nil {
		t.Fatal(err)
	}
	if b.writer, err = store.OpenWriter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.writer.Close(context.Background()) })
	b.plan = testPlan(b.applied.Names, platforms)
	return b
}

var salesRoute = dispatch.RouteKey{Tenant: "kopi", Name: "sales"}

// testPlan sends to the platforms by the routes "sales", which blocks behind an
// exception, and "pass", which does not.
func testPlan(names outbox.Names, platforms map[string]*platform) *dispatch.Plan {
	plan := &dispatch.Plan{
		Destinations: make(map[int32]*dispatch.Destination),
		Routes: map[dispatch.RouteKey]dispatch.Route{
			{Tenant: "kopi", Name: "sales"}: {Retry: outbox.RetryConfig{Initial: 10 * time.Millisecond, Factor: 2, Cap: 100 * time.Millisecond, Attempts: 5, Age: time.Hour}},
			{Tenant: "kopi", Name: "pass"}:  {Retry: outbox.RetryConfig{Initial: 10 * time.Millisecond, Factor: 2, Cap: 100 * time.Millisecond, Attempts: 5, Age: time.Hour}, Pass: true},
		},
	}
	for name, p := range platforms {
		id := names.Destinations[name]
		plan.Destinations[id] = &dispatch.Destination{
			ID: id, Tenant: "kopi", Name: name, Connector: p.connector(), Concurrency: 16, Timeout: time.Second,
			// Closed for good, unless a test is about it.
			Breaker: outbox.BreakerConfig{Window: time.Minute, MinRequests: 1 << 20, FailureRatio: 1, OpenFor: time.Second, Probes: 1},
		}
	}
	return plan
}

func (b *bench) destination(name string) *dispatch.Destination {
	return b.plan.Destinations[b.applied.Names.Destinations[name]]
}

// start runs a dispatcher until the test ends, or stop is called.
func (b *bench) start() (d *dispatch.Dispatcher, stop func()) {
	b.t.Helper()
	return b.startLogging(func(string) {})
}

// startLogging tells each line of the log to heard, too.
func (b *bench) startLogging(heard func(line string)) (d *dispatch.Dispatcher, stop func()) {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(listener{b.t.Output(), heard}, nil))
	config := dispatch.Config{Store: b.store, Lease: testLease, Log: log}
	if b.configure != nil {
		b.configure(&config)
	}
	d, err := dispatch.New(config)
	if err != nil {
		b.t.Fatal(err)
	}
	d.SetPlan(b.plan)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(stop)
	return d, stop
}

type listener struct {
	io.Writer
	heard func(string)
}

func (l listener) Write(line []byte) (int, error) {
	l.heard(string(line))
	return l.Writer.Write(line)
}

// entry is an event with an id and a key for the destinations named, by the route.
func (b *bench) entry(route, id, key string, destinations ...string) outbox.Entry {
	e := outbox.Entry{Event: outbox.Event{
		Tenant: "kopi", Source: b.applied.Names.Sources["till"], ID: id, Type: "order.created", OrderingKey: key,
		OccurredAt: time.Now(), ContentType: "application/json", Payload: fmt.Appendf(nil, `{"id":%q}`, id),
	}}
	for _, name := range destinations {
		e.Targets = append(e.Targets, outbox.Target{Destination: b.applied.Names.Destinations[name], Route: route})
	}
	return e
}

func (b *bench) append(entries ...outbox.Entry) {
	b.t.Helper()
	appendBy(b, b.writer, entries...)
}

func appendBy(b *bench, w *outbox.Writer, entries ...outbox.Entry) {
	b.t.Helper()
	results, err := w.Append(b.t.Context(), entries)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, r := range results {
		if r.Verdict != outbox.Appended {
			b.t.Fatalf("entry %d: verdict %v", i, r.Verdict)
		}
	}
}

// until waits for a condition of the database.
func (b *bench) until(what, sql string, arguments ...any) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		err := b.db.QueryRow(ctx, sql, arguments...).Scan(&ok)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: never so within a minute (last: %v)\n%s", what, err, b.state())
		case <-tick.C:
		}
	}
}

func (b *bench) untilDrained() {
	b.t.Helper()
	b.until("everything is delivered", `SELECT NOT EXISTS (SELECT FROM deliveries)`)
}

// state is what the tables say, for a failure's text.
func (b *bench) state() string {
	rows, err := b.db.Query(context.Background(), `SELECT format('%s state %s requests %s attempts %s version %s due %s', seq, state, requests, attempts, version, due_at) FROM deliveries ORDER BY seq LIMIT 20`)
	if err != nil {
		return err.Error()
	}
	lines, _ := pgx.CollectRows(rows, pgx.RowTo[string])
	return fmt.Sprintf("%d+ open: %v", len(lines), lines)
}

func value[T any](b *bench, sql string, arguments ...any) T {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), sql, arguments...)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		b.t.Fatalf("%v\n%s", err, sql)
	}
	return v
}

func values[T any](b *bench, sql string, arguments ...any) []T {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), sql, arguments...)
	if err != nil {
		b.t.Fatal(err)
	}
	scan := pgx.RowTo[T]
	if reflect.TypeFor[T]().Kind() == reflect.Struct {
		scan = pgx.RowToStructByName[T]
	}
	all, err := pgx.CollectRows(rows, scan)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, sql)
	}
	return all
}
