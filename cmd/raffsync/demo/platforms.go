package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/connectors/simulator"
)

// Endpoint is where a platform receives, and how.
type Endpoint struct {
	Name      string
	Behaviour simulator.Behaviour
	// URL is where webhooks are posted to. It stays the same from run to run.
	URL string
	// SecretFile holds the whsec_ secret that they are signed with.
	SecretFile string
	// Ledger is the path of the platform's ledger.
	Ledger string
}

// PlatformsConfig is where the platforms keep their things.
type PlatformsConfig struct {
	// State is the demo's folder; it is made where it is missing.
	State string
	// Command makes the process of a platform from its arguments: this program
	// itself where it is nil.
	Command func(arguments ...string) *exec.Cmd
	// Faults is when the failing platform fails.
	Faults simulator.Faults
	// Logger hears of platforms that died; slog.Default() where nil.
	Logger *slog.Logger
}

// Platforms are the simulated platforms, each a process of its own.
type Platforms struct {
	children []*child
	http     *http.Client
	ended    chan struct{} // closed when Run returns
}

// theThree are the platforms of the demo, in the order of the screen.
var theThree = []Endpoint{
	{Name: "books", Behaviour: simulator.Healthy},
	{Name: "webstore", Behaviour: simulator.Failing},
	{Name: "stock", Behaviour: simulator.Strict},
}

// NewPlatforms makes the state folder and the secrets that are missing.
func NewPlatforms(config PlatformsConfig) (*Platforms, error) {
	if config.Command == nil {
		program, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("demo: find this program: %w", err)
		}
		config.Command = func(arguments ...string) *exec.Cmd { return exec.Command(program, arguments...) }
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	state, err := filepath.Abs(filepath.Join(config.State, "platforms"))
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := makeFolder(state); err != nil {
		return nil, err
	}
	p := &Platforms{
		http:  &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
		ended: make(chan struct{}),
	}
	for _, endpoint := range theThree {
		file := func(kind string) string { return filepath.Join(state, endpoint.Name+"."+kind) }
		endpoint.SecretFile, endpoint.Ledger = file("secret"), file("ledger")
		if err := ensureSecret(endpoint.SecretFile); err != nil {
			return nil, fmt.Errorf("demo: secret of %s: %w", endpoint.Name, err)
		}
		p.children = append(p.children, &child{
			endpoint: endpoint, remembered: file("address"), faults: config.Faults,
			command: config.Command, log: config.Logger.With("platform", endpoint.Name),
			ready: make(chan struct{}),
		})
	}
	return p, nil
}

// ensureSecret makes a Standard Webhooks secret of 32 random bytes where there is none.
func ensureSecret(path string) error {
	secret, err := readLine(path)
	if err != nil || secret != "" {
		return err
	}
	random := make([]byte, 32)
	rand.Read(random)
	return writeFile(path, "whsec_"+base64.StdEncoding.EncodeToString(random)+"\n")
}

// Run keeps the platforms running until ctx ends, and returns nil when all of them
// have ended. A platform that never got ready is an error; one that dies later is
// started again.
func (p *Platforms) Run(ctx context.Context) error {
	defer close(p.ended)
	defer p.http.CloseIdleConnections()
	tasks, ctx := errgroup.WithContext(ctx)
	for _, c := range p.children {
		tasks.Go(func() error { return c.run(ctx) })
	}
	return tasks.Wait()
}

// Ready returns where the platforms receive, once all of them do.
func (p *Platforms) Ready(ctx context.Context) ([]Endpoint, error) {
	var endpoints []Endpoint
	for _, c := range p.children {
		select {
		case <-c.ready:
			endpoints = append(endpoints, c.endpoint)
		case <-p.ended:
			return nil, errors.New("demo: the platforms have ended")
		case <-ctx.Done():
			return nil, fmt.Errorf("demo: platform %s is not ready: %w", c.endpoint.Name, ctx.Err())
		}
	}
	return endpoints, nil
}

// Ledgers asks the platforms what their ledgers come to. One that is just being
// started again is an error.
func (p *Platforms) Ledgers(ctx context.Context) ([]simulator.Summary, error) {
	endpoints, err := p.Ready(ctx)
	if err != nil {
		return nil, err
	}
	summaries := make([]simulator.Summary, len(endpoints))
	tasks, ctx := errgroup.WithContext(ctx)
	for i, endpoint := range endpoints {
		tasks.Go(func() error {
			if err := p.ledger(ctx, endpoint, &summaries[i]); err != nil {
				return fmt.Errorf("demo: ledger of %s: %w", endpoint.Name, err)
			}
			return nil
		})
	}
	return summaries, tasks.Wait()
}

func (p *Platforms) ledger(ctx context.Context, endpoint Endpoint, into *simulator.Summary) error {
	address, err := ledgerURL(endpoint.URL)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
