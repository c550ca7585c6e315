package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"raffsync/connectors/simulator"
)

const (
	// startLimit is how long a platform may take to get ready. It waits itself, up
	// to 10 s, for one of an earlier run to let go of ledger and port.
	startLimit = 20 * time.Second
	// stopLimit is how long it may take to end; it lets go of hanging requests
	// within 2 s.
	stopLimit = 5 * time.Second
	// A platform that died is started again at once, one that keeps dying at
	// doubling intervals up to restartMost.
	restartFirst, restartMost = 100 * time.Millisecond, 5 * time.Second
)

// child is one platform over its successive processes. Its endpoint's URL is set
// before ready is closed, and never again.
type child struct {
	endpoint   Endpoint
	remembered string // path of the file with the address
	faults     simulator.Faults
	command    func(arguments ...string) *exec.Cmd
	log        *slog.Logger
	ready      chan struct{}
}

// run keeps the platform running until ctx ends.
func (c *child) run(ctx context.Context) error {
	wait := restartFirst
	for {
		started := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-c.ready:
		default:
			return fmt.Errorf("demo: platform %s: %w", c.endpoint.Name, err)
		}
		if time.Since(started) > restartMost {
			wait = restartFirst
		}
		c.log.Warn("platform ended and is started again", "error", err, "in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		wait = min(2*wait, restartMost)
	}
}

// once is one process from start to end. It ends by itself, with an error, or
// because ctx does.
func (c *child) once(ctx context.Context) error {
	listen, err := readLine(c.remembered)
	if err != nil {
		return err
	}
	arguments := PlatformCommand{
		Name: c.endpoint.Name, Behaviour: string(c.endpoint.Behaviour), Ledger: c.endpoint.Ledger,
		SecretFile: c.endpoint.SecretFile, Listen: "127.0.0.1:0",
		FaultSeed: c.faults.Seed, FaultPercent: c.faults.Percent, Hang: c.faults.Hang, Slow: c.faults.Slow,
		OutageFirst: c.faults.First, OutageEvery: c.faults.Every, OutageDown: c.faults.Down,
	}
	if listen != "" {
		arguments.Listen = listen
	}
	cmd := c.command(arguments.arguments()...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, problems := &firstLine{got: make(chan []byte, 1)}, &tail{}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, problems, time.Second
	// A process group of its own: the terminal's Ctrl-C is for the broker, whose
	// last deliveries the platforms are still to answer.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	end := func(reason error) error {
		_ = stdin.Close()
		late := time.AfterFunc(stopLimit, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		<-exited
		return reason
	}

	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case line := <-out.got:
		if err := c.announce(line, listen); err != nil {
			return end(err)
		}
	case err := <-exited:
		return c.problem(err, problems, listen)
	case <-limit.C:
		return end(fmt.Errorf("was not ready after %s", startLimit))
	case <-ctx.Done():
		return end(nil)
	}
	select {
	case err := <-exited:
		return c.problem(err, problems, listen)
	case <-ctx.Done():
		return end(nil)
	}
}

// announce makes the address known, here and to the next run.
func (c *child) announce(line []byte, remembered string) error {
	var ready simulator.Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		return fmt.Errorf("said %q where its address was expected", line)
	}
	if ready.Address != remembered {
		if err := writeFile(c.remembered, ready.Address+"\n"); err != nil {
			return fmt.Errorf("remember its address: %w", err)
		}
	}
	select {
	case <-c.ready:
	default:
		c.endpoint.URL = ready.URL
		close(c.ready)
	}
	return nil
}

func (c *child) problem(exit error, problems *tail, listen string) error {
	if said := problems.String(); said != "" {
		exit = errors.New(said)
	} else if exit == nil {
		exit = errors.New("ended by itself")
	}
	if listen != "" {
		exit = fmt.Errorf("%w (it listens on %s, which earlier deliveries point to and %s remembers)", exit, listen, c.remembered)
	}
	return exit
}

func ledgerURL(events string) (string, error) {
	u, err := url.Parse(events)
	if err != nil {
		return "", err
	}
	return u.JoinPath("../ledger").String(), nil
}

// firstLine hands over the first line that is written to it and drops the rest.
type firstLine struct {
	line []byte
	done bool
	got  chan []byte
}

func (w *firstLine) Write(p []byte) (int, error) {
	if w.done {
		return len(p), nil
	}
	text, _, whole := bytes.Cut(p, []byte("\n"))
	w.line = append(w.line, text...)
	if whole || len(w.line) > 4<<10 {
		w.done = true
		w.got <- w.line
	}
	return len(p), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if most := 1 << 10; len(w.text) > most {
		w.text = w.text[len(w.text)-most:]
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.text))
}
