package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What an operator's screen asks, word for word as it was sketched before any of it was
// built. All of it works as it stands; where the API has more than the sketch (userErrors
// with a code, a delivery's exceptions, entries of the live feed), a screen may ask for it.
const (
	askBoard = `query Board { board { acceptedToday deliveredToday late unrouted needsAction
  destinations { name breaker { state nextProbeAt } depth oldestAge drainEta } } }`
	askQueue = `query Queue($f: ExceptionFilter, $after: String) {
  exceptions(filter: $f, orderBy: EXPOSURE_DESC, first: 50, after: $after) {
    nodes { id class title heldCount exposure { amount currency } turn { team until } } pageInfo { endCursor hasNextPage } } }`
	askException = `query Exception($id: ID!) { exception(id: $id) { version explanation { what why nextStep }
  cause { table value suggestions { value label } } held(first: 20) { nodes { id } } history { at actor action reason } } }`
	askMap   = `mutation Map($i: SetMappingInput!) { setMapping(input: $i) { released userErrors { field message } } }`
	askStory = `query Story($ref: String!) { search(text: $ref) { nodes { ... on Event { acceptedAt
  deliveries { state waiting { reason until blockedBy { id } }
    steps { effect receipt { externalId url } attempts { at kind reason nextAt } } } } } } }`
	askPreview   = `query Preview($id: ID!) { delivery(id: $id) { preview { requests missing { table value path } diffFromLastSent } } }`
	askReprocess = `mutation Reprocess($i: ReprocessInput!) { reprocess(input: $i) { job { id total done failed } userErrors { message } } }`
	askLive      = `subscription Live($after: String) { changes(after: $after, topics: [BOARD, EXCEPTIONS, JOBS]) { cursor change } }`
)

