package pglocal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often a condition that has no signal is looked at: a lock, a
// socket, a process that is not our child.
const pollEvery = 20 * time.Millisecond

// tryLock takes an exclusive flock on path, which the kernel gives back when the
// process ends, however it ends. On contention it returns a nil file and what
// the holder wrote into it.
func tryLock(path string) (*os.File, string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, "", err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, "", nil
	}
	defer f.Close()
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, "", fmt.Errorf("locking %s: %w", path, err)
	}
	holder, _ := io.ReadAll(io.LimitReader(f, 100))
	return nil, strings.TrimSpace(string(holder)), nil
}

// unlock gives a lock back now: closing alone would leave it, for a moment, to a
// child that another goroutine has forked and that has not come to its exec.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// lockPatience is how long a folder's owner may take to vanish: one that was
// killed while it forked lives on in that child until its exec.
const lockPatience = 500 * time.Millisecond

// ownCluster makes this process the owner of a cluster's folder.
func ownCluster(path string) (*os.File, error) {
	begin := time.Now()
	f, holder, err := tryLock(path)
	for f == nil && err == nil && time.Since(begin) < lockPatience {
		time.Sleep(pollEvery)
		f, holder, err = tryLock(path)
	}
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("%w (process %s, %s): stop that one, or use another folder or DATABASE_URL", ErrInUse, cmp.Or(holder, "unknown"), path)
	}
	// For the other one's message only: the lock itself is the flock.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// waitLock polls for the lock until the context ends.
func waitLock(ctx context.Context, path string) (*os.File, error) {
	for {
		f, _, err := tryLock(path)
		if f != nil || err != nil {
			return f, err
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", path, err)
		}
	}
}

func pause(ctx context.Context) error {
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
