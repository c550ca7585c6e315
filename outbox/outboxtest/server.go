package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/migrations"
	"raffsync/outbox/pglocal"
)

// ServerOptions say how a private server runs.
type ServerOptions struct {
	// Fsync turns fsync and full_page_writes on, as in production.
	Fsync bool
	// Settings are further server settings, such as max_connections.
	Settings map[string]string
}

// Server is a private Postgres of one test. Its methods fail the test; they are
// for the test's goroutine only.
type Server struct {
	t      testing.TB
	config pglocal.Config
	pg     *pglocal.Server // nil while it is down
	dsn    string
	made   int
}

// serverTimeout bounds a start or a stop.
const serverTimeout = 2 * time.Minute

var sweepOnce = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	return sweepServers(ctx)
})

// NewServer starts a Postgres for this test, with no database of ours in it, and
// stops and deletes it after the test. The settings are in place at each start;
// ALTER SYSTEM wins over them.
func NewServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	if err := sweepOnce(); err != nil {
		t.Fatalf("outboxtest: clearing away servers that killed tests left: %v", err)
	}
	dir, lock, err := newServerDir()
	if err != nil {
		t.Fatalf("outboxtest: %v", err)
	}
	s := &Server{t: t, config: pglocal.Config{Dir: dir, NoFsync: !options.Fsync, Settings: options.Settings}}
	t.Cleanup(func() {
		s.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
		defer cancel()
		if err := removeServer(ctx, dir, lock); err != nil {
			t.Errorf("outboxtest: %v", err)
		}
	})
	s.Start()
	return s
}

// Start brings the server up again after Stop or Kill; the socket and so every
// DSN stay as they are. It does nothing while the server is up.
func (s *Server) Start() {
	s.t.Helper()
	if s.pg != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	pg, err := pglocal.Start(ctx, s.config)
	if err != nil {
		s.t.Fatalf("outboxtest: %v", err)
	}
	s.pg, s.dsn = pg, pg.DSN("postgres")
}

// Stop shuts the server down in order: sessions are ended, nothing is to recover.
func (s *Server) Stop() {
	s.t.Helper()
	if s.pg == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	pg := s.pg
	s.pg = nil
	if err := pg.Stop(ctx); err != nil {
		s.t.Errorf("outboxtest: %v", err)
	}
}

// Kill is a crash of the server: SIGKILL for its main process, upon which its
// sessions end too. The next Start recovers.
func (s *Server) Kill() {
	s.t.Helper()
	if s.pg == nil {
		s.t.Fatal("outboxtest: Kill of a server that is down")
	}
	if err := syscall.Kill(s.pg.PID(), syscall.SIGKILL); err != nil {
		s.t.Fatalf("outboxtest: %v", err)
	}
	s.Stop() // waits for its end
}

// PID is the server's main process, for signals; 0 while it is down.
func (s *Server) PID() int {
	if s.pg == nil {
		return 0
	}
	return s.pg.PID()
}

// DSN names a database of this server for its superuser.
func (s *Server) DSN(database string) string {
	s.t.Helper()
	dsn, err := onDatabase(s.dsn, database)
	if err != nil {
		s.t.Fatalf("outboxtest: %v", err)
	}
	return dsn
}

// NewDatabase makes a migrated database on this server and returns its DSN.
func (s *Server) NewDatabase() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), databaseTimeout)
	defer cancel()
	s.made++
	name := fmt.Sprintf("test_%d", s.made)
	err := s.exec(ctx, "CREATE DATABASE "+name)
	if err == nil {
		_, err = migrations.Up(ctx, s.DSN(name))
	}
	if err != nil {
		s.t.Fatalf("outboxtest: making a database: %v", err)
	}
	return s.DSN(name)
}

func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// serversDir holds a folder for each private server and beside it, as
// <folder>.lock, the flock of the test process that it belongs to.
func serversDir() (string, error) {
	dir, err := pglocal.DefaultDir("test-servers")
	if err != nil {
		return "", err
	}
	return dir, makeOpenDir(dir)
}

// makeOpenDir makes a folder of pglocal.DefaultDir. The account that root drops
// to has to pass it and the one above, whatever root's umask says.
func makeOpenDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
	}
	if err != nil {
		return fmt.Errorf("no folder for the tests' Postgres: %w; point %s at a running server", err, serverEnv)
	}
	return nil
}

func newServerDir() (string, *os.File, error) {
	parent, err := serversDir()
	if err != nil {
		return "", nil, err
	}
	for {
		dir := filepath.Join(parent, strings.TrimPrefix(newToken(), testPrefix))
		lock, err := tryLock(dir+".lock", syscall.LOCK_EX)
		if err != nil {
			return "", nil, err
		}
		if lock != nil { // nil: a sweep took it for left behind in this moment
			return dir, lock, nil
		}
	}
}

// removeServer deletes a server's folder, then its lock.
func removeServer(ctx context.Context, dir string, lock *os.File) error {
	err := pglocal.Remove(ctx, dir)
	if err == nil {
		err = os.Remove(dir + ".lock")
	}
	return errors.Join(err, unlock(lock))
}

// sweepServers stops and deletes the servers of test processes that are gone.
func sweepServers(ctx context.Context) error {
	parent, err := serversDir()
	if err != nil {
		return err
	}
	locks, err := filepath.Glob(filepath.Join(parent, "*.lock"))
	if err != nil {
		return err
	}
	for _, path := range locks {
		lock, err := tryLock(path, syscall.LOCK_EX)
		if err != nil {
			return err
		}
		if lock == nil {
			continue
		}
		if err := removeServer(ctx, strings.TrimSuffix(path, ".lock"), lock); err != nil {
			return err
		}
	}
	return nil
}
