package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// replica is one `raffsync serve`, started again whenever it ends.
type replica struct {
	name       string
	http, grpc string
	proxy      *proxy
	clock      time.Duration // by how much it is to be wrong
	command    func() *exec.Cmd
	log        *os.File

	mu      sync.Mutex
	process *os.Process // nil while it is not running
	frozen  bool
	starts  atomic.Int64
}

const (
	restartAfter = 100 * time.Millisecond
	farewell     = 20 * time.Second // of a replica that is asked to stop
)

// keep runs the process until ctx ends, and stops it then in good order.
func (r *replica) keep(ctx context.Context) {
	for ctx.Err() == nil {
		cmd := r.command()
		cmd.Stdout, cmd.Stderr = r.log, r.log
		cmd.SysProcAttr = detached()
		r.mu.Lock()
		err := cmd.Start()
		if err == nil {
			r.process, r.frozen = cmd.Process, false
			r.starts.Add(1)
		}
		r.mu.Unlock()
		if err != nil {
			fmt.Fprintln(r.log, "cannot be started:", err)
			pause(ctx, time.Second)
			continue
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-ctx.Done():
			r.signal(syscall.SIGCONT)
			r.signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(farewell):
				r.signal(syscall.SIGKILL)
				<-ended
			}
		}
		r.mu.Lock()
		r.process = nil
		r.mu.Unlock()
		pause(ctx, restartAfter)
	}
}

// signal reports whether there was a process to send it to.
func (r *replica) signal(s syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process != nil && r.process.Signal(s) == nil
}

// freeze stops the process for d: it neither renews its lease nor hears of anything.
func (r *replica) freeze(ctx context.Context, d time.Duration) bool {
	if !r.signal(syscall.SIGSTOP) {
		return false
	}
	pause(ctx, d)
	return r.signal(syscall.SIGCONT)
}

// ready waits until the process serves.
func (r *replica) ready(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	for {
		answer, err := client.Get("http://" + r.http + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("%s does not get ready: %w; see %s", r.name, err, r.log.Name())
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
