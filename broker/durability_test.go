package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func oneCommitter(c *Config, _ *Broker) { c.Committers = 1 }

// block makes the next commit wait, and returns once one does, sent by send. The
// commit goes on when release is called.
func (h *house) block(send func()) (release func()) {
	h.t.Helper()
	tx, err := h.db.Begin(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // where the test failed
	if _, err := tx.Exec(context.Background(), `LOCK TABLE event_ids IN ACCESS EXCLUSIVE MODE`); err != nil {
		h.t.Fatal(err)
	}
	send()
	eventually(h.t, "a commit waits", func() bool {
		return one[int](h, `SELECT count(*) FROM pg_locks WHERE relation = 'event_ids'::regclass AND NOT granted`) == 1
	})
	return func() {
		if err := tx.Rollback(context.Background()); err != nil {
			h.t.Error(err)
		}
	}
}

// queued waits until so many parts wait behind the commit.
func (h *house) queued(n int) {
	h.t.Helper()
	c := h.broker.intake.committers[0]
	eventually(h.t, fmt.Sprintf("%d parts are queued", n), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.queue) == n
	})
}

func TestCommitter_OneBadValueAmongStrangers(t *testing.T) {
	h := newHouse(t, oneCommitter)
	// Validation lets nothing through that Postgres is known to refuse; this teaches
	// it to refuse something.
	if _, err := h.db.Exec(t.Context(), `
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room for % in relation events', NEW.outlet USING ERRCODE = '22023'; END $$;
		CREATE TRIGGER poison BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.outlet = 'poison') EXECUTE FUNCTION refuse()`); err != nil {
		t.Fatal(err)
	}
	streams := []*stream{h.open(), h.open(), h.open()}
	first := h.open()
	release := h.block(func() { first.batch(events("first", 1)...) })
	streams[0].batch(events("a", 50)...)
	bad := events("b", 50)
	bad[20].Outlet = "poison"
	streams[1].batch(bad...)
	streams[2].batch(events("c", 50)...)
	h.queued(3)
	release()
	for i, want := range [][]string{nil, {"1/20 INVALID"}, nil} {
		results := streams[i].acked(1)
		if diff := cmp.Diff(want, outcomes(results)); diff != "" {
			t.Errorf("stream %d: %s", i, diff)
		}
		for _, r := range results {
			if strings.Contains(r.String(), "relation") {
				t.Errorf("the client is told of the database's insides: %v", r)
			}
		}
	}
	if n := one[int](h, `SELECT count(*) FROM events`); n != 150 {
		t.Errorf("%d events, want 150", n)
	}
	if said := h.log.String(); !strings.Contains(said, "event=b-20") {
		t.Errorf("the log does not name the event:\n%s", said)
	}
}

// What a caller sent after a batch whose commit failed must not become durable
// before it: the client will send both again, in order.
func TestCommitter_NothingOvertakesAFailedCommit(t *testing.T) {
	h := newHouse(t, oneCommitter)
	s, stranger := h.open(), h.open()
	client := raffsyncv1.NewIngestServiceClient(h.connect())
	var unary error
	called := make(chan struct{})
	release := h.block(func() { s.batch(event("1", "order/1")) })
	s.batch(event("2", "order/1"))
	stranger.batch(event("3", "order/3"))
	h.queued(2)
	go func() {
		defer close(called)
		_, unary = client.PublishBatch(withKey(context.Background(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("4", "order/1")}})
	}()
	h.queued(3)
	one[bool](h, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'event_ids'::regclass AND NOT granted`)
	acknowledged, err := s.end()
	checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "with the same ids")
	if acknowledged != 0 {
		t.Errorf("acknowledged %d", acknowledged)
	}
	release()
	stranger.acked(1)
	<-called
	if unary != nil {
		t.Errorf("the stranger's call: %v", unary)
	}
	if diff := cmp.Diff([]string{"3", "4"}, column[string](h, `SELECT id FROM events ORDER BY id`)); diff != "" {
		t.Error(diff)
	}
	s = h.open()
	s.batch(event("1", "order/1"))
	s.batch(event("2", "order/1"))
	if results := s.acked(2); len(results) > 0 {
		t.Errorf("%v", results)
	}
	for _, open := range []*stream{s, stranger} {
		open.CloseSend()
		if _, err := open.end(); !errors.Is(err, io.EOF) {
			t.Errorf("a stream ended with %v", err)
		}
	}
	h.forgets()
}

// Somebody holds the exception of a source: whoever sends its conflicts sends them again,
// and nobody else is told anything of it.
func TestCommitter_ConflictsThatCannotBeKeptAreTheirSendersAlone(t *testing.T) {
	h := newHouse(t, oneCommitter)
	other := event("1", "order/1")
	other.Type = "order.paid"
	first := h.open()
	first.batch(event("1", "order/1"), other)
	first.acked(1)
	person, err := h.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = person.Rollback(context.Background()) }() // where the test failed
	if _, err := person.Exec(t.Context(), `SELECT FROM exceptions FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	another := event("1", "order/1")
	another.Type = "order.cancelled"
	owner, stranger := h.open(), h.open()
	release := h.block(func() { first.batch(events("first", 1)...) })
	owner.batch(event("2", "order/2"), another)
	stranger.batch(event("3", "order/3"))
	h.queued(2)
	release()
	stranger.acked(1)
	acknowledged, err := owner.end()
	checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "with the same ids")
	if acknowledged != 0 {
		t.Errorf("acknowledged %d, and a conflicting content is not kept", acknowledged)
	}
	if err := person.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	owner = h.open()
	owner.batch(event("2", "order/2"), another)
	if diff := cmp.Diff([]string{"1/0 DUPLICATE", "1/1 CONFLICT"}, outcomes(owner.acked(1))); diff != "" {
		t.Error(diff)
	}
}

