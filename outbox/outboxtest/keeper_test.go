package outboxtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/pglocal"
)

// TestHelper_UseDatabase is no test: TestKeeper runs it in processes of its own.
func TestHelper_UseDatabase(t *testing.T) {
	if os.Getenv(nameEnv) == "" {
		t.Skip("only for TestKeeper, which runs it")
	}
	fmt.Println("database", NewDatabase(t))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// user is another test binary that uses a shared cluster.
type user struct {
	*exec.Cmd
	stdin io.WriteCloser
	dsn   string
}

func startUser(t *testing.T, instance string) *user {
	t.Helper()
	u := &user{Cmd: exec.Command(os.Args[0], "-test.run=^TestHelper_UseDatabase$")}
	u.Env = append(os.Environ(), nameEnv+"="+instance)
	u.Stderr = os.Stderr
	var err error
	if u.stdin, err = u.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := u.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Process.Kill(); _ = u.Wait() })
	lines := bufio.NewScanner(out)
	var said []string
	for lines.Scan() {
		if dsn, ok := strings.CutPrefix(lines.Text(), "database "); ok {
			u.dsn = dsn
			return u
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("a user of the cluster ended: %s", strings.Join(said, "\n"))
	return nil
}

func (u *user) finish(t *testing.T) {
	t.Helper()
	_ = u.stdin.Close()
	if err := u.Wait(); err != nil {
		t.Errorf("a user of the cluster: %v", err)
	}
}

func (u *user) kill(t *testing.T) {
	t.Helper()
	if err := u.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = u.Wait()
}

// value runs a query of one text in the user's database.
func (u *user) value(t *testing.T, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), u.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value string
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

const (
	startedAt     = `SELECT pg_postmaster_start_time()::text`
	testDatabases = `SELECT count(*)::text FROM pg_database WHERE datname LIKE 'raffsync\_test\_%'`
)

func TestKeeper(t *testing.T) {
	t.Parallel()
	if os.Getenv(serverEnv) != "" {
		t.Skipf("not tried here: %s names a server that is not ours", serverEnv)
	}
	sweepInstances(t)
	instance := instancePrefix + strconv.Itoa(os.Getpid())
	bin, err := pglocal.Find(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := pglocal.DefaultDir(instance + "-" + strconv.Itoa(bin.Major))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pglocal.Remove(context.Background(), home(dir).cluster()), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})

	// Test binaries that begin together share one Postgres.
	users := make([]*user, 3)
	done := make(chan int)
	for i := range users {
		go func() {
			defer func() { done <- i }()
			users[i] = startUser(t, instance)
		}()
	}
	for range users {
		<-done
	}
	if t.Failed() {
		t.FailNow()
	}
	for _, u := range users[1:] {
		if a, b := users[0].value(t, startedAt), u.value(t, startedAt); a != b {
			t.Errorf("two servers for one run: started at %s and %s", a, b)
		}
	}
	// One that begins later clears nothing away that is in use.
	later := startUser(t, instance)
	if got := later.value(t, testDatabases); got != "4" {
		t.Errorf("%s databases of tests, want one for each of 4 users", got)
	}
	later.finish(t)
	// It is there for the one who is left, and then it goes; a killed user
	// counts for nothing.
	users[0].kill(t)
	users[1].finish(t)
	users[2].value(t, startedAt)
	users[2].kill(t)
	waitUntilStopped(t, home(dir))

	// The next one starts it again and clears away the databases of the killed.
	u := startUser(t, instance)
	if got := u.value(t, testDatabases); got != "1" {
		t.Errorf("%s databases of tests, want only the user's own", got)
	}
	// A keeper that is killed leaves Postgres to the next one's keeper.
	started := u.value(t, startedAt)
	keeper := keeperPID(t, dir)
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.kill(t)
	next := startUser(t, instance)
	if got := next.value(t, startedAt); got != started {
		t.Errorf("the server started at %s was not adopted: this one started at %s", started, got)
	}
	next.finish(t)
	waitUntilStopped(t, home(dir))
}

const instancePrefix = "selftest-"

// sweepInstances removes what a killed TestKeeper left.
func sweepInstances(t *testing.T) {
	t.Helper()
	any, err := pglocal.DefaultDir(instancePrefix)
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(any + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range left {
		name, _, _ := strings.Cut(strings.TrimPrefix(dir, any), "-")
		if pid, err := strconv.Atoi(name); err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		if err := errors.Join(pglocal.Remove(t.Context(), home(dir).cluster()), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	}
}

// waitUntilStopped waits until the keeper has gone, and checks what it left.
func waitUntilStopped(t *testing.T, h home) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), keeperTimeout)
	defer cancel()
	lock, err := waitLock(ctx, h.keeper(), syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock(lock)
	if _, err := os.Stat(h.address()); !errors.Is(err, fs.ErrNotExist) {
		said, _ := os.ReadFile(h.log())
		t.Errorf("the keeper ended without stopping Postgres: %s", said)
	}
	if _, err := pglocal.Attach(ctx, pglocal.Config{Dir: h.cluster()}); !errors.Is(err, pglocal.ErrNotRunning) {
		t.Errorf("after the keeper's end: %v, want no Postgres running", err)
	}
}

// keeperPID is the owner that pglocal's lock file names.
func keeperPID(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home(dir).cluster(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
