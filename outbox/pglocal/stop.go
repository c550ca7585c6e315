package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// stopTimeout bounds a shutdown whose context has no deadline.
	stopTimeout = 30 * time.Second
	// quitTimeout bounds the immediate shutdown after it.
	quitTimeout = 5 * time.Second
)

// Stop shuts Postgres down: sessions are ended, transactions rolled back, and a
// checkpoint written. Where that is not done when the context ends, or within
// 30 s, Postgres is stopped without the checkpoint, which Stop reports: nothing
// committed is lost, and the next start recovers. Stopping again, or a Postgres
// that has died meanwhile, is no error. The folder is free for another owner
// when Stop returns. Not safe for concurrent use.
func (s *Server) Stop(ctx context.Context) error {
	if s.stopped {
		return nil
	}
	s.stopped = true
	err := s.halt(ctx)
	if err == nil {
		err = os.RemoveAll(s.cluster.socketDir()) // one in /tmp is not to stay
	}
	if err := errors.Join(err, unlock(s.lock)); err != nil {
		return fmt.Errorf("pglocal: %w", err)
	}
	return nil
}

// Remove stops the cluster of a folder, where it runs, and deletes the folder
// with all its data. ErrInUse where another process owns it; a folder that is not
// there is no error.
func Remove(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c, lock, err := openCluster(Config{Dir: dir})
	if err != nil {
		return err
	}
	defer unlock(lock)
	s := &Server{cluster: c}
	up, err := s.adopt(ctx)
	if up {
		err = s.halt(ctx)
	}
	if err == nil {
		err = errors.Join(removeAll(ctx, c.socketDir()), removeAll(ctx, c.dir))
	}
	if err != nil {
		return fmt.Errorf("pglocal: removing %s: %w", dir, err)
	}
	return nil
}

// removeAll is os.RemoveAll beside an initdb that outlived its owner and goes on
// writing until it misses its files.
func removeAll(ctx context.Context, path string) error {
	for {
		err := os.RemoveAll(path)
		if !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		if cause := pause(ctx); cause != nil {
			return fmt.Errorf("%w (%w)", err, cause)
		}
	}
}

func (s *Server) halt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := s.signal(syscall.SIGINT); err != nil { // "fast shutdown"
		return err
	}
	cause := s.gone(ctx)
	if cause == nil {
		return nil
	}
	if err := s.signal(syscall.SIGQUIT); err != nil { // "immediate shutdown"
		return err
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), quitTimeout)
	defer cancel()
	if err := s.gone(ctx); err != nil {
		return fmt.Errorf("process %d of Postgres does not end: see %s", s.pid, s.cluster.logFile())
	}
	return fmt.Errorf("shutting down took too long (%w): Postgres was stopped at once and will recover at its next start", cause)
}

// signal reaches the postmaster only: its number may be another's by now.
func (s *Server) signal(sig syscall.Signal) error {
	if !s.alive() {
		return nil
	}
	err := syscall.Kill(s.pid, sig)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signalling Postgres (process %d): %w", s.pid, err)
	}
	return nil
}

// alive asks the reaper for our child, the system for an adopted one.
func (s *Server) alive() bool {
	if s.reaped == nil {
		return isPostmaster(s.pid, s.cluster.data())
	}
	select {
	case <-s.reaped:
		return false
	default:
		return true
	}
}

// gone waits until the postmaster has ended.
func (s *Server) gone(ctx context.Context) error {
	for s.alive() {
		if err := pause(ctx); err != nil && s.alive() {
			return err
		}
	}
	return nil
}
