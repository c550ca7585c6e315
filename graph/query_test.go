package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// seedShop leaves every kind of thing behind that the API shows.
func seedShop(t *testing.T, h *house) {
	t.Helper()
	h.publish(t, "kopi", 3, "books", "stock", "webstore")
	h.publish(t, "kopi", 1) // unrouted
	h.publish(t, "teh", 2)
	h.exec(t, `INSERT INTO timeline (tenant, event, event_at, destination, replay, attempt, step, kind, duration_us, what, state, reason, detail)
		SELECT tenant, event, event_at, destination, 0, 1, 0, 2, 1500, 'attempt', 'WAITING', '503', '{"status": 503}' FROM deliveries WHERE destination = $1`, h.destinations["webstore"])
	h.exec(t, `UPDATE deliveries SET state = 1, due_at = now() + interval '1 hour', requests = 1, attempts = 1, kind = 2, version = 2 WHERE destination = $1`, h.destinations["webstore"])
	h.exec(t, `INSERT INTO breakers (tenant, destination, replica, state, reason, probe_at) VALUES ('kopi', $1, 1, 'OPEN', '503 x5', now() + interval '2 hours')`, h.destinations["webstore"])
	h.exec(t, `INSERT INTO exceptions (tenant, class, destination, code, sample, held) VALUES ('kopi', 'VALIDATION', $1, 'no-sku', 'no such SKU', 3)`, h.destinations["stock"])
	h.exec(t, `UPDATE deliveries SET state = 2, exception = x.id FROM exceptions x WHERE deliveries.destination = $1`, h.destinations["stock"])
	h.exec(t, `INSERT INTO holds (exception, lane, destination, seq, tenant) SELECT exception, lane, destination, seq, tenant FROM deliveries WHERE state = 2`)
	h.exec(t, `INSERT INTO timeline (tenant, exception, destination, what, reason) SELECT tenant, id, destination, 'exception', sample FROM exceptions`)
	h.exec(t, `UPDATE tallies SET needs_action = 3 WHERE destination = $1`, h.destinations["stock"])
}

// What a process cannot use as configured is said of the destination, and of what waits
// for it.
func TestQuery_ShowsFaultsOfTheConfiguration(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 1, "books", "stock")
	h.exec(t, `INSERT INTO processes (id, alive_until) VALUES (1, now() + interval '1 hour')`)
	h.exec(t, `INSERT INTO configuration_use (tenant, process, destination, version, problem, rests) VALUES ('kopi', 1, $1, 4, 'books: no secret', true)`, h.destinations["books"])
	type fault struct {
		Problem string
		Version int
		Rests   bool
	}
	var got struct {
		Destinations []struct {
			Name  string
			Fault *fault
		}
		Deliveries struct {
			Nodes []struct {
				Waiting struct {
					Reason string
					Fault  *fault
				}
			}
		}
	}
	h.get(t, "kopi", `{ destinations { name fault { problem version rests } }
		deliveries(filter: {destination: "books"}) { nodes { waiting { reason fault { problem version rests } } } } }`, nil, &got)
	want := fault{"books: no secret", 4, true}
	for _, d := range got.Destinations {
		if (d.Name == "books") != (d.Fault != nil) || d.Fault != nil && *d.Fault != want {
			t.Errorf("%s: %+v", d.Name, d.Fault)
		}
	}
	if n := got.Deliveries.Nodes; len(n) != 1 || n[0].Waiting.Reason != "CONFIGURATION" || n[0].Waiting.Fault == nil || *n[0].Waiting.Fault != want {
		t.Errorf("deliveries %+v", n)
	}
}

