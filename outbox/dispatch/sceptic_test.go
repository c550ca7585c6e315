package dispatch_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// booksVariable tells a replica in a process of its own where the books are: it then makes
// orders and invoices there.
const booksVariable = "RAFFSYNC_DISPATCH_BOOKS"

// mortal is the connector of a replica that is killed: it says who it is.
type mortal struct{ bookkeeper }

func (m mortal) Send(ctx context.Context, request connectors.Request) connectors.Outcome {
	r := request.(bookRequest)
	r.url += "?from=mortal"
	return m.bookkeeper.Send(ctx, r)
}

// runBookkeeper is a replica that works on the shop's books until it is killed.
func runBookkeeper(dsn, address string) {
	store, err := outbox.Open(context.Background(), outbox.Config{DSN: dsn, AllowUnsafe: true, Lease: testLease})
	if err != nil {
		panic(err)
	}
	applied, err := store.ConfigurationOf(context.Background(), "kopi")
	if err != nil {
		panic(err)
	}
	d, err := dispatch.New(dispatch.Config{Store: store, Lease: testLease})
	if err != nil {
		panic(err)
	}
	plan := testPlan(applied.Names, map[string]*platform{"books": newPlatform(nil)})
	served := &books{Server: &httptest.Server{URL: address}}
	plan.Destinations[applied.Names.Destinations["books"]].Connector = mortal{bookkeeper{served}}
	shopSteps(plan, outbox.SkipExisting)
	d.SetPlan(plan)
	fmt.Println("ready")
	_ = d.Run(context.Background())
}

// What the sceptic asks for: five snapshots of one order come by webhook and by a poller, by
// keys of their own, over two replicas of which one is killed with requests on the wire that
// are taken and never answered. The platform recognises no repeats, and can be asked. There
// is one order and one invoice of each.
func TestDispatcher_FiveSnapshotsMakeOneOrderAndOneInvoice(t *testing.T) {
	t.Parallel()
	b, served := newShop(t, outbox.SkipExisting)
	const answered, hanging = 3, 4
	var arrived atomic.Int32
	hung := make(chan struct{}, 1000)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("from") != "mortal" {
			served.ServeHTTP(w, r)
			return
		}
		if arrived.Add(1) <= answered {
			served.ServeHTTP(w, r)
			return
		}
		served.ServeHTTP(httptest.NewRecorder(), r) // taken
		hung <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(front.Close)
	mortal := b.startBookkeeper(front.URL)
	b.start()
	b.until("the lanes are shared", `SELECT count(*) = 2 AND min(n) = 32 FROM (SELECT count(*) AS n FROM lanes WHERE replica IS NOT NULL GROUP BY replica) AS held`)
	const orders, snapshots = 30, 5
	var batch []outbox.Entry
	for s := range snapshots {
		for o := range orders {
			order := fmt.Sprint(o)
			key := []string{"webhook/", "poller/"}[s%2] + order
			batch = append(batch, b.snapshot("sales", fmt.Sprintf("%s/%d", key, s), key, order, fmt.Sprint("as of ", s)))
		}
	}
	b.append(batch...)
	for range hanging {
		select {
		case <-hung:
		case <-time.After(time.Minute):
			t.Fatal("the replica sends too little")
		}
	}
	if err := mortal.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.untilDrained()
	counts := make(map[string]int)
	for _, d := range served.all() {
		counts[d.Reference]++
	}
	if len(counts) != 2*orders {
		t.Errorf("%d things are in the books, want %d orders with an invoice each", len(counts), orders)
	}
	for reference, n := range counts {
		if n != 1 {
			t.Errorf("%s is there %d times", reference, n)
		}
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE state = 'DELIVERED'`); n != orders*snapshots {
		t.Errorf("%d deliveries are delivered, want %d", n, orders*snapshots)
	}
	if n := value[int](b, `SELECT count(*) FROM timeline WHERE detail ? 'asked' AND kind = 1`); n < hanging {
		t.Errorf("%d of the requests that hung were found by asking, want %d", n, hanging)
	}
	unsettled := values[string](b, `SELECT e::text FROM effects e WHERE revision <> 1 OR lane IS NOT NULL OR unknown_at IS NOT NULL
UNION ALL SELECT 'waits: ' || w::text FROM effect_waits w`)
	for _, u := range unsettled {
		t.Errorf("not settled: %s; the ledger has %q", u, values[string](b, `SELECT e::text FROM effects e ORDER BY effect`))
	}
}

func (b *books) all() []document {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.documents)
}

// startBookkeeper starts a replica in a process of its own.
func (b *bench) startBookkeeper(address string) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+b.dsn, booksVariable+"="+address)
	cmd.Stderr = b.t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		b.t.Fatalf("the replica said %q (%v)", line, err)
	}
	return cmd
}
