package graph

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// batch is one batch of the feed as a client sees it.
type batch struct {
	Cursor  string
	Change  []string
	Lagged  bool
	Totals  *struct{ Accepted int }
	Entries []struct {
		ID, What string
		Event    *struct{ EventID string }
	}
	Destinations []struct{ Name string }
	Jobs         []struct{ State string }
}

const changesQuery = `subscription ($after: String) { changes(after: $after) { cursor lagged totals { accepted } destinations { name } jobs { state } entries { id what event { eventId } } } }`

// watcher reads a feed over one of the transports.
type watcher struct {
	t    testing.TB
	next func() (batch, bool) // false at the end
	stop func()

	cursor  string
	entries []string // ids of events, as they came
	ids     map[string]int
	lagged  bool
	ended   bool
}

// read takes one batch in.
func (w *watcher) read() {
	w.t.Helper()
	b, ok := w.next()
	if !ok {
		w.ended = true
		return
	}
	w.cursor, w.lagged = b.Cursor, w.lagged || b.Lagged
	for _, e := range b.Entries {
		w.ids[e.ID]++
		if e.Event != nil {
			w.entries = append(w.entries, e.Event.EventID)
		}
	}
}

// until reads until all of these events have been told of.
func (w *watcher) until(ids ...string) {
	w.t.Helper()
	for !w.ended {
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(w.entries, id) })
		if len(missing) == 0 {
			return
		}
		w.read()
	}
	w.t.Fatalf("the feed ended; it told of %v, not of all of %v", w.entries, ids)
}

func watchSSE(t testing.TB, h *house, tenant, after string) *watcher {
	t.Helper()
	variables := map[string]any{}
	if after != "" {
		variables["after"] = after
	}
	return watchQuery(t, h, tenant, changesQuery, variables)
}

// watchQuery subscribes by SSE.
func watchQuery(t testing.TB, h *house, tenant, query string, variables map[string]any) *watcher {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.server.URL+"/graphql", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	r.SetBasicAuth("op-"+tenant, "secret-"+tenant)
	response, err := h.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		rest, _ := io.ReadAll(response.Body)
		t.Fatalf("status %d, content type %q: %s", response.StatusCode, kind, rest)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	return &watcher{t: t, stop: stop, ids: make(map[string]int), next: func() (batch, bool) {
		for lines.Scan() {
			if line := lines.Text(); line == "event: complete" {
				return batch{}, false
			} else if data, ok := strings.CutPrefix(line, "data: "); ok {
				return parseBatch(t, []byte(data)), true
			}
		}
		return batch{}, false
	}}
}

func parseBatch(t testing.TB, raw []byte) batch {
	t.Helper()
	var told struct {
		Data   struct{ Changes batch }
		Errors []struct{ Message string }
	}
	if err := json.Unmarshal(raw, &told); err != nil || len(told.Errors) > 0 {
		t.Fatalf("the feed says %s (%v)", raw, err)
	}
	return told.Data.Changes
}

type frame struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// dial opens a WebSocket and says connection_init.
func dial(t testing.TB, h *house, options *websocket.DialOptions, init string) (*websocket.Conn, error) {
	t.Helper()
	if options.Subprotocols == nil {
		options.Subprotocols = []string{subprotocol}
	}
	conn, response, err := websocket.Dial(t.Context(), h.server.URL+"/graphql", options)
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("status %d", response.StatusCode)
		}
		return nil, err
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	if init != "" {
		if err := wsjson.Write(t.Context(), conn, frame{Type: "connection_init", Payload: json.RawMessage(init)}); err != nil {
			return nil, err
		}
	}
	var ack frame
	if err := wsjson.Read(t.Context(), conn, &ack); err != nil {
		return nil, fmt.Errorf("closed with %d", websocket.CloseStatus(err))
	}
	if ack.Type != "connection_ack" {
		return nil, fmt.Errorf("the answer to connection_init is %q", ack.Type)
	}
	return conn, nil
}

func basicInit(tenant string) string {
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth("op-"+tenant, "secret-"+tenant)
	return `{"authorization": "` + r.Header.Get("Authorization") + `"}`
}

func watchWebSocket(t testing.TB, h *house, tenant, after string) *watcher {
	t.Helper()
	conn, err := dial(t, h, &websocket.DialOptions{}, basicInit(tenant))
	if err != nil {
		t.Fatal(err)
	}
	variables := "{}"
	if after != "" {
		variables = fmt.Sprintf(`{"after": %q}`, after)
	}
	payload := fmt.Sprintf(`{"query": %q, "variables": %s}`, changesQuery, variables)
	if err := wsjson.Write(t.Context(), conn, frame{ID: "1", Type: "subscribe", Payload: json.RawMessage(payload)}); err != nil {
		t.Fatal(err)
	}
	return &watcher{t: t, stop: func() { conn.CloseNow() }, ids: make(map[string]int), next: func() (batch, bool) {
		for {
			var f frame
			if err := wsjson.Read(t.Context(), conn, &f); err != nil || f.Type == "complete" {
				return batch{}, false
			}
			switch f.Type {
			case "next":
				return parseBatch(t, f.Payload), true
			case "ping":
				_ = wsjson.Write(t.Context(), conn, frame{Type: "pong"})
			default:
				t.Fatalf("frame %+v: %s", f, f.Payload)
			}
		}
	}}
}