func TestQuery_ShowsTheBoard(t *testing.T) {
	h := openHouse(t, nil)
	seedShop(t, h)
	var got struct {
		Viewer struct{ Name, Tenant string }
		Totals struct {
			Accepted, Deliveries, Open, NeedsAction, Unrouted int
		}
		Sources      []struct{ Name string }
		Destinations []struct {
			Name       string
			Breaker    struct{ State string }
			Depth      int
			OldestOpen struct {
				AcceptedAt time.Time
				Delivery   struct{ Event struct{ EventID string } }
			}
		}
		Exceptions struct {
			Nodes []struct {
				Class, Code, Reason string
				HeldCount           int
				Destination         struct{ Name string }
				Held                struct {
					Nodes    []struct{ State string }
					PageInfo struct{ HasNextPage bool }
				}
				Timeline struct {
					Nodes []struct{ What, Reason string }
				}
			}
		}
		Deliveries struct {
			Nodes []struct {
				State   string
				Version int
				Waiting *struct {
					Reason string
					Until  time.Time
				}
				LastKind string
				Attempts []struct {
					Number     int
					Kind       string
					DurationMs float64
					Detail     json.RawMessage
				}
			}
		}
		Timeline struct {
			Nodes []struct {
				What      string
				Delivery  *struct{ State string }
				Exception *struct{ Status string }
			}
		}
	}
	h.get(t, "kopi", `query Board {
		viewer { name tenant }
		totals { accepted deliveries open needsAction unrouted }
		sources { name }
		destinations { name breaker { state } depth oldestOpen { acceptedAt delivery { event { eventId } } } }
		exceptions(filter: {open: true}, first: 10) { nodes { class code reason heldCount destination { name }
			held(first: 2) { nodes { state } pageInfo { hasNextPage } } timeline(first: 5) { nodes { what reason } } } }
		deliveries(filter: {destination: "webstore", state: WAITING}, first: 10) { nodes { state version waiting { reason until } lastKind attempts(first: 3) { number kind durationMs detail } } }
		timeline(filter: {what: [EXCEPTION, ATTEMPT]}, first: 10) { nodes { what delivery { state } exception { status } } }
	}`, nil, &got)

	if got.Viewer.Tenant != "kopi" || got.Viewer.Name != "op-kopi" {
		t.Errorf("viewer %+v", got.Viewer)
	}
	if got.Totals.Accepted != 4 || got.Totals.Deliveries != 9 || got.Totals.Open != 9 || got.Totals.NeedsAction != 3 || got.Totals.Unrouted != 1 {
		t.Errorf("totals %+v", got.Totals)
	}
	var names []string
	for _, d := range got.Destinations {
		names = append(names, d.Name+" "+d.Breaker.State)
		if d.Depth != 3 || d.OldestOpen.Delivery.Event.EventID != "kopi-1" {
			t.Errorf("destination %+v", d)
		}
	}
	if diff := cmp.Diff([]string{"books CLOSED", "stock CLOSED", "webstore OPEN"}, names); diff != "" {
		t.Error(diff)
	}
	if x := got.Exceptions.Nodes; len(x) != 1 || x[0].Class != "VALIDATION" || x[0].Code != "no-sku" || x[0].HeldCount != 3 || x[0].Destination.Name != "stock" ||
		len(x[0].Held.Nodes) != 2 || x[0].Held.Nodes[0].State != "NEEDS_ACTION" || !x[0].Held.PageInfo.HasNextPage || len(x[0].Timeline.Nodes) != 1 {
		t.Errorf("exceptions %+v", x)
	}
	if d := got.Deliveries.Nodes; len(d) != 3 || d[0].Waiting == nil || d[0].Waiting.Reason != "BREAKER" || d[0].LastKind != "TRANSIENT" || d[0].Version != 2 ||
		len(d[0].Attempts) != 1 || d[0].Attempts[0].DurationMs != 1.5 || string(d[0].Attempts[0].Detail) != `{"status":503}` {
		t.Errorf("deliveries %+v", d)
	}
	if n := got.Timeline.Nodes; len(n) != 4 || n[0].What != "EXCEPTION" || n[0].Exception == nil || n[1].Delivery == nil || n[1].Delivery.State != "WAITING" {
		t.Errorf("timeline %+v", n)
	}
}

