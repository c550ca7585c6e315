package pglocal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// helperEnv makes this test binary an owner of the cluster in the folder it
// names, in a process of its own that tests can kill.
const helperEnv = "PGLOCAL_TEST_OWN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := ownUntilEOF(dir); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	if err := sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "sweeping what killed tests left:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ownUntilEOF starts a cluster, says "up <pid> <DSN>", and stops it when its standard
// input closes. Of an interrupt it only says so, like a server that drains.
func ownUntilEOF(dir string) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	s, err := Start(context.Background(), Config{Dir: dir, NoFsync: true})
	if err != nil {
		return err
	}
	fmt.Println("up", s.PID(), s.DSN("postgres"))
	go func() {
		for range interrupts {
			fmt.Println("interrupted")
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Stop(context.Background())
}

// owner is a helper process.
type owner struct {
	*exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	server int // the postmaster's pid
	dsn    string
}

func startOwner(t *testing.T, dir string) *owner {
	t.Helper()
	o := &owner{Cmd: exec.Command(os.Args[0])}
	o.Env = append(os.Environ(), helperEnv+"="+dir)
	o.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o.Stderr = os.Stderr
	var err error
	if o.stdin, err = o.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := o.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.lines = bufio.NewScanner(out)
	if err := o.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Process.Kill(); _ = o.Wait() })
	line := o.line(t)
	if _, err := fmt.Sscanf(line, "up %d %s", &o.server, &o.dsn); err != nil {
		t.Fatalf("the helper says %q", line)
	}
	return o
}

func (o *owner) line(t *testing.T) string {
	t.Helper()
	if !o.lines.Scan() {
		t.Fatalf("the helper ended: %v", o.lines.Err())
	}
	return o.lines.Text()
}

// testsDir holds the folders of this package's tests, open to the account that
// root drops to (t.TempDir is closed to it).
func testsDir() string {
	return filepath.Join(os.TempDir(), testsName+strconv.Itoa(os.Geteuid()))
}

const testsName = "raffsync-pglocal-test-"

// newDir returns a folder for a cluster, stopped and removed with the test.
func newDir(t *testing.T) string {
	t.Helper()
	return newDirNamed(t, "")
}

func newDirNamed(t *testing.T, suffix string) string {
	t.Helper()
	if err := makeDirs(testsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(testsDir(), strconv.Itoa(os.Getpid())+"-*"+suffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(context.Background(), dir); err != nil {
			t.Error(err)
		}
		_ = os.Remove(testsDir()) // if it was the last
	})
	return dir
}

// sweep removes what test processes that are gone left behind.
func sweep() error {
	ours := testsDir()
	if os.Geteuid() == 0 { // TestAsOrdinaryUser's too
		ours = filepath.Join(os.TempDir(), testsName+"*")
	}
	left, err := filepath.Glob(filepath.Join(ours, "*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		pid, _, _ := strings.Cut(filepath.Base(dir), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || syscall.Kill(n, 0) == nil {
			continue
		}
		if err := Remove(context.Background(), dir); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(dir)) // if it was the last
	}
	return nil
}

// start starts a cluster that is stopped with the test.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// query runs statements and returns the first value of the last one as text.
func query(t *testing.T, s *Server, sql ...string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value string
	for i, q := range sql {
		if i < len(sql)-1 {
			_, err = conn.Exec(t.Context(), q)
		} else {
			err = conn.QueryRow(t.Context(), q).Scan(&value)
		}
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	return value
}

// writeProgram writes an executable that can be run at once (see extract).
func writeProgram(t *testing.T, path string, text []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
}

// localBinaries skips where no Postgres is installed.
func localBinaries(t *testing.T) Binaries {
	t.Helper()
	f := testFinder(t)
	f.npm = ""
	b, err := f.find(t.Context(), 0)
	if err != nil {
		t.Skipf("not tried on this machine: %v", err)
	}
	return b
}

// testFinder finds what this machine has, and keeps fetched copies in a folder
// of the test.
func testFinder(t *testing.T) finder {
	t.Helper()
	as, err := serverAccount("")
	if err != nil {
		t.Fatal(err)
	}
	return newFinder(filepath.Join(newDir(t), "cache"), as, slog.New(slog.NewTextHandler(t.Output(), nil)))
}
