package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// child is a process that answers a line of JSON with a line of JSON.
type child struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	said   *tail
	exited chan struct{} // closed once it has ended
}

// childStop is how long a child has to end by itself once its input ends.
const childStop = 30 * time.Second

// startChild starts a program. The context's end kills it.
func startChild(ctx context.Context, name string, environment []string, path string, arguments ...string) (*child, error) {
	c := &child{name: name, cmd: exec.CommandContext(ctx, path, arguments...), said: &tail{}, exited: make(chan struct{})}
	// A process group of its own: the terminal's Ctrl-C is for the bench alone.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Env, c.cmd.Stderr = environment, c.said
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	c.in, c.cmd.Stdout, c.out = in, writer, bufio.NewScanner(reader)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait()
		writer.Close()
		close(c.exited)
	}()
	return c, nil
}

// read takes the child's next line.
func (c *child) read(answer any) error {
	if !c.out.Scan() {
		<-c.exited
		return fmt.Errorf("%s ended; it said last: %s", c.name, c.said)
	}
	return json.Unmarshal(c.out.Bytes(), answer)
}

// call asks and waits for the answer.
func (c *child) call(request, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	// Where it has ended, reading says why.
	_, _ = c.in.Write(append(line, '\n'))
	return c.read(answer)
}

// stop ends the child's input and waits for it to end.
func (c *child) stop() error {
	_ = c.in.Close()
	late := time.NewTimer(childStop)
	defer late.Stop()
	select {
	case <-c.exited:
	case <-late.C:
		c.kill()
		return fmt.Errorf("%s did not end in %s; it said last: %s", c.name, childStop, c.said)
	}
	if !c.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %s; it said last: %s", c.name, c.cmd.ProcessState, c.said)
	}
	return nil
}

// kill ends the child at once, by SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// tail keeps the end of what a child says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-2048):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return "nothing"
	}
	return string(t.text)
}