func TestQuery_TellsAStory(t *testing.T) {
	h := openHouse(t, nil)
	seedShop(t, h)
	var found struct {
		Search struct {
			Nodes []struct {
				Typename, ID, EventID, OrderingKey, Source string
				OccurredAt                                 string
				References                                 []struct{ Name, Value string }
				Payload                                    struct{ Text, Base64 *string }
				Deliveries                                 []struct {
					ID          string
					State       string
					Destination struct{ Name string }
				}
			}
		}
	}
	h.get(t, "kopi", `query Story($text: String!) { search(text: $text) { nodes { typename: __typename ... on Event {
		id eventId orderingKey source occurredAt references { name value } payload { text base64 } deliveries { id state destination { name } } } } } }`,
		map[string]any{"text": "1002"}, &found)
	if len(found.Search.Nodes) != 1 {
		t.Fatalf("found %+v", found)
	}
	e := found.Search.Nodes[0]
	if e.Typename != "Event" || e.EventID != "kopi-2" || e.Source != "till" || len(e.References) != 1 || e.References[0].Value != "1002" ||
		e.Payload.Base64 != nil || *e.Payload.Text != `{"id":"kopi-2"}` || len(e.Deliveries) != 3 {
		t.Errorf("the event is %+v", e)
	}
	if at, err := time.Parse(time.RFC3339Nano, e.OccurredAt); err != nil || at.Location() != time.UTC {
		t.Errorf("occurredAt %q is not RFC 3339 in UTC", e.OccurredAt)
	}
	var one struct {
		Event    struct{ EventID string }
		Delivery struct {
			State string
			Event struct{ ID string }
		}
		Missing *struct{ ID string }
	}
	query := `query One($event: ID!, $delivery: ID!, $missing: ID!) { event(id: $event) { eventId } delivery(id: $delivery) { state event { id } } missing: event(id: $missing) { id } }`
	ids := map[string]any{"event": e.ID, "delivery": e.Deliveries[0].ID, "missing": view.FormatEventID(outbox.EventID{AcceptedAt: time.Now(), Seq: 1})}
	h.get(t, "kopi", query, ids, &one)
	if one.Event.EventID != "kopi-2" || one.Delivery.Event.ID != e.ID || one.Missing != nil {
		t.Errorf("by id: %+v", one)
	}
	ids["missing"] = e.Deliveries[0].ID
	if a := h.ask(t, "kopi", query, ids); a.code() != codeBadInput {
		t.Errorf("a delivery's id for an event: %+v", a)
	}
	// Another tenant's names lead nowhere.
	var foreign struct {
		Event, Delivery *struct{}
		Search          struct{ Nodes []struct{} }
	}
	h.get(t, "teh", `query ($event: ID!, $delivery: ID!) { event(id: $event) { id } delivery(id: $delivery) { id } search(text: "1002") { nodes { __typename } } }`,
		map[string]any{"event": e.ID, "delivery": e.Deliveries[0].ID}, &foreign)
	if foreign.Event != nil || foreign.Delivery != nil || len(foreign.Search.Nodes) != 0 {
		t.Errorf("another tenant's are shown: %+v", foreign)
	}
}

// A page of events with deliveries with attempts costs the same number of statements,
// however many events there are.
func TestQuery_NestedListsCostAFixedNumberOfStatements(t *testing.T) {
	h := openHouse(t, nil)
	h.publish(t, "kopi", 41, "books", "stock", "webstore")
	// These loaders wait long enough for every field to have asked.
	r := &resolver{view: h.view, transitions: h.store, hub: h.api.hub}
	server := newGraphQL(Config{View: h.view, Log: slog.New(slog.DiscardHandler)}, r, 200*time.Millisecond)
	count := func(first int) int64 {
		before := h.reads.statements.Load()
		body := fmt.Sprintf(`{"query": "{ events(first: %d) { nodes { eventId deliveries { state destination { name } event { id } attempts(first: 2) { kind } } } } }"}`, first)
		request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		session := &session{actor: outbox.Actor{Tenant: "kopi", Name: "test"}, renew: func(context.Context) error { return nil }}
		ctx := withChannel(withSession(t.Context(), session), &channel{})
		w := httptest.NewRecorder()
		server.ServeHTTP(w, request.WithContext(ctx))
		if n := strings.Count(w.Body.String(), `"eventId"`); n != first {
			t.Fatalf("%d events, want %d: %s", n, first, w.Body)
		}
		return h.reads.statements.Load() - before
	}
	if few, many := count(3), count(40); few != many {
		t.Errorf("%d statements for 3 events, %d for 40", few, many)
	}
}
