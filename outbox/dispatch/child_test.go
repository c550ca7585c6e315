package dispatch_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// childVariable tells a test binary to be a replica on this database.
const childVariable = "RAFFSYNC_DISPATCH_CHILD"

// runChild is a replica in a process of its own. It says on standard output what it
// sends, and answers "delivered" to a request once a line comes on standard input.
func runChild(dsn string) {
	store, err := outbox.Open(context.Background(), outbox.Config{DSN: dsn, AllowUnsafe: true, Lease: testLease})
	if err != nil {
		panic(err)
	}
	applied, err := store.ConfigurationOf(context.Background(), "kopi")
	if err != nil {
		panic(err)
	}
	input := bufio.NewReader(os.Stdin)
	slow := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		fmt.Println("sent", s.ID, s.Key)
		if _, err := input.ReadString('\n'); err != nil {
			os.Exit(0)
		}
		return delivered
	})
	d, err := dispatch.New(dispatch.Config{Store: store, Lease: testLease})
	if err != nil {
		panic(err)
	}
	d.SetPlan(testPlan(applied.Names, map[string]*platform{"books": slow}))
	_ = d.Run(context.Background())
}

// child is a replica in a process of its own.
type child struct {
	cmd   *exec.Cmd
	out   *bufio.Reader
	input interface{ Write([]byte) (int, error) }
}

func (b *bench) startChild() *child {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+b.dsn)
	cmd.Stderr = b.t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	input, err := cmd.StdinPipe()
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
	return &child{cmd: cmd, out: bufio.NewReader(out), input: input}
}

// untilSent waits until the child has put a request on the wire, and returns its key.
func (b *bench) untilSent(c *child) (key string) {
	b.t.Helper()
	line, err := c.out.ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) != 3 || fields[0] != "sent" {
		b.t.Fatalf("the replica said %q (%v)", line, err)
	}
	return fields[2]
}

func (b *bench) checkTakenOver(books *platform, key string) {
	b.t.Helper()
	b.untilDrained()
	requests := books.seen()
	if len(requests) != 1 || requests[0].Key != key || requests[0].Attempt != 2 {
		b.t.Errorf("the successor sent %+v, want the second request of key %s", requests, key)
	}
	states := values[string](b, `SELECT concat_ws(' ', attempt, kind, state) FROM timeline WHERE what = 'attempt' ORDER BY at, entry`)
	if len(states) != 2 || states[0] != "1 3 WAITING" || states[1] != "2 1 DELIVERED" {
		b.t.Errorf("the timeline tells of the attempts %q, want one of unknown outcome and one delivered", states)
	}
	if n := value[int](b, `SELECT sum(delivered)::int FROM tallies`); n != 1 {
		b.t.Errorf("the tallies count %d delivered, want 1", n)
	}
}

// A replica is killed in the middle of a request: another takes its lanes over when
// the lease has ended, and gives the request the outcome that is true: unknown.
func TestDispatcher_TakesOverFromADeadReplica(t *testing.T) {
	t.Parallel()
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books})
	c := b.startChild()
	b.append(b.entry("sales", "a", "order/1", "books"))
	key := b.untilSent(c)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.checkTakenOver(books, key)
}

// The fourth of the ten bugs: a replica is frozen for longer than its lease and then
// wakes up. Nothing that it brings is stored.
func TestDispatcher_StoresNothingOfALostLease(t *testing.T) {
	t.Parallel()
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books})
	c := b.startChild()
	b.append(b.entry("sales", "a", "order/1", "books"))
	key := b.untilSent(c)
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.checkTakenOver(books, key)

	// It wakes up with an answer in hand, and joins anew: as another, with lanes of its own.
	if _, err := c.input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.until("it has joined anew", `SELECT count(*) = 2 AND min(n) = 32 FROM (SELECT count(*) AS n FROM lanes WHERE replica IS NOT NULL GROUP BY replica) AS held`)
	b.checkTakenOver(books, key)
}

// The first of the ten bugs: one writer's transaction began earlier and commits later
// than another's, in the same lane. Both are delivered, and neither waits for the other.
func TestDispatcher_SeesALateCommit(t *testing.T) {
	t.Parallel()
	books := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books})
	b.start()
	late, other := b.writer, func() *outbox.Writer {
		w, err := b.store.OpenWriter(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close(context.Background()) })
		return w
	}()
	// An unrelated transaction is open all the time, with a snapshot and a number.
	idle, err := b.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Rollback(context.Background())
	if _, err := idle.Exec(t.Context(), `SELECT pg_current_xact_id(), count(*) FROM deliveries`); err != nil {
		t.Fatal(err)
	}
	// The late one waits for somebody who holds the id that it is about to insert.
	holder, err := b.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.Background())
	if _, err := holder.Exec(t.Context(), `INSERT INTO event_ids (tenant, source, id, hash, seq) VALUES ('kopi', $1, 'z-held', '', 0)`, b.applied.Names.Sources["till"]); err != nil {
		t.Fatal(err)
	}
	early, sameLane := b.entry("sales", "a-late", "order/1", "books"), b.keyInLaneOf("order/1")
	done := make(chan error, 1)
	go func() {
		_, err := late.Append(t.Context(), []outbox.Entry{early, b.entry("sales", "z-held", "order/1", "books")})
		done <- err
	}()
	b.until("the late one waits", `SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND wait_event_type = 'Lock' AND datname = current_database()`)
	appendBy(b, other, b.entry("sales", "prompt", sameLane, "books"))
	b.until("the prompt one is delivered", `SELECT count(*) = 1 FROM timeline WHERE state = 'DELIVERED'`)
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.until("the late ones are delivered too", `SELECT count(*) = 3 FROM timeline WHERE state = 'DELIVERED'`)
}

// keyInLaneOf is another ordering key of the same lane.
func (b *bench) keyInLaneOf(key string) string {
	lane := outbox.LaneOf(outbox.KeyHash("kopi", key), b.store.Lanes())
	for i := 0; ; i++ {
		other := fmt.Sprintf("other/%d", i)
		if outbox.LaneOf(outbox.KeyHash("kopi", other), b.store.Lanes()) == lane {
			return other
		}
	}
}