func TestProgram_AnswersAnOperatorsScreen(t *testing.T) {
	t.Parallel()
	platform := newLedger(t)
	platform.refuses = func(order, what string) bool { return order == "order/refused" }
	in := newInstallation(t)
	config := strings.Replace(platform.config(), "sources:", "outlets: {mall: {timezone: Asia/Jakarta, team: jakarta}}\nteams: {jakarta: {notify: [\"https://chat.example.com/x\"]}}\nsources:", 1)
	p := in.start("serve", "--development", "--config", in.write("shop.yaml", config))
	p.until(`"msg":"ready"`)
	in.run("mappings", "set", "stock", "sku", "LATTE=ITM-1", "LATTE-OATS=ITM-9", "--reason", "sold for years")
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	var lines strings.Builder
	for id, sku := range map[string]string{"a": "LATTE", "b": "LATTE-OAT", "c": "LATTE-OAT", "refused": "LATTE"} {
		line, err := json.Marshal(map[string]any{
			"id": id, "type": "created", "orderingKey": "order/" + id, "outlet": "mall", "references": map[string]string{"order": "10-" + id},
			"textData": `{"sku":"` + sku + `","total":"31000","currency":"IDR","count":2}`,
		})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	in.run("publish", in.write("orders.jsonl", lines.String()), "--to", in.grpc, "--key-file", key)
	db := in.database()
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM deliveries WHERE state = 2`) == 3 && query[int](t, db, `SELECT count(*) FROM day_marks`) == 1 && len(platform.of("order/a")) == 1
	}, p.log.String)
	_, secret, _ := strings.Cut(strings.TrimSpace(in.run("keys", "operator", "ayu")), " / ")
	screen := &screen{t: t, url: "http://" + in.http + "/graphql", secret: secret}

	live := screen.watch(askLive)
	first := live()
	if got := strings.Join(first.Change, " "); first.Cursor == "" || got != "BOARD EXCEPTIONS JOBS" {
		t.Errorf("the live feed begins with %+v", first)
	}
	var board struct {
		Board struct {
			AcceptedToday, DeliveredToday, NeedsAction int
			Destinations                               []struct {
				Name      string
				Depth     int
				OldestAge *float64
				Breaker   struct{ State string }
			}
		}
	}
	screen.ask(askBoard, nil, &board)
	b := board.Board
	// The first mark of a new installation may be older or younger than its first events.
	if b.NeedsAction != 3 || b.AcceptedToday < 0 || b.AcceptedToday > 4 || b.DeliveredToday > 1 || len(b.Destinations) != 1 || b.Destinations[0].Depth != 3 || b.Destinations[0].OldestAge == nil || b.Destinations[0].Breaker.State != "CLOSED" {
		t.Errorf("the board: %+v", b)
	}
	var queue struct {
		Exceptions struct {
			Nodes []struct {
				ID, Class, Title string
				HeldCount        int
				Exposure         []struct{ Amount, Currency string }
				Turn             struct{ Team string }
			}
		}
	}
	screen.ask(askQueue, map[string]any{"f": map[string]any{"open": true, "outlet": "mall", "team": "jakarta"}}, &queue)
	q := queue.Exceptions.Nodes
	if len(q) != 2 || q[0].Class != "SKU_UNMAPPED" || q[0].HeldCount != 2 || q[0].Exposure[0].Amount != "62000" || q[0].Turn.Team != "jakarta" || q[1].HeldCount != 1 {
		t.Fatalf("the queue: %+v", q)
	}
	var one struct {
		Exception struct {
			Explanation struct{ What, Why, NextStep string }
			Cause       struct {
				Table, Value string
				Suggestions  []struct{ Value, Label string }
			}
			Held    struct{ Nodes []struct{ ID string } }
			History []struct{ Action string }
		}
	}
	screen.ask(askException, map[string]any{"id": q[0].ID}, &one)
	if x := one.Exception; x.Cause.Value != "LATTE-OAT" || len(x.Cause.Suggestions) == 0 || len(x.Held.Nodes) != 2 || x.Explanation.NextStep == "" || len(x.History) == 0 {
		t.Fatalf("the exception: %+v", x)
	}
	// A request of a preview has fields: without them GraphQL answers what to add.
	var preview struct {
		Delivery struct {
			Preview struct {
				Requests []struct{ Method string }
				Missing  []struct{ Table, Value, Path string }
			}
		}
	}
	screen.ask(strings.Replace(askPreview, "requests", "requests { method url body { text } }", 1), map[string]any{"id": one.Exception.Held.Nodes[0].ID}, &preview)
	if m := preview.Delivery.Preview.Missing; len(m) != 1 || m[0].Value != "LATTE-OAT" || m[0].Path == "" {
		t.Errorf("the preview: %+v", preview)
	}
	var mapped struct {
		SetMapping struct {
			Released   int
			UserErrors []struct{ Message string }
		}
	}
	set := map[string]any{"requestId": "m", "table": "sku", "destination": "stock", "reason": "new item", "entries": []any{map[string]any{"value": "LATTE-OAT", "target": "ITM-42"}}}
	screen.ask(askMap, map[string]any{"i": set}, &mapped)
	if mapped.SetMapping.Released != 2 || len(mapped.SetMapping.UserErrors) != 0 {
		t.Errorf("mapped: %+v", mapped)
	}
	seen := map[string]bool{}
	for !seen["BOARD"] || !seen["EXCEPTIONS"] {
		for _, topic := range live().Change {
			seen[topic] = true
		}
	}
	waitUntil(t, func() bool { return len(platform.of("order/b")) == 1 && len(platform.of("order/c")) == 1 }, p.log.String)
	var story struct {
		Search struct {
			Nodes []struct {
				Deliveries []struct {
					State string
					Steps []struct{ Attempts []struct{ Kind string } }
				}
			}
		}
	}
	screen.ask(askStory, map[string]any{"ref": "10-refused"}, &story)
	if n := story.Search.Nodes; len(n) != 1 || n[0].Deliveries[0].State != "NEEDS_ACTION" || n[0].Deliveries[0].Steps[0].Attempts[0].Kind == "" {
		t.Errorf("the story: %+v", story)
	}
	var job struct {
		Reprocess struct {
			Job struct {
				ID    string
				Total int
			}
			UserErrors []struct{ Message string }
		}
	}
	screen.ask(askReprocess, map[string]any{"i": map[string]any{"requestId": "j", "reason": "again", "filter": map[string]any{"exception": q[1].ID}}}, &job)
	if j := job.Reprocess; j.Job.Total != 1 || len(j.UserErrors) != 0 {
		t.Errorf("the job: %+v", j)
	}
	for !seen["JOBS"] {
		for _, topic := range live().Change {
			seen[topic] = true
		}
	}
	// A topic that there is not, and no topic at all, are errors and no silence.
	for _, wrong := range []string{`[SHOES]`, `[]`} {
		if body := screen.post(strings.Replace(askLive, "[BOARD, EXCEPTIONS, JOBS]", wrong, 1), nil, "text/event-stream"); !strings.Contains(readAll(t, body), `"errors"`) {
			t.Errorf("topics %s are taken", wrong)
		}
	}
}

// screen asks as a page does.
type screen struct {
	t           *testing.T
	url, secret string
}

func (s *screen) post(query string, variables map[string]any, accept string) io.ReadCloser {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth("ayu", s.secret)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Body
}

func (s *screen) ask(query string, variables map[string]any, into any) {
	s.t.Helper()
	text := readAll(s.t, s.post(query, variables, "application/json"))
	var answer struct {
		Data   json.RawMessage
		Errors []any
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Errors) > 0 {
		s.t.Fatalf("%s\nis answered %s", query, text)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		s.t.Fatal(err)
	}
}

type change struct {
	Cursor string
	Change []string
}

// watch subscribes, and returns what gives the next batch.
func (s *screen) watch(query string) func() change {
	s.t.Helper()
	body := s.post(query, nil, "text/event-stream")
	s.t.Cleanup(func() { _ = body.Close() })
	scanner := bufio.NewScanner(body)
	return func() change {
		s.t.Helper()
		for scanner.Scan() {
			data, is := strings.CutPrefix(scanner.Text(), "data: ")
			if !is {
				continue
			}
			var told struct {
				Data   struct{ Changes change }
				Errors []any
			}
			if err := json.Unmarshal([]byte(data), &told); err != nil || len(told.Errors) > 0 {
				s.t.Fatalf("the feed says %s", data)
			}
			return told.Data.Changes
		}
		s.t.Fatalf("the feed ended: %v", scanner.Err())
		return change{}
	}
}

func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
