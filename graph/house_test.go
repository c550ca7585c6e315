package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
	"raffsync/outbox/view"
)

// house is the API over HTTP, on a database of its own with two tenants, each with an
// operator "op-<tenant>" whose secret is "secret-<tenant>".
type house struct {
	api    *API
	server *httptest.Server
	store  *outbox.Store
	owner  *pgxpool.Pool
	view   *view.View
	reads  *counter // statements of the view
	log    *logbook

	source       map[string]int32 // of each tenant: "till"
	destinations map[string]int32 // of tenant kopi: books, stock, webstore
	writer       *outbox.Writer
	sent         int
}

// counter counts the statements of a pool.
type counter struct{ statements atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var tenants = []string{"kopi", "teh"}

func openHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	dsn := outboxtest.NewDatabase(t)
	h := &house{reads: &counter{}, log: &logbook{}, source: make(map[string]int32), destinations: make(map[string]int32)}
	var err error
	if h.store, err = outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.store.Close)
	h.owner = openPool(t, dsn, "", nil)
	h.view = view.New(openPool(t, dsn, "raffsync_api", h.reads))
	for _, tenant := range tenants {
		if err := h.store.SetOperator(t.Context(), outbox.Actor{Tenant: tenant, Name: "test"}, "op-"+tenant, "secret-"+tenant); err != nil {
			t.Fatal(err)
		}
		h.source[tenant] = h.number(t, `INSERT INTO sources (tenant, name) VALUES ($1, 'till') RETURNING id`, tenant)
	}
	for _, name := range []string{"books", "stock", "webstore"} {
		h.destinations[name] = h.number(t, `INSERT INTO destinations (tenant, name) VALUES ('kopi', $1) RETURNING id`, name)
	}
	if h.writer, err = h.store.OpenWriter(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.writer.Close(context.Background()) })
	config := Config{
		View: h.view, Operators: h.store, Transitions: h.store, Replays: testReplays{h.store}, Jobs: h.store, Edits: h.store, Verdicts: testVerdicts{h.store}, Mappings: h.store, Previews: testPreviews{h.store}, Development: true,
		Log: slog.New(slog.NewTextHandler(h.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	if h.api, err = New(config); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.api.Run(ctx) }()
	h.server = httptest.NewServer(h.api)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		h.server.Close()
		if t.Failed() {
			t.Logf("log:\n%s", h.log)
		}
	})
	return h
}

func openPool(t testing.TB, dsn, role string, tracer *counter) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 8
	params := config.ConnConfig.RuntimeParams
	params["application_name"] = "raffsync test"
	if role != "" {
		params["role"] = role
	}
	if tracer != nil {
		config.ConnConfig.Tracer = tracer
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (h *house) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := h.owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("seed: %v", err)
	}
}

func (h *house) number(t testing.TB, sql string, args ...any) (n int32) {
	t.Helper()
	if err := h.owner.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("seed: %v", err)
	}
	return n
}

// publish appends events of a tenant through the outbox, for the destinations named,
// and returns their ids.
func (h *house) publish(t testing.TB, tenant string, n int, to ...string) []string {
	t.Helper()
	var batch []outbox.Entry
	var ids []string
	for range n {
		h.sent++
		id := fmt.Sprintf("%s-%d", tenant, h.sent)
		ids = append(ids, id)
		e := outbox.Entry{Event: outbox.Event{
			Tenant: tenant, Source: h.source[tenant], ID: id, Type: "order.created", OrderingKey: "order/" + id, OccurredAt: time.Now(),
			References: map[string]string{"order": fmt.Sprint(1000 + h.sent)}, ContentType: "application/json", Payload: []byte(`{"id":"` + id + `"}`),
		}}
		for _, name := range to {
			e.Targets = append(e.Targets, outbox.Target{Destination: h.destinations[name], Route: "sales"})
		}
		batch = append(batch, e)
	}
	results, err := h.writer.Append(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Verdict != outbox.Appended {
			t.Fatalf("published: %+v", r)
		}
	}
	return ids
}

// answer is what GraphQL says.
type answer struct {
	status int
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
}

func (a *answer) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	code, _ := a.Errors[0].Extensions["code"].(string)
	return code
}

// ask posts an operation as an operator of the tenant.
func (h *house) ask(t testing.TB, tenant, query string, variables map[string]any) answer {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	return h.post(t, body, func(r *http.Request) { r.SetBasicAuth("op-"+tenant, "secret-"+tenant) })
}

func (h *house) post(t testing.TB, body []byte, change func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.server.URL+"/graphql", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	change(r)
	response, err := h.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode}
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatalf("status %d, not JSON: %s", response.StatusCode, raw)
	}
	return a
}

// get asks and reads the data into a value; any error fails the test.
func (h *house) get(t testing.TB, tenant, query string, variables map[string]any, into any) {
	t.Helper()
	a := h.ask(t, tenant, query, variables)
	if len(a.Errors) > 0 {
		t.Fatalf("%s: %+v", query, a.Errors)
	}
	if err := json.Unmarshal(a.Data, into); err != nil {
		t.Fatalf("%s: %v", a.Data, err)
	}
}
