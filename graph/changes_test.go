package graph

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"raffsync/graph/internal/model"
	"raffsync/outbox/view"
)

func TestChanges(t *testing.T) {
	for name, watch := range map[string]func(testing.TB, *house, string, string) *watcher{"SSE": watchSSE, "WebSocket": watchWebSocket} {
		t.Run(name, func(t *testing.T) {
			h := openHouse(t, nil)
			old := h.publish(t, "kopi", 2, "books")
			w := watch(t, h, "kopi", "")
			first, ok := w.next()
			if !ok || first.Totals == nil || first.Totals.Accepted != 2 || len(first.Destinations) != 3 || len(first.Entries) != 0 || first.Cursor == "" {
				t.Fatalf("the first batch is %+v", first)
			}
			other := watch(t, h, "teh", "")
			other.read()
			live := h.publish(t, "kopi", 3, "books")
			w.until(live...)
			foreign := h.publish(t, "teh", 1)
			other.until(foreign...)
			if len(other.entries) != 1 {
				t.Errorf("tenant teh was told of %v", other.entries)
			}
			if slices.ContainsFunc(w.entries, func(id string) bool { return slices.Contains(old, id) || slices.Contains(foreign, id) }) {
				t.Errorf("a feed that begins now told of %v", w.entries)
			}
			w.stop()
			missed := h.publish(t, "kopi", 2, "books")
			again := watch(t, h, "kopi", w.cursor)
			later := h.publish(t, "kopi", 1, "books")
			again.until(append(missed, later...)...)
			for id, n := range again.ids {
				if n > 1 {
					t.Errorf("entry %s came %d times over one connection", id, n)
				}
			}
		})
	}
}

