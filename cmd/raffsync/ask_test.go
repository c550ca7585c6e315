package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raffsync/connectors/client"
	"raffsync/connectors/simulator"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// A platform recognises no repeats, takes events and drops the connection, hangs, and
// answers with garbage; and the program is killed while it waits for an answer to what
// has been taken. The platform can be asked: each event has one effect there.
func TestProgram_OneEffectWhereThePlatformCanBeAsked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	books, err := simulator.New(simulator.Config{
		Name: "books", Behaviour: simulator.Failing, Forgetful: true, Secret: receiverSecret, Ledger: path,
		Faults: simulator.Faults{Seed: 7, Percent: 40, Down: -1, Hang: 2 * time.Second, Slow: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	platform := books.Handler()
	// armed is killed once the platform has taken the next event, before it says so.
	var armed atomic.Pointer[os.Process]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			if victim := armed.Swap(nil); victim != nil {
				func() {
					defer func() { _ = recover() }() // a fault of the platform breaks the connection
					platform.ServeHTTP(httptest.NewRecorder(), q)
				}()
				_ = victim.Kill()
				panic(http.ErrAbortHandler)
			}
		}
		platform.ServeHTTP(w, q)
	}))
	t.Cleanup(func() {
		if err := books.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})

	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books:
    webhook: {url: "%[1]s/events", secret: %[2]q, idempotent: false, ask: {url: "%[1]s/events/{id}"}}
    timeout: 500ms
    breaker: {min_requests: 100000}
routes:
  all: {from: till, to: books, retry: {initial: 20ms, cap: 200ms, attempts: 1000}}
`, server.URL, "file:"+in.write("books.secret", receiverSecret)))
	serve := func() *process {
		p := in.start("serve", "--development", "--config", config)
		p.until(`"msg":"ready"`)
		return p
	}
	p := serve()
	key := strings.TrimSpace(in.run("keys", "create", "till"))
	c, err := client.New(client.Config{Target: in.grpc, Key: key, Name: "ask test", Logger: slog.New(slog.DiscardHandler), RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(t.Context()) }()

	const events, keys, murders = 120, 60, 4
	want := make(map[string][]string)
	for i := range events {
		if i%(events/murders) == events/murders/2 {
			armed.Store(p.cmd.Process)
		}
		id, orderingKey := fmt.Sprintf("event-%03d", i), fmt.Sprintf("order/%d", i%keys)
		want[orderingKey] = append(want[orderingKey], id)
		if err := c.Send(t.Context(), &raffsyncv1.Event{
			Id: id, Type: "order.created", OrderingKey: orderingKey, Data: &raffsyncv1.Event_TextData{TextData: `{}`},
		}); err != nil {
			t.Fatal(err)
		}
		if i%(events/murders) == events/murders-1 {
			waitUntil(t, p.ended, func() string { return "nothing was sent after it was armed:\n" + p.log.String() })
			p = serve()
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	db := in.database()
	waitUntil(t, func() bool { return query[int](t, db, `SELECT count(*) FROM deliveries`) == 0 }, func() string {
		return fmt.Sprintf("%d deliveries are still open\n%s", query[int](t, db, `SELECT count(*) FROM deliveries`), p.log)
	})

	if s := books.Summary(); s.Effects != events || s.Duplicates != 0 {
		t.Errorf("of %d events the platform has %d effects, %d of them duplicates", events, s.Effects, s.Duplicates)
	}
	order := make(map[string][]string)
	if err := simulator.ReadLedger(path, func(r *simulator.Request) error {
		if r.Result == simulator.ResultEffect {
			order[r.OrderingKey] = append(order[r.OrderingKey], r.Event)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for orderingKey, ids := range want {
		if !slices.Equal(order[orderingKey], ids) {
			t.Errorf("%s: effects %v, sent %v", orderingKey, order[orderingKey], ids)
		}
	}
	for what, sql := range map[string]string{
		"found by asking":                `SELECT count(*) FROM timeline WHERE detail ? 'asked' AND state = 'DELIVERED' AND detail ->> 'externalId' LIKE 'books-%'`,
		"surely not there":               `SELECT count(*) FROM timeline WHERE detail ? 'asked' AND state = 'WAITING' AND kind = 0`,
		"taken over from a dead process": `SELECT count(*) FROM timeline WHERE detail ->> 'rule' = 'owner died'`,
	} {
		n := query[int](t, db, sql)
		if n == 0 {
			t.Errorf("none was %s: the test has lost its teeth", what)
		}
		t.Logf("%d %s", n, what)
	}
	p.signal(syscall.SIGTERM)
}
