package simulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// platformOf holds a Config as JSON and makes the test binary that platform.
const platformOf = "RAFFSYNC_TEST_PLATFORM"

func TestMain(m *testing.M) {
	text, child := os.LookupEnv(platformOf)
	if !child {
		os.Exit(m.Run())
	}
	var config Config
	err := json.Unmarshal([]byte(text), &config)
	if err == nil {
		signal.Ignore(os.Interrupt)
		err = Run(context.Background(), config, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a platform in a process of its own.
type process struct {
	*exec.Cmd
	Ready
	stdin  io.WriteCloser
	stderr bytes.Buffer
}

func start(t *testing.T, config Config) *process {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), platformOf+"="+string(text))
	p.Stderr = &p.stderr
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		_ = p.Wait()
		t.Fatalf("the platform did not get ready: %v %s", err, p.stderr.String())
	}
	if err := json.Unmarshal(line, &p.Ready); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) base() string { return "http://" + p.Address }

func processConfig(t *testing.T) Config {
	return Config{
		Name: "books", Behaviour: Healthy, Secret: secret, Listen: "127.0.0.1:0",
		Ledger: filepath.Join(t.TempDir(), "ledger"),
	}
}

// waitUntil returns once the condition holds; the test's own deadline ends it.
func waitUntil(t *testing.T, condition func() bool) {
	t.Helper()
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	for !condition() {
		select {
		case <-every.C:
		case <-t.Context().Done():
			t.Fatal("the condition never held")
		}
	}
}

func TestRun_EndsWithItsStandardInput(t *testing.T) {
	p := start(t, processConfig(t))
	s := newSender(t, p.base())
	if r := s.mustDo(t, s.request(t, "k1", "e1", "{}")); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
}

func TestRun_EndsWhileARequestHangs(t *testing.T) {
	config := processConfig(t)
	config.Behaviour, config.Faults = Failing, Faults{Percent: 100, Down: -1, Hang: time.Hour}
	p := start(t, config)
	s := newSender(t, p.base())
	request := s.request(t, keyWith(t, config.Faults.withDefaults(), FaultHang), "e1", "{}")
	var group sync.WaitGroup
	group.Go(func() {
		if r, err := s.do(request); err == nil {
			t.Errorf("answered %d", r.status)
		}
	})
	waitUntil(t, func() bool { return len(requestsOf(t, config.Ledger)) == 1 })
	p.stdin.Close()
	if err := p.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
	group.Wait()
}

func TestRun_Refuses(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":8080", "localhost:0", "192.0.2.1:80"} {
		config := processConfig(t)
		config.Listen = address
		err := Run(t.Context(), config, strings.NewReader(""), io.Discard)
		if err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The one who comes next waits until the one before has let go of ledger and port.
func TestRun_TakesOverFromItsPredecessor(t *testing.T) {
	config := processConfig(t)
	first := start(t, config)
	config.Listen = first.Address
	second := make(chan *process)
	go func() { second <- start(t, config) }()
	s := newSender(t, first.base())
	for i := range 20 {
		s.mustDo(t, s.request(t, fmt.Sprint("k", i), fmt.Sprint("e", i), "{}"))
	}
	first.stdin.Close()
	p := <-second
	if p.Address != first.Address || p.Ready.PID == first.Ready.PID {
		t.Errorf("%+v after %+v", p.Ready, first.Ready)
	}
	s = newSender(t, p.base())
	if r := s.mustDo(t, s.request(t, "k0", "e0", "{}")); !strings.Contains(string(r.body), "repeat") {
		t.Errorf("%s", r.body)
	}
}

func TestRun_GivesUpOnAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := waitFor(t.Context(), syscall.EADDRINUSE, func() (int, error) {
			return 0, fmt.Errorf("listen: %w", syscall.EADDRINUSE)
		})
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("error %v", err)
		}
	})
}

// SIGKILL at moments when lines are being written: what was answered is in the
// ledger, and nothing has an effect twice when everything unanswered is sent again.
func TestRun_SurvivesKill(t *testing.T) {
	const rounds, senders, each = 5, 8, 40
	config := processConfig(t)
	answered := map[string]bool{}
	for round := range rounds {
		p := start(t, config)
		config.Listen = p.Address
		s := newSender(t, p.base())
		var mu sync.Mutex
		count := 0
		var group sync.WaitGroup
		for n := range senders {
			group.Go(func() {
				for i := range each {
					key := fmt.Sprintf("k%d-%d-%d", round, n, i)
					r, err := s.do(s.request(t, key, "e"+key, "{}"))
					if err != nil {
						return // killed
					}
					if r.status != 200 {
						t.Errorf("%s: %d %s", key, r.status, r.body)
					}
					mu.Lock()
					answered[key] = true
					if count++; count == 60+20*round {
						_ = p.Process.Kill()
					}
					mu.Unlock()
				}
			})
		}
		group.Wait()
		_ = p.Process.Kill()
		_ = p.Wait()
		effects := map[string]bool{}
		for _, r := range requestsOf(t, config.Ledger) {
			if r.Result == ResultEffect {
				effects[r.Key] = true
			}
		}
		for key := range answered {
			if !effects[key] {
				t.Errorf("round %d: %s was answered and is not in the ledger", round, key)
			}
		}
	}
	p := start(t, config)
	s := newSender(t, p.base())
	for round := range rounds {
		for n := range senders {
			for i := range each {
				key := fmt.Sprintf("k%d-%d-%d", round, n, i)
				if !answered[key] {
					s.mustDo(t, s.request(t, key, "e"+key, "{}"))
				}
			}
		}
	}
	response, err := s.http.Get(p.base() + "/ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var summary Summary
	if err := json.NewDecoder(response.Body).Decode(&summary); err != nil {
		t.Fatal(err)
	}
	if summary.Effects != rounds*senders*each || summary.Duplicates != 0 {
		t.Errorf("%+v", summary)
	}
}

func requestsOf(t *testing.T, path string) []Request {
	t.Helper()
	var all []Request
	if err := ReadLedger(path, func(r *Request) error { all = append(all, *r); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}