// A transaction begins first and commits last: its entry is older than what was told
// meanwhile, and is told all the same, now and to whoever goes on from a cursor.
func TestChanges_MissNoLateCommit(t *testing.T) {
	h := openHouse(t, nil)
	known := h.publish(t, "kopi", 1)
	w := watchSSE(t, h, "kopi", "")
	w.read()
	late, err := h.owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(t.Context(), `SELECT now()`); err != nil {
		t.Fatal(err)
	}
	var cursor string
	for range 3 { // polls go by, two seconds' worth and more than the margin of the horizon
		w.until(h.publish(t, "kopi", 1)...)
		cursor = w.cursor
		waitForDatabaseTime(t, h, time.Second)
	}
	if _, err := late.Exec(t.Context(), `INSERT INTO timeline (tenant, what, event, event_at, reason)
		SELECT tenant, 'key', event, event_at, 'late' FROM accepted ORDER BY at, entry LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until(known...)
	again := watchSSE(t, h, "kopi", cursor)
	again.until(known...)
}

// waitForDatabaseTime waits until the database's clock has moved on.
func waitForDatabaseTime(t *testing.T, h *house, d time.Duration) {
	t.Helper()
	if _, err := h.owner.Exec(t.Context(), `SELECT pg_sleep_for($1::interval)`, d); err != nil {
		t.Fatal(err)
	}
}

func TestChanges_CursorTooOld(t *testing.T) {
	h := openHouse(t, nil)
	h.exec(t, `INSERT INTO timeline (tenant, what) SELECT 'kopi', 'key' FROM generate_series(1, $1)`, mostBehind+1)
	w := watchSSE(t, h, "kopi", view.FormatHorizon(time.Now().Add(-time.Hour)))
	for !w.ended {
		w.read()
	}
	if !w.lagged || len(w.ids) != 0 {
		t.Errorf("lagged: %t, after %d entries; want to be told, and none", w.lagged, len(w.ids))
	}
	if a := h.ask(t, "kopi", changesQuery, map[string]any{"after": "nonsense"}); a.code() != codeBadInput {
		t.Errorf("a cursor that is none: %+v", a)
	}
}

// A reader that does not read is told and ended; the others go on.
func TestHub_SlowReadersLag(t *testing.T) {
	h := openHouse(t, nil)
	hub := h.api.hub
	waitUntilRunning(t, hub)
	feed, slow, err := hub.join("kopi")
	if err != nil {
		t.Fatal(err)
	}
	_, quick, err := hub.join("kopi")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * bufferedBatches {
		hub.broadcast(feed, &model.Changes{Cursor: fmt.Sprint(i)})
		if b, open := <-quick.batches; !open || b.Cursor != fmt.Sprint(i) {
			t.Fatalf("the quick reader gets %+v (open: %t), want batch %d", b, open, i)
		}
	}
	out := make(chan *model.Changes)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&start{}).send(t.Context(), &session{}, slow, nil, out)
	}()
	var got []*model.Changes
	for done := false; !done; {
		select {
		case b := <-out:
			got = append(got, b)
		case <-ended:
			done = true
		}
	}
	last := got[len(got)-1]
	if len(got) != bufferedBatches+1 || !last.Lagged || last.Cursor != fmt.Sprint(bufferedBatches-1) {
		t.Errorf("the slow reader got %d batches, the last of them %+v; want %d and then lagged, at the cursor before", len(got), last, bufferedBatches)
	}
	hub.leave(feed, quick)
	for range mostSubscribersTenant {
		if _, _, err := hub.join("kopi"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := hub.join("kopi"); err == nil {
		t.Error("there is no end to one tenant's readers")
	}
}

func waitUntilRunning(t *testing.T, hub *hub) {
	t.Helper()
	for t.Context().Err() == nil {
		hub.mu.Lock()
		running := hub.group != nil
		hub.mu.Unlock()
		if running {
			return
		}
	}
}

func TestWebSocket_ComesInOrNot(t *testing.T) {
	h := openHouse(t, nil)
	basic := http.Header{}
	r := http.Request{Header: basic}
	r.SetBasicAuth("op-kopi", "secret-kopi")
	wrong := http.Header{"Authorization": {"Basic " + strings.Repeat("A", 8)}}
	host := strings.TrimPrefix(h.server.URL, "http://")
	for name, c := range map[string]struct {
		options websocket.DialOptions
		init    string
		want    string
	}{
		"CredentialInHeader":     {websocket.DialOptions{HTTPHeader: basic}, `{}`, ""},
		"CredentialInInit":       {websocket.DialOptions{}, basicInit("kopi"), ""},
		"WrongInHeader":          {websocket.DialOptions{HTTPHeader: wrong}, `{}`, "status 401"},
		"None":                   {websocket.DialOptions{}, `{}`, "closed with 4403"},
		"WrongInInit":            {websocket.DialOptions{}, strings.Replace(basicInit("kopi"), "Basic ", "Basic A", 1), "closed with 4403"},
		"SaysNothing":            {websocket.DialOptions{}, "", "closed with 1002"},
		"OwnOrigin":              {websocket.DialOptions{HTTPHeader: http.Header{"Origin": {h.server.URL}}}, basicInit("kopi"), ""},
		"AnotherOrigin":          {websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}}, basicInit("kopi"), "status 403"},
		"AnotherScheme":          {websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://" + host}}}, basicInit("kopi"), "status 403"},
		"AnotherPort":            {websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://127.0.0.1"}}}, basicInit("kopi"), "status 403"},
		"NullOrigin":             {websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"null"}}}, basicInit("kopi"), "status 403"},
		"OldSubprotocol":         {websocket.DialOptions{Subprotocols: []string{"graphql-ws"}}, basicInit("kopi"), "status 400"},
		"OldSubprotocolAsWell":   {websocket.DialOptions{Subprotocols: []string{"graphql-ws", subprotocol}}, basicInit("kopi"), ""},
		"AnotherTenantsInHeader": {websocket.DialOptions{HTTPHeader: basic}, basicInit("teh"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := dial(t, h, &c.options, c.init)
			if got := fmt.Sprint(err); c.want != "" && got != c.want || c.want == "" && err != nil {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			if err := wsjson.Write(t.Context(), conn, frame{ID: "q", Type: "subscribe", Payload: json.RawMessage(`{"query": "{ viewer { tenant } }"}`)}); err != nil {
				t.Fatal(err)
			}
			var told frame
			if err := wsjson.Read(t.Context(), conn, &told); err != nil || !strings.Contains(string(told.Payload), `"kopi"`) {
				t.Errorf("a query is answered with %+v %s, %v", told, told.Payload, err)
			}
		})
	}
}

// The server's time-outs are for requests that end; a feed outlives them.
func TestChanges_OutliveTheServersTimeouts(t *testing.T) {
	h := openHouse(t, nil)
	server := httptest.NewUnstartedServer(h.api)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	server.Start()
	defer server.Close()
	h.server.Close()
	h.server = server
	w := watchSSE(t, h, "kopi", "")
	w.read()
	for range 3 {
		waitForDatabaseTime(t, h, 400*time.Millisecond)
		w.until(h.publish(t, "kopi", 1)...)
	}
	w.stop()
}
