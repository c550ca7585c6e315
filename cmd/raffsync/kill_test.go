package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const kills = 22

// The real program is killed at random moments while events stream in, and started
// again. Postgres is its own, with fsync on, and is adopted each time.
func TestProgram_SurvivesSIGKILL(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	r := newReceiver(t)
	r.misbehave = func(w http.ResponseWriter, q *http.Request, n int) (handled, effect bool) {
		switch {
		case n%11 == 3: // in trouble, and says so
			w.WriteHeader(http.StatusServiceUnavailable)
			return true, false
		case n%13 == 5: // does it, and does not say so
			hijacked, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				hijacked.Close()
			}
			return true, true
		}
		return false, false
	}
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books:
    webhook: {url: %q, secret: %q}
    breaker: {min_requests: 100000}
routes:
  all: {from: till, to: books, retry: {initial: 20ms, cap: 200ms, attempts: 1000}}
`, r.server.URL, "file:"+in.write("books.secret", receiverSecret)))
	serve := func() *process {
		p := in.start("serve", "--development", "--config", config)
		p.until(`"msg":"ready"`)
		return p
	}
	p := serve()
	key := strings.TrimSpace(in.run("keys", "create", "till"))

	acknowledged := newSet()
	// armed is killed by the next acknowledgement: whoever acknowledges before the
	// commit is caught between the two.
	var armed atomic.Pointer[os.Process]
	c, err := client.New(client.Config{
		Target: in.grpc, Key: key, Name: "kill test", Logger: slog.New(slog.DiscardHandler), RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond, BufferEvents: 256,
		OnResult: func(e *raffsyncv1.Event, result client.Result) {
			if victim := armed.Swap(nil); victim != nil {
				_ = victim.Kill()
			}
			switch result.Status {
			case raffsyncv1.Status_STATUS_ACCEPTED, raffsyncv1.Status_STATUS_DUPLICATE:
				acknowledged.add(e.Id)
			default:
				t.Errorf("event %s: %s", e.Id, result.Status)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	streaming, stopStreaming := context.WithCancel(t.Context())
	defer stopStreaming()
	ran := make(chan error, 1)
	go func() { ran <- c.Run(t.Context()) }()
	sentOrder := make(map[string][]string) // by ordering key; the sender's alone until it ends
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := 0; streaming.Err() == nil; i++ {
			id, orderingKey := fmt.Sprintf("event-%06d", i), fmt.Sprintf("order/%d", i%67)
			if c.Send(streaming, &raffsyncv1.Event{
				Id: id, Type: "order.created", OrderingKey: orderingKey,
				Data: &raffsyncv1.Event_TextData{TextData: fmt.Sprintf(`{"n":%d}`, i)},
			}) != nil {
				return
			}
			sentOrder[orderingKey] = append(sentOrder[orderingKey], id)
			select { // some 200 a second: what matters is that there is always something in flight
			case <-streaming.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	for i := range kills {
		before := acknowledged.len()
		waitUntil(t, func() bool { return acknowledged.len() > before || p.ended() }, func() string {
			return "nothing is acknowledged any more:\n" + p.log.String()
		})
		moment := time.Duration(random.Int64N(int64(300 * time.Millisecond)))
		if i%2 == 0 {
			armed.Store(p.cmd.Process)
			moment = time.Minute // the acknowledgement comes sooner
		}
		select {
		case <-time.After(moment):
		case <-p.done:
		}
		if i%2 == 1 && p.ended() {
			t.Fatalf("the program ended by itself: %v\n%s", p.err, p.log)
		}
		p.signal(syscall.SIGKILL)
		p = serve()
	}
	stopStreaming()
	sender.Wait()
	closing, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Close(closing); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}

	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string {
		return fmt.Sprintf("%d deliveries are still open", query[int](t, db, `SELECT count(*) FROM deliveries`))
	})
	lost, doubled := 0, 0
	for _, id := range acknowledged.list() {
		switch r.effectsOf(id) {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		t.Errorf("of %d acknowledged events %d never took effect and %d did more than once", acknowledged.len(), lost, doubled)
	}
	for orderingKey, ids := range sentOrder {
		if !slices.Equal(r.order[orderingKey], ids) {
			t.Errorf("%s: effects in another order than sent, or not the same: %d against %d", orderingKey, len(r.order[orderingKey]), len(ids))
		}
	}
	checkRequestsAgainstTimeline(t, db, r)
	t.Logf("%d kills, %d events, %d requests", kills, acknowledged.len(), r.count)
	p.signal(syscall.SIGTERM)
	if p.err != nil {
		t.Errorf("a graceful stop: %v\n%s", p.err, p.log)
	}
}

// checkRequestsAgainstTimeline holds that each request on the wire was intended: a
// message that came n times has at least n attempts in the timeline, and of them only
// the last was delivered, while each one before failed or is of unknown outcome.
func checkRequestsAgainstTimeline(t *testing.T, db *pgx.Conn, r *receiver) {
	t.Helper()
	type told struct {
		ID       string
		Outcomes []string
	}
	rows, err := db.Query(t.Context(), `
		SELECT e.id, array_agg(t.state ORDER BY t.at, t.entry) AS outcomes
		  FROM timeline t JOIN events e ON e.seq = t.event WHERE t.what = 'attempt' GROUP BY e.id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[told])
	if err != nil {
		t.Fatal(err)
	}
	attempts := make(map[string][]string)
	for _, x := range all {
		attempts[x.ID] = x.Outcomes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	repeated := 0
	for id, n := range r.raw {
		outcomes := attempts[id]
		if n > 1 {
			repeated++
		}
		if len(outcomes) < n {
			t.Errorf("%s came %d times, and the timeline tells of %d attempts: %v", id, n, len(outcomes), outcomes)
			continue
		}
		for i, state := range outcomes {
			if last := i == len(outcomes)-1; last != (state == "DELIVERED") {
				t.Errorf("%s: attempts came to %v", id, outcomes)
				break
			}
		}
	}
	if repeated == 0 {
		t.Error("no request was ever repeated: the test has lost its teeth")
	}
}

func query[T any](t *testing.T, db *pgx.Conn, sql string) T {
	t.Helper()
	rows, err := db.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// set is written by one goroutine and read by another.
type set struct {
	mu sync.Mutex
	m  map[string]bool
}

func newSet() *set { return &set{m: make(map[string]bool)} }

func (s *set) add(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[v] = true
}

func (s *set) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}

func (s *set) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.m))
}
