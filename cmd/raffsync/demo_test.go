package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a new user sees: the demo comes up, GraphQL shows deliveries that arrived, that
// wait with a reason, and that need action; it survives a SIGKILL without a duplicate
// at the platforms, and Ctrl-C stops all of it, Postgres too.
func TestProgram_Demo(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	p := in.start("demo", "--rate", "40")
	p.until("Try")
	screen := p.log.String()
	for _, text := range []string{"Raffs Sync · Postgres", "http://" + in.http, in.grpc, "books (healthy)", "webstore (failing on purpose)", "stock (strict)", "story 1042 --state " + in.state, "demo --rate 40 "} {
		if !strings.Contains(screen, text) {
			t.Errorf("the first screen does not show %q:\n%s", text, screen)
		}
	}
	login, err := os.ReadFile(filepath.Join(in.state, loginFile))
	if err != nil {
		t.Fatal(err)
	}
	api := &apiClient{t: t, url: "http://" + in.http + "/graphql", name: demoOperator, secret: strings.TrimSpace(string(login))}

	var board struct {
		Totals     struct{ Delivered, NeedsAction int }
		Deliveries struct {
			Nodes []struct {
				State   string
				Waiting *struct{ Reason string }
			}
		}
		Exceptions struct {
			Nodes []struct {
				Class, Code string
				HeldCount   int
				Destination struct{ Name string }
			}
		}
		Destinations []struct {
			Name    string
			Breaker struct{ State, Reason string }
		}
	}
	waits := func() bool {
		for _, d := range board.Deliveries.Nodes {
			if d.Waiting != nil && d.Waiting.Reason != "" {
				return true
			}
		}
		return false
	}
	waitUntil(t, func() bool {
		api.query(`{ totals { delivered needsAction }
			deliveries(first: 50, filter: {state: WAITING}) { nodes { state waiting { reason } } }
			exceptions(first: 10, filter: {open: true}) { nodes { class code heldCount destination { name } } }
			destinations { name breaker { state reason } } }`, &board)
		return board.Totals.Delivered > 50 && board.Totals.NeedsAction > 0 && waits() && len(board.Exceptions.Nodes) > 0
	}, func() string { return fmt.Sprintf("GraphQL never showed all of it: %+v\n%s", board, p.log) })
	if x := board.Exceptions.Nodes[len(board.Exceptions.Nodes)-1]; x.Class != "SKU_UNMAPPED" || x.Code != "LATTE-OAT" || x.Destination.Name != "stock" {
		t.Errorf("the exception is %+v, want the missing SKU at stock", x)
	}
	clearsTheMissingItem(t, in, p, api)
	if status := api.status("wrong"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret gets status %d", status)
	}
	if out := in.run("story", "1042"); !strings.Contains(out, "order.created") || !strings.Contains(out, "stock") {
		t.Errorf("the story of the first order:\n%s", out)
	}

	p.signal(syscall.SIGKILL)
	p = in.start("demo", "--rate", "40")
	p.until("Try")
	if !strings.Contains(p.log.String(), strings.TrimSpace(string(login))) {
		t.Error("the login did not stay")
	}
	before := board.Totals.Delivered
	waitUntil(t, func() bool {
		api.query(`{ totals { delivered needsAction } }`, &board)
		return board.Totals.Delivered > before+100
	}, func() string { return "it does not go on after SIGKILL:\n" + p.log.String() })
	totals := regexp.MustCompile(`platforms count \d+, (\d+) duplicate`)
	waitUntil(t, func() bool { return totals.MatchString(p.log.String()) }, func() string { return "no line of totals:\n" + p.log.String() })
	for _, line := range totals.FindAllStringSubmatch(p.log.String(), -1) {
		if line[1] != "0" {
			t.Errorf("duplicates at the platforms: %s", line[0])
		}
	}

	p.signal(syscall.SIGINT)
	if p.err != nil {
		t.Errorf("Ctrl-C: %v\n%s", p.err, p.log)
	}
	if dsn, err := os.ReadFile(filepath.Join(in.state, addressFile)); err != nil || answers(t.Context(), string(dsn)) {
		t.Errorf("Postgres is still there after Ctrl-C (%v)", err)
	}
	log, err := os.ReadFile(filepath.Join(in.state, demoLogFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{strings.TrimSpace(string(login)), "LATTE", "whsec_"} {
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("the log holds %q, a secret or part of a payload", secret)
		}
	}
}

// clearsTheMissingItem runs the command that the first screen offers: what waited for the
// item goes out, and arrives.
func clearsTheMissingItem(t *testing.T, in *installation, p *process, api *apiClient) {
	t.Helper()
	waitUntil(t, func() bool { return strings.Contains(p.log.String(), "No mapping for sku LATTE-OAT: ") }, func() string { return "the screen does not tell:\n" + p.log.String() })
	offered := regexp.MustCompile(`raffsync (mappings set \S+ \S+ LATTE-OAT=\S+ --reason \S+)`).FindStringSubmatch(p.log.String())
	if offered == nil {
		t.Fatalf("the first screen offers no command:\n%s", p.log)
	}
	in.run(strings.Fields(offered[1])...)
	var board struct {
		Totals     struct{ NeedsAction int }
		Exceptions struct {
			Nodes []struct {
				Status    string
				HeldCount int
			}
		}
	}
	waitUntil(t, func() bool { // both, which are read one after the other
		api.query(`{ totals { needsAction } exceptions(first: 10, filter: {class: "SKU_UNMAPPED"}) { nodes { status heldCount } } }`, &board)
		cleared := board.Totals.NeedsAction == 0 && len(board.Exceptions.Nodes) > 0
		for _, x := range board.Exceptions.Nodes {
			cleared = cleared && x.Status == "RESOLVED" && x.HeldCount == 0
		}
		return cleared
	}, func() string { return fmt.Sprintf("it still needs action: %+v\n%s", board, p.log) })
}

// apiClient asks GraphQL as an operator.
type apiClient struct {
	t                 *testing.T
	url, name, secret string
}

func (c *apiClient) query(text string, into any) {
	c.t.Helper()
	response := c.post(text, c.secret)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) > 0 {
		c.t.Fatalf("GraphQL answers %s: %s", response.Status, body)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		c.t.Fatal(err)
	}
}

func (c *apiClient) status(secret string) int {
	c.t.Helper()
	response := c.post(`{ viewer { name } }`, secret)
	response.Body.Close()
	return response.StatusCode
}

func (c *apiClient) post(text, secret string) *http.Response {
	c.t.Helper()
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(c.name, secret)
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	return response
}
