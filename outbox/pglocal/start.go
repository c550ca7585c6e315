package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Server is a running cluster that this process owns.
type Server struct {
	cluster   *cluster
	lock      *os.File
	socketDir string
	version   string
	pid       int
	adopted   bool
	reaped    chan struct{} // closed when our child has ended; nil if adopted
	stopped   bool
}

// Start brings the cluster up, or adopts it where it runs already, and returns
// when it accepts connections. After a crash that takes as long as recovery
// does: bound it with the context. When the context ends first, a Postgres that
// was launched here is stopped again. Beside ErrInUse, ErrNoBinaries and
// ErrVersion the error says what Postgres said last.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	return open(ctx, cfg, true)
}

// Attach takes over a cluster that runs already, of an owner that is gone; it
// starts none: ErrNotRunning.
func Attach(ctx context.Context, cfg Config) (*Server, error) {
	if _, err := os.Stat(cfg.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pglocal: %w", ErrNotRunning)
	}
	return open(ctx, cfg, false)
}

func open(ctx context.Context, cfg Config, launch bool) (*Server, error) {
	c, lock, err := openCluster(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cluster: c, lock: lock}
	if err := s.bringUp(ctx, launch); err != nil {
		_ = unlock(lock)
		return nil, fmt.Errorf("pglocal: %w", err)
	}
	return s, nil
}

func (s *Server) bringUp(ctx context.Context, launch bool) error {
	for begin := time.Now(); ; {
		up, err := s.adopt(ctx)
		if err != nil || up {
			return err
		}
		if !launch {
			return ErrNotRunning
		}
		err = s.launch(ctx)
		if err == nil || !transient(err) || time.Since(begin) > retryFor {
			return err
		}
		s.cluster.logger.Info("starting Postgres once more", "after", err)
		if cause := pause(ctx); cause != nil {
			return fmt.Errorf("%w (%w)", err, cause)
		}
	}
}

// retryFor bounds the repeats of a launch that fails by what should pass.
const retryFor = 10 * time.Second

// transient tells two failures to launch that pass: backends of a killed
// postmaster that linger for a moment, and a postmaster of an owner killed
// while it was launching that has come up meanwhile.
func transient(err error) bool {
	text := err.Error()
	return strings.Contains(text, "pre-existing shared memory block") ||
		strings.Contains(text, `lock file "postmaster.pid" already exists`)
}

// adopt waits for a postmaster that lives, be it busy with its recovery or with
// its shutdown, and reports whether one is up in the end.
func (s *Server) adopt(ctx context.Context) (bool, error) {
	c := s.cluster
	for {
		pm, err := c.readPidFile()
		if err != nil || pm == nil {
			return false, err
		}
		alive := isPostmaster(pm.pid, c.data())
		version, err := c.probe(ctx, pm.socketDir)
		switch {
		case err == nil:
			s.socketDir, s.version, s.pid = pm.socketDir, version, pm.pid
			s.adopted, s.reaped = true, nil
			return true, nil
		case errors.Is(err, errRefused):
			return false, err
		case !alive:
			return false, c.forget(pm)
		}
		if cause := pause(ctx); cause != nil {
			return false, fmt.Errorf("the Postgres that runs in %s (process %d) accepts no connections: %w (%w)", c.dir, pm.pid, err, cause)
		}
	}
}

// launch starts the postmaster and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	c := s.cluster
	bin, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	if err := c.as.privateDir(c.socketDir()); err != nil {
		return fmt.Errorf("the socket's folder: %w", err)
	}
	log, err := c.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	// No CommandContext: the context bounds the start, not the server's life.
	cmd := exec.Command(filepath.Join(bin.Dir, "postgres"), "-D", c.data())
	c.as.become(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s as %s: %w", cmd.Path, c.as.name, err)
	}
	s.pid, s.socketDir = cmd.Process.Pid, c.socketDir()
	s.reaped = make(chan struct{})
	go func(reaped chan<- struct{}) {
		_ = cmd.Wait()
		close(reaped)
	}(s.reaped)
	if err := s.await(ctx, begin); err != nil {
		abandon, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(err, s.halt(abandon))
	}
	c.logger.Debug("Postgres is up", "version", s.version, "binaries", bin.Dir, "from", bin.From)
	return nil
}

// await polls the launched postmaster until it lets us in, it ends, or the
// context does.
func (s *Server) await(ctx context.Context, logged int64) error {
	slow := time.NewTicker(5 * time.Second)
	defer slow.Stop()
	for {
		version, err := s.cluster.probe(ctx, s.socketDir)
		if err == nil {
			s.version = version
			return nil
		}
		if errors.Is(err, errRefused) {
			return err
		}
		select {
		case <-s.reaped:
			return fmt.Errorf("while starting, Postgres ended: %s (see %s)", s.cluster.lastWords(logged, 3), s.cluster.logFile())
		case <-slow.C:
			s.cluster.logger.Info("waiting for Postgres", "says", s.cluster.lastWords(logged, 1))
		default:
		}
		if cause := pause(ctx); cause != nil {
			return fmt.Errorf("waiting for Postgres to accept connections: %w (%w); it said: %s", err, cause, s.cluster.lastWords(logged, 1))
		}
	}
}

// logLimit is the size, in bytes, past which a launch begins a new log.
const logLimit = 8 << 20

func (c *cluster) openLog() (*os.File, error) {
	if info, err := os.Stat(c.logFile()); err == nil && info.Size() > logLimit {
		if err := os.Rename(c.logFile(), c.logFile()+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(c.logFile(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// lastWords are the last lines that Postgres logged since an offset.
func (c *cluster) lastWords(since int64, count int) string {
	log, err := os.Open(c.logFile())
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	text, err := io.ReadAll(io.NewSectionReader(log, since, 1<<20))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, "database system is shut down") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines[max(0, len(lines)-count):], "; ")
}

// DSN is a connection string for the superuser and the named database; who may
// use it is a matter of the socket's folder.
func (s *Server) DSN(database string) string { return dsn(s.socketDir, database) }

// Version is the server's version as it gives it, such as "15.14 (Debian …)".
func (s *Server) Version() string { return s.version }

// Adopted tells that the cluster was running when Start or Attach came.
func (s *Server) Adopted() bool { return s.adopted }

// PID is the postmaster's process.
func (s *Server) PID() int { return s.pid }
