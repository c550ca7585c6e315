package pglocal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStart(t *testing.T) {
	t.Parallel()
	sources := map[string]func(*testing.T) Binaries{
		"LocalBinaries": localBinaries,
		"NpmPackage":    npmBinaries,
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := source(t)
			dir := newDir(t)
			s := start(t, Config{Dir: dir, BinDir: bin.Dir, Settings: map[string]string{"work_mem": "7MB"}})
			if !strings.HasPrefix(s.Version(), strconv.Itoa(bin.Major)) || s.Adopted() {
				t.Errorf("Version %q, Adopted %v; want %d, false", s.Version(), s.Adopted(), bin.Major)
			}
			for setting, want := range map[string]string{
				"listen_addresses": "", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
				"max_connections": "200", "work_mem": "7MB", "server_encoding": "UTF8", "data_checksums": "on",
			} {
				if got := query(t, s, "SHOW "+setting); got != want {
					t.Errorf("%s = %q, want %q", setting, got, want)
				}
			}
			if info, err := os.Stat(s.socketDir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the socket's folder: %v, %v; want mode 0700", info.Mode(), err)
			}
			query(t, s, "CREATE TABLE kept (x int)", "INSERT INTO kept VALUES (42) RETURNING x::text")
			stop(t, s)
			if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err == nil {
				t.Error("the pid file is still there after Stop")
			}
			again := start(t, Config{Dir: dir, BinDir: bin.Dir})
			if got := query(t, again, "SELECT x::text FROM kept"); got != "42" {
				t.Errorf("after a restart the row is %q", got)
			}
		})
	}
}

func TestStart_AsRootDropsToAnAccount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not tried here: these tests do not run as root")
	}
	s := start(t, Config{Dir: newDir(t), NoFsync: true})
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/"+strconv.Itoa(s.PID()), &st); err != nil {
		t.Skipf("the owner of a process can't be asked for here: %v", err)
	}
	if st.Uid == 0 || st.Uid != s.cluster.as.uid {
		t.Errorf("Postgres runs as uid %d, want %d", st.Uid, s.cluster.as.uid)
	}
}

// TestAsOrdinaryUser runs tests of this package once more without root's rights.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not needed: these tests run as an ordinary user already")
	}
	// The folders of `go test` and of root are closed to that user.
	home := newDir(t)
	binary := filepath.Join(home, "pglocal.test")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, binary, text)
	if err := os.Chown(home, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.timeout=5m",
		"-test.run=^(TestStart|TestStart_Adopts.*|TestStart_RefusesDirectories.*)$")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "npm_config_cache="+filepath.Join(home, "npm"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Fatalf("as uid %d: %v", nobodyID, err)
	}
}

func TestStart_AdoptsWhatAKilledOwnerLeft(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first := startOwner(t, dir)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	s := start(t, Config{Dir: dir})
	if !s.Adopted() || s.PID() != first.server {
		t.Errorf("Adopted %v, process %d; want the running one, %d", s.Adopted(), s.PID(), first.server)
	}
	if got := query(t, s, "SELECT 'here'"); got != "here" {
		t.Error(got)
	}
	stop(t, s)
	if isPostmaster(first.server, s.cluster.data()) {
		t.Error("the adopted Postgres runs on after Stop")
	}
	if _, err := Attach(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Attach to a stopped cluster: %v, want ErrNotRunning", err)
	}
}

func TestStart_SurvivesInterruptOfTheGroup(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	o := startOwner(t, dir)
	if err := syscall.Kill(-o.Process.Pid, syscall.SIGINT); err != nil { // what Ctrl-C does
		t.Fatal(err)
	}
	if line := o.line(t); line != "interrupted" {
		t.Fatalf("the helper says %q", line)
	}
	conn, err := pgx.Connect(t.Context(), o.dsn)
	if err != nil {
		t.Fatalf("while the owner drains: %v", err)
	}
	defer conn.Close(t.Context())
	if err := conn.Ping(t.Context()); err != nil {
		t.Errorf("while the owner drains: %v", err)
	}
	_ = o.stdin.Close()
	if err := o.Wait(); err != nil {
		t.Errorf("the owner's Stop: %v", err)
	}
}

func TestStart_OneOwner(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	var (
		wg      sync.WaitGroup
		servers = make([]*Server, 5)
		errs    = make([]error, len(servers))
	)
	for i := range servers {
		wg.Go(func() { servers[i], errs[i] = Start(t.Context(), Config{Dir: dir, NoFsync: true}) })
	}
	wg.Wait()
	owners := 0
	for i, s := range servers {
		if s != nil {
			owners++
			defer s.Stop(context.Background())
		} else if !errors.Is(errs[i], ErrInUse) || !strings.Contains(errs[i].Error(), strconv.Itoa(os.Getpid())) {
			t.Errorf("a second owner gets %v; want ErrInUse with the owner's process", errs[i])
		}
	}
	if owners != 1 {
		t.Errorf("%d owners", owners)
	}
}

func TestStart_RecoversAfterACrash(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Config{Dir: dir, NoFsync: true})
	query(t, s, "CREATE TABLE kept (x int)", "INSERT INTO kept VALUES (42) RETURNING x::text")
	idle, err := pgx.Connect(t.Context(), s.DSN("postgres")) // its backend outlives the postmaster for a moment
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close(t.Context())
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.reaped
	stop(t, s)
	again := start(t, Config{Dir: dir, NoFsync: true})
	if got := query(t, again, "SELECT x::text FROM kept"); got != "42" || again.Adopted() {
		t.Errorf("after a crash the row is %q, Adopted %v", got, again.Adopted())
	}
}

func TestStart_StalePidFileOfALivingProcess(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := start(t, Config{Dir: dir, NoFsync: true})
	pidFile := s.cluster.pidFile()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.reaped
	stop(t, s)

	stranger := exec.Command("cat")
	s.cluster.as.become(stranger)
	in, err := stranger.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = stranger.Wait() }()
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := start(t, Config{Dir: dir, NoFsync: true}); again.Adopted() {
		t.Error("adopted a stranger")
	}
}

func TestStart_LongPath(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: newDirNamed(t, strings.Repeat("-long", 20)+", it's odd"), NoFsync: true})
	if !strings.HasPrefix(s.socketDir, "/tmp/raffsync-") {
		t.Errorf("the socket is in %s", s.socketDir)
	}
	query(t, s, "SELECT ''")
	stop(t, s)
	if _, err := os.Stat(s.socketDir); err == nil {
		t.Errorf("%s is still there after Stop", s.socketDir)
	}
}

func TestStart_ContextEnds(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	stop(t, start(t, Config{Dir: dir, NoFsync: true}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{Dir: dir, NoFsync: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a context that has ended: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err == nil {
		t.Error("a Postgres was left running")
	}
	start(t, Config{Dir: dir, NoFsync: true})
}
