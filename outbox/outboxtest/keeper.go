package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"raffsync/outbox/pglocal"
)

// keeperEnv makes a test binary the keeper of the shared cluster in the folder it
// names; keeperBinEnv holds the folder of the server's binaries.
const (
	keeperEnv    = "RAFFSYNC_OUTBOXTEST_KEEP"
	keeperBinEnv = "RAFFSYNC_OUTBOXTEST_KEEP_BIN"
)

// The keeper takes over before any test: a test binary has no other moment that
// does not ask each package for a TestMain.
func init() {
	if dir := os.Getenv(keeperEnv); dir != "" {
		if err := keep(home(dir), os.Getenv(keeperBinEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// home is the folder of the shared cluster.
type home string

func (h home) users() string   { return filepath.Join(string(h), "users.lock") }
func (h home) keeper() string  { return filepath.Join(string(h), "keeper.lock") }
func (h home) log() string     { return filepath.Join(string(h), "keeper.log") }
func (h home) cluster() string { return filepath.Join(string(h), "pg") }

// address is a file with the DSN of the database postgres. It is there from when
// Postgres is up until it is stopped in order.
func (h home) address() string { return filepath.Join(string(h), "address") }

// startKeeper starts a keeper and hands the lock on keeper.lock over to it.
func startKeeper(h home, binDir string, lock *os.File) error {
	defer lock.Close() // not unlock: the keeper's copy goes on holding it
	log, err := os.Create(h.log())
	if err != nil {
		return err
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Dir = string(h)
	cmd.Env = append(os.Environ(), keeperEnv+"="+string(h), keeperBinEnv+"="+binDir)
	cmd.Stdout, cmd.Stderr = log, log // ours would keep `go test` waiting
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// keeperTimeout bounds the keeper's start and its end.
const keeperTimeout = 2 * time.Minute

// keep runs the cluster while it has users. The lock on keeper.lock came with the
// process, as file 3, and is given back before the one on users.lock, so that a
// user who gets the latter sees rightly whether a keeper is there.
func keep(h home, binDir string) error {
	inherited := os.NewFile(3, h.keeper())
	syscall.CloseOnExec(3) // Postgres would hold the lock after us
	defer inherited.Close()
	ctx, cancel := context.WithTimeout(context.Background(), keeperTimeout)
	defer cancel()
	swept := sweepServers(ctx)
	pg, err := openCluster(ctx, h, binDir)
	if err != nil {
		return errors.Join(err, swept)
	}
	if err := os.WriteFile(h.address()+".new", []byte(pg.DSN("postgres")), 0o600); err != nil {
		return errors.Join(err, pg.Stop(ctx))
	}
	if err := os.Rename(h.address()+".new", h.address()); err != nil {
		return errors.Join(err, pg.Stop(ctx))
	}

	users, err := os.OpenFile(h.users(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return errors.Join(err, pg.Stop(ctx))
	}
	defer users.Close()
	if err := flockUntilAlone(users); err != nil {
		return errors.Join(err, pg.Stop(ctx))
	}

	ctx, cancel = context.WithTimeout(context.Background(), keeperTimeout)
	defer cancel()
	err = pg.Stop(ctx)
	if err == nil {
		err = os.Remove(h.address())
	}
	return errors.Join(err, sweepServers(ctx), inherited.Close())
}

// flockUntilAlone waits in the kernel; signals of the runtime interrupt the call.
func flockUntilAlone(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// openCluster starts or adopts the cluster. Without fsync, one that was not
// stopped in order may be damaged without a sign: it is made anew, as is one that
// does not start.
func openCluster(ctx context.Context, h home, binDir string) (*pglocal.Server, error) {
	config := pglocal.Config{Dir: h.cluster(), BinDir: binDir, NoFsync: true, Settings: testSettings}
	pg, err := pglocal.Attach(ctx, config)
	if err == nil || !errors.Is(err, pglocal.ErrNotRunning) {
		return pg, err
	}
	if _, err := os.Stat(h.address()); !errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(pglocal.Remove(ctx, h.cluster()), os.Remove(h.address())); err != nil {
			return nil, err
		}
	}
	if pg, err = pglocal.Start(ctx, config); err == nil {
		return pg, nil
	}
	if removed := pglocal.Remove(ctx, h.cluster()); removed != nil {
		return nil, errors.Join(err, removed)
	}
	return pglocal.Start(ctx, config)
}

// testSettings keep a cluster small that holds many short-lived databases. (What
// bears on semantics, such as synchronous_commit, stays as in production.)
var testSettings = map[string]string{
	"max_wal_size":       "256MB",
	"autovacuum_naptime": "10min", // it visits every database, and dropping waits for it
	"log_min_messages":   "error",
}
