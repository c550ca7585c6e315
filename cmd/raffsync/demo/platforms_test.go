package demo

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"raffsync/connectors/simulator"
)

// running is platforms that run, until stop.
type running struct {
	*Platforms
	endpoints []Endpoint
	stop      func()
}

func runPlatforms(t *testing.T, state string) running {
	t.Helper()
	p, err := NewPlatforms(PlatformsConfig{State: state, Logger: quiet, Faults: simulator.Faults{Percent: -1, Down: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return runningOf(t, p)
}

func runningOf(t *testing.T, p *Platforms) running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stopped := false
	r := running{Platforms: p, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(r.stop)
	var err error
	if r.endpoints, err = p.Ready(t.Context()); err != nil {
		cancel()
		t.Fatalf("%v: %v", err, <-ended)
	}
	return r
}

// post sends a signed order as the broker would.
func post(t *testing.T, to Endpoint, key, body string) int {
	t.Helper()
	secret, err := readLine(to.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := hook.Sign(key, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.GetBody = nil
	request.Close = true
	request.Header = http.Header{
		"Webhook-Id": {key}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {signature}, "Idempotency-Key": {key},
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func totals(t *testing.T, p *Platforms) (effects, duplicates, refused int64) {
	t.Helper()
	summaries, err := p.Ledgers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range summaries {
		effects, duplicates, refused = effects+s.Effects, duplicates+s.Duplicates, refused+s.Refused
	}
	return effects, duplicates, refused
}

func TestPlatforms_Run(t *testing.T) {
	r := runPlatforms(t, t.TempDir())
	var got []string
	for _, e := range r.endpoints {
		got = append(got, e.Name+" "+string(e.Behaviour))
		if status := post(t, e, "k1", `{"lines":[{"sku":"LATTE"}]}`); status != 200 {
			t.Errorf("%s answered %d", e.Name, status)
		}
		if status := post(t, e, "k1", `{"lines":[{"sku":"LATTE"}]}`); status != 200 {
			t.Errorf("%s answered %d", e.Name, status)
		}
		info, err := os.Stat(e.SecretFile)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	if diff := cmp.Diff([]string{"books healthy", "webstore failing", "stock strict"}, got); diff != "" {
		t.Error(diff)
	}
	if status := post(t, r.endpoints[2], "k2", `{"lines":[{"sku":"LATTE-OAT"}]}`); status != 422 {
		t.Errorf("the strict platform answered %d", status)
	}
	if effects, duplicates, refused := totals(t, r.Platforms); effects != 3 || duplicates != 0 || refused != 1 {
		t.Errorf("%d effects, %d duplicate, %d refused", effects, duplicates, refused)
	}
}

// The next run has the same addresses, secrets and ledgers: stored destinations
// refer to them.
func TestPlatforms_KeepTheirIdentity(t *testing.T) {
	state := t.TempDir()
	first := runPlatforms(t, state)
	secret, err := readLine(first.endpoints[0].SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	post(t, first.endpoints[0], "k1", "{}")
	first.stop()
	second := runPlatforms(t, state)
	if diff := cmp.Diff(first.endpoints, second.endpoints); diff != "" {
		t.Error(diff)
	}
	if again, _ := readLine(second.endpoints[0].SecretFile); again != secret {
		t.Error("the secret is another one")
	}
	post(t, second.endpoints[0], "k1", "{}")
	if effects, _, _ := totals(t, second.Platforms); effects != 1 {
		t.Errorf("%d effects", effects)
	}
}

func TestPlatforms_RestartAChildThatDies(t *testing.T) {
	r := runPlatforms(t, t.TempDir())
	post(t, r.endpoints[1], "k1", "{}")
	before, err := r.Ledgers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Ctrl-C in a terminal goes to the group of the parent, not to the platforms.
	if group, err := syscall.Getpgid(before[1].PID); err != nil || group != before[1].PID {
		t.Errorf("process %d is in group %d: %v", before[1].PID, group, err)
	}
	if err := syscall.Kill(before[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the platform is there again", func() bool {
		after, err := r.Ledgers(t.Context())
		return err == nil && after[1].PID != before[1].PID && after[1].Effects == 1 && after[0].PID == before[0].PID
	})
	if status := post(t, r.endpoints[1], "k1", "{}"); status != 200 {
		t.Errorf("answered %d", status)
	}
	if effects, duplicates, _ := totals(t, r.Platforms); effects != 1 || duplicates != 0 {
		t.Errorf("%d effects, %d duplicate", effects, duplicates)
	}
}

// A SIGKILL of the parent leaves no platform behind: each lets go of its ledger.
func TestPlatforms_EndWithTheirParent(t *testing.T) {
	state := t.TempDir()
	parent := exec.Command(os.Args[0], "parent", state)
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, e := range theThree {
		secret, err := readLine(filepath.Join(state, "platforms", e.Name+".secret"))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, e.Name+" has ended", func() bool {
			p, err := simulator.New(simulator.Config{
				Name: e.Name, Behaviour: e.Behaviour, Secret: secret,
				Ledger: filepath.Join(state, "platforms", e.Name+".ledger"),
			})
			if err != nil {
				return false
			}
			return p.Close() == nil
		})
	}
}

func TestPlatforms_SayWhyOneDoesNotStart(t *testing.T) {
	state := t.TempDir()
	p, err := NewPlatforms(PlatformsConfig{State: state, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(state, "platforms", "books.ledger")
	if err := os.WriteFile(ledger, []byte("not a ledger\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = p.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "platform books") || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("error %v", err)
	}
	if _, err := p.Ready(t.Context()); err == nil {
		t.Error("it is ready")
	}
}
