package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// handover is how long a process waits for its predecessor, whose standard
	// input has just ended, to let go of ledger and port.
	handover = 10 * time.Second
	// farewell is how long requests in flight have when the platform stops.
	farewell = 2 * time.Second
)

// Ready is the one line of JSON that [Run] prints once it serves.
type Ready struct {
	Platform string `json:"platform"`
	PID      int    `json:"pid"`
	// Address is host and port, URL where events are posted to.
	Address string `json:"address"`
	URL     string `json:"url"`
}

// Run is a platform as a process: it serves on config.Listen, says on stdout that
// it is [Ready], and returns nil when ctx or stdin ends. An error is one of the
// configuration, the address or the ledger.
//
// One goroutine goes on reading stdin where ctx ended first.
func Run(ctx context.Context, config Config, stdin io.Reader, stdout io.Writer) error {
	address, err := netip.ParseAddrPort(config.Listen)
	if err != nil || !address.Addr().IsLoopback() {
		return fmt.Errorf("platform %s: cannot listen on %q: a loopback address with a port is needed, such as 127.0.0.1:0", config.Name, config.Listen)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		stop()
	}()

	p, err := waitFor(ctx, errLocked, func() (*Platform, error) { return New(config) })
	if err != nil {
		return unlessEnded(ctx, err)
	}
	listener, err := waitFor(ctx, syscall.EADDRINUSE, func() (net.Listener, error) {
		return net.Listen("tcp", config.Listen)
	})
	if err != nil {
		return errors.Join(unlessEnded(ctx, fmt.Errorf("platform %s: %w", config.Name, err)), p.Close())
	}
	return errors.Join(p.serve(ctx, listener, stdout), p.Close())
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// waitFor tries again for as long as a predecessor may be in the way.
func waitFor[T any](ctx context.Context, inTheWay error, try func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, handover)
	defer cancel()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		got, err := try()
		if !errors.Is(err, inTheWay) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, err
		case <-every.C:
		}
	}
}

func (p *Platform) serve(ctx context.Context, listener net.Listener, stdout io.Writer) error {
	server := &http.Server{
		Handler:           p.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute, // longer than a request hangs on purpose
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	address := listener.Addr().String()
	ready, err := json.Marshal(Ready{Platform: p.name, PID: os.Getpid(), Address: address, URL: "http://" + address + "/events"})
	if err != nil {
		return err
	}
	if _, err := stdout.Write(append(ready, '\n')); err != nil {
		return errors.Join(fmt.Errorf("platform %s: say that it is ready: %w", p.name, err), listener.Close())
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("platform %s: serve: %w", p.name, err)
		}
		return nil
	})
	tasks.Go(func() error {
		select {
		case <-p.ledger.failed:
			return fmt.Errorf("platform %s: the ledger cannot be written: %w", p.name, p.ledger.broken())
		case <-ctx.Done():
			return nil
		}
	})
	tasks.Go(func() error {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if server.Shutdown(limited) != nil {
			// Requests that hang are what is left.
			return server.Close()
		}
		return nil
	})
	return tasks.Wait()
}