// panics lets its first commit panic, and leaves the others to Postgres.
type panics struct {
	*outbox.Writer
	done bool
}

func (p *panics) Append(ctx context.Context, entries []outbox.Entry) ([]outbox.Result, error) {
	if !p.done {
		p.done = true
		panic("a bug")
	}
	return p.Writer.Append(ctx, entries)
}

func TestCommitter_SurvivesAPanic(t *testing.T) {
	h := newHouse(t, oneCommitter)
	s := h.open()
	w, err := h.store.OpenWriter(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	c := newCommitter(&panics{Writer: w}, nil, h.broker.log)
	running.Go(func() { c.run(ctx) })
	for _, fails := range []bool{true, false} {
		caller := &call{budget: &budget{}, ended: make(chan struct{})}
		b := &batch{caller: caller, results: make([]*raffsyncv1.EventResult, 1)}
		b.open.Store(1)
		c.submit(part{batch: b, committer: c, places: []int32{0}, entries: []outbox.Entry{{Event: outbox.Event{
			Tenant: "kopi", Source: 1, ID: "e1", Type: "a", OrderingKey: "k", OccurredAt: time.Now(), ContentType: "application/json",
		}}}})
		<-caller.ended
		if b.failed.Load() != fails {
			t.Errorf("failed %v, want %v", b.failed.Load(), fails)
		}
	}
	if said := h.log.String(); !strings.Contains(said, "panic in a commit") || !strings.Contains(said, "made durable again") {
		t.Errorf("the log says:\n%s", said)
	}
	s.batch(events("other", 3)...)
	s.acked(1)
	if n := one[int](h, `SELECT count(*) FROM events`); n != 4 {
		t.Errorf("%d events", n)
	}
}

func TestCommitter_PostgresGone(t *testing.T) {
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{})
	h := newHouseAt(t, server.NewDatabase())
	conn := h.connect()
	s, idle := h.open(), h.open()
	s.batch(events("a", 10)...)
	s.acked(1)
	server.Kill()
	s.batch(events("b", 10)...)
	acknowledged, err := s.end()
	checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "")
	if acknowledged != 0 {
		t.Errorf("acknowledged %d without a database", acknowledged)
	}
	_, err = raffsyncv1.NewIngestServiceClient(conn).PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: events("c", 1)})
	checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "")
	_, err = raffsyncv1.NewIngestServiceClient(conn).PublishBatch(withKey(t.Context(), "rs_01234567_x"), &raffsyncv1.PublishBatchRequest{Events: events("c", 1)})
	checkStatus(t, err, codes.Unavailable, "STORE_UNAVAILABLE", "try again")
	if strings.Contains(err.Error(), "socket") {
		t.Errorf("told of the insides: %v", err)
	}

	server.Start()
	// A session that was idle when Postgres went is found dead by the commit that it is
	// used for, so the first try may fail still.
	client := raffsyncv1.NewIngestServiceClient(conn)
	for prefix, want := range map[string][]raffsyncv1.Status{
		"a": {raffsyncv1.Status_STATUS_DUPLICATE},
		"b": {raffsyncv1.Status_STATUS_ACCEPTED, raffsyncv1.Status_STATUS_DUPLICATE}, // committed in part by the first try
	} {
		var answer *raffsyncv1.PublishBatchResponse
		eventually(t, "Postgres is used again", func() bool {
			answer, err = client.PublishBatch(withKey(t.Context(), h.keys["till"]), &raffsyncv1.PublishBatchRequest{Events: events(prefix, 10)})
			return status.Code(err) != codes.Unavailable
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.GetResults() {
			if !slices.Contains(want, r.GetStatus()) {
				t.Errorf("%s: %v", prefix, r)
			}
		}
	}
	idle.batch(events("d", 10)...) // its stream has lived through it
	idle.acked(1)
	if n := one[int](h, `SELECT count(*) FROM events WHERE id LIKE 'a-%' OR id LIKE 'b-%'`); n != 20 {
		t.Errorf("%d events", n)
	}
}

func TestCommitter_ReadOnly(t *testing.T) {
	h := newHouse(t)
	s := h.open()
	database := one[string](h, `SELECT current_database()`)
	alter := func(sql string) {
		if _, err := h.db.Exec(t.Context(), "ALTER DATABASE "+database+" "+sql); err != nil {
			t.Fatal(err)
		}
	}
	endWriters := func() {
		column[bool](h, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND datname = current_database()`)
	}
	alter("SET default_transaction_read_only = on")
	endWriters()
	for range 2 { // on the session that is gone, and on a new one
		s.batch(events("a", 10)...)
		acknowledged, err := s.end()
		checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "")
		if acknowledged != 0 {
			t.Errorf("acknowledged %d", acknowledged)
		}
		s = h.open()
	}
	alter("RESET default_transaction_read_only")
	s.batch(events("a", 10)...)
	s.acked(1)
	if n := one[int](h, `SELECT count(*) FROM events`); n != 10 {
		t.Errorf("%d events", n)
	}
}

// Many streams of two sources, on two connections, send ids that others send too,
// break off at random, and send again what was not acknowledged. In the end each
// acknowledged id is there once, and each stream's own keys are in order.
func TestPublish_EachAcknowledgedIDExistsOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := newHouse(t)
	conns := []*grpc.ClientConn{h.connect(), h.connect()}
	const streams, batches = 12, 25
	var all errgroup.Group
	want := make(map[string]bool)
	for n := range streams {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		source := []string{"till", "web"}[n%2]
		var plan [][]*raffsyncv1.Event
		own := 0
		for range batches {
			var batch []*raffsyncv1.Event
			for range random.IntN(40) {
				e := event(fmt.Sprintf("shared-%03d", random.IntN(200)), "shared")
				if random.IntN(3) > 0 {
					own++
					e = event(fmt.Sprintf("%02d-%05d", n, own), fmt.Sprintf("own-%02d-%d", n, random.IntN(4)))
				}
				batch = append(batch, e)
				want[source+" "+e.GetId()] = true
			}
			plan = append(plan, batch)
		}
		all.Go(func() error { return h.sendAll(conns[random.IntN(2)], h.keys[source], plan, random) })
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if twice := column[string](h, `SELECT source || '/' || id FROM events GROUP BY source, id HAVING count(*) > 1`); len(twice) > 0 {
		t.Errorf("there twice: %v", twice)
	}
	got := make(map[string]bool)
	for _, id := range column[string](h, `SELECT s.name || ' ' || e.id FROM events e JOIN sources s ON s.id = e.source`) {
		got[id] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("acknowledged and there:\n%s", diff)
	}
	if n := one[int](h, `SELECT count(*) FROM (SELECT id < lag(id) OVER (PARTITION BY ordering_key ORDER BY accepted_at, seq) AS wrong FROM events WHERE ordering_key LIKE 'own-%') AS o WHERE wrong`); n != 0 {
		t.Errorf("%d events stand before an earlier one of their key", n)
	}
	if n := one[int](h, `SELECT count(*) FROM conflicts`); n != 0 {
		t.Errorf("%d conflicts", n)
	}
}

// sendAll publishes batches until all are acknowledged, over as many streams as that
// takes: it breaks some off.
func (h *house) sendAll(conn *grpc.ClientConn, key string, plan [][]*raffsyncv1.Event, random *rand.Rand) error {
	done := 0
	for done < len(plan) {
		ctx, cancel := context.WithCancel(withKey(context.Background(), key))
		s, err := raffsyncv1.NewIngestServiceClient(conn).Publish(ctx)
		if err != nil {
			cancel()
			return err
		}
		breakAfter := random.IntN(12)
		_ = s.Send(&raffsyncv1.PublishRequest{Frame: &raffsyncv1.PublishRequest_Hello{Hello: &raffsyncv1.Hello{}}})
		base, sent := done, 0
		for frames := 0; done < len(plan) && frames < breakAfter; frames++ {
			for sent < 4+done-base && base+sent < len(plan) {
				sent++
				_ = s.Send(batchFrameOf(uint64(sent), plan[base+sent-1]...)) // an error shows in Recv
			}
			r, err := s.Recv()
			if err != nil {
				cancel()
				return err
			}
			if ack := r.GetAck(); ack != nil {
				done = base + int(ack.GetThroughSequence())
			}
		}
		cancel()
	}
	return nil
}
