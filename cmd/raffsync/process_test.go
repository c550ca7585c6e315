package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/pglocal"
)

// binary builds the program once for all tests: what they run is what users run.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "raffsync-binary-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "raffsync")
	out, err := exec.Command("go", "build", "-o", path, "raffsync/cmd/raffsync").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

var built string // folder of the binary, "" while there is none

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// installation is a folder that the program runs from, with ports of its own and an
// embedded Postgres of its own.
type installation struct {
	t          testing.TB
	state      string
	http, grpc string
	env        []string // more of the environment
}

func newInstallation(t testing.TB) *installation {
	t.Helper()
	in := &installation{t: t, state: filepath.Join(t.TempDir(), "state"), http: freeAddress(t), grpc: freeAddress(t)}
	t.Cleanup(func() {
		dir, err := pglocal.DefaultDir(instanceName(in.state))
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := pglocal.Remove(ctx, dir); err != nil {
			t.Error(err)
		}
	})
	return in
}

// ports are below those that systems give to connections (from 32,768 on Linux), so that
// no connection takes one between its choice and its use.
const (
	firstPort = 10_000
	manyPorts = 20_000
)

var portsTried atomic.Uint32

// freeAddress is an address that nothing listens on, each time another.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range manyPorts {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+(uint32(os.Getpid())*97+portsTried.Add(1))%manyPorts)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return ""
}

// command is the program with arguments, in this installation.
func (in *installation) command(arguments ...string) *exec.Cmd {
	in.t.Helper()
	path, err := binary()
	if err != nil {
		in.t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"--state", in.state}, arguments...)...)
	cmd.Env = append(environWithout("DATABASE_URL", "MAKELEVEL"), "RAFFSYNC_HTTP="+in.http, "RAFFSYNC_GRPC="+in.grpc, "RAFFSYNC_METRICS=127.0.0.1:0")
	cmd.Env = append(cmd.Env, in.env...)
	return cmd
}

func environWithout(names ...string) []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(names, name)
	})
}

// run runs a command to its end, and returns what it printed.
func (in *installation) run(arguments ...string) (stdout string) {
	in.t.Helper()
	stdout, stderr, code := in.try(arguments...)
	if code != 0 {
		in.t.Fatalf("raffsync %s: exit status %d\n%s%s", strings.Join(arguments, " "), code, stdout, stderr)
	}
	return stdout
}

func (in *installation) try(arguments ...string) (stdout, stderr string, code int) {
	in.t.Helper()
	return in.finish(in.command(arguments...))
}

// finish runs a command to its end.
func (in *installation) finish(cmd *exec.Cmd) (stdout, stderr string, code int) {
	in.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		in.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// process is a running command.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan struct{} // closed when it has ended
	err  error
}

// syncBuffer is written by a process and read by a test.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a command until it ends or the test does.
func (in *installation) start(arguments ...string) *process {
	in.t.Helper()
	p := &process{t: in.t, cmd: in.command(arguments...), log: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	// A group of its own, as a shell gives it: what the test's terminal is told is not
	// for it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	in.t.Cleanup(func() { p.signal(syscall.SIGKILL) })
	return p
}

// signal sends a signal to the process, and for one that ends it waits for that.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	_ = p.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Errorf("the process did not end within a minute of %s\n%s", s, p.log)
	}
}

// until waits until the process has printed the text.
func (p *process) until(text string) {
	p.t.Helper()
	waitUntil(p.t, func() bool { return strings.Contains(p.log.String(), text) || p.ended() }, func() string {
		return fmt.Sprintf("%q was never printed:\n%s", text, p.log)
	})
	if !strings.Contains(p.log.String(), text) {
		p.t.Fatalf("the process ended (%v) and had not printed %q:\n%s", p.err, text, p.log)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// waitUntil waits for a condition, at most two minutes.
func waitUntil(t testing.TB, ok func() bool, why func() string) {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatal(why())
		case <-tick.C:
		}
	}
}

// database connects to the installation's embedded Postgres while a process runs.
func (in *installation) database() *pgx.Conn {
	in.t.Helper()
	dsn, err := os.ReadFile(filepath.Join(in.state, addressFile))
	if err != nil {
		in.t.Fatal(err)
	}
	conn, err := pgx.Connect(in.t.Context(), string(dsn))
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// write puts a file into the installation, and returns its path.
func (in *installation) write(name, content string) string {
	in.t.Helper()
	path := filepath.Join(filepath.Dir(in.state), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		in.t.Fatal(err)
	}
	return path
}
