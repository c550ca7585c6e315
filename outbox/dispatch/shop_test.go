package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// document is what the shop's books make of a request.
type document struct {
	ID, Kind, Reference, Body, After string
	Updates                          int
}

// books are an HTTP server with documents. It recognises no repeats: what is posted twice is
// there twice. It can be asked by reference.
type books struct {
	*httptest.Server
	mu        sync.Mutex
	documents []document
	posts     int
	// answer decides what becomes of the n-th request that changes something, from 1: take
	// it, answer, or hang up.
	answer func(n int, d document) (take bool, status int)
}

const hangUp = -1

func newBooks(t testing.TB) *books {
	b := &books{answer: func(int, document) (bool, int) { return true, http.StatusCreated }}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *books) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method == http.MethodGet {
		for _, d := range b.documents {
			if d.Kind == kind && d.Reference == r.URL.Query().Get("reference") {
				json.NewEncoder(w).Encode(d)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var d document
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d.Kind = kind
	b.posts++
	take, status := b.answer(b.posts, d)
	if take && id != "" {
		i := slices.IndexFunc(b.documents, func(o document) bool { return o.ID == id })
		b.documents[i].Body, b.documents[i].After, b.documents[i].Updates = d.Body, d.After, b.documents[i].Updates+1
		d = b.documents[i]
	} else if take {
		d.ID = fmt.Sprintf("%s-%d", kind, len(b.documents)+1)
		b.documents = append(b.documents, d)
	}
	if status == hangUp {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(d)
}

// texts are the documents, in words.
func (b *books) texts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, d := range b.documents {
		text := d.Kind + " " + d.Reference + " = " + d.Body
		if d.After != "" {
			text += " after " + d.After
		}
		if d.Updates > 0 {
			text += fmt.Sprintf(" (%d updates)", d.Updates)
		}
		all = append(all, text)
	}
	return all
}

// bookkeeper is the connector of the books: a step's plan is the kind of document. An event
// of type "unmappable" cannot be prepared.
type bookkeeper struct{ *books }

type bookRequest struct {
	url, method string
	body        []byte
}

func (r bookRequest) Content() []byte { return r.body }

func (k bookkeeper) Prepare(s connectors.Step) (connectors.Request, error) {
	if s.Event.Type == "unmappable" {
		return nil, &connectors.PrepareError{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Code: "unmapped", Message: "no mapping"}
	}
	var event struct{ Body string }
	if err := json.Unmarshal(s.Event.Data, &event); err != nil {
		return nil, err
	}
	d := document{Reference: s.Effect, Body: event.Body, After: s.Receipts["order"].ExternalID}
	if v := s.Receipts["order"].Fields["body"]; v != "" {
		d.After += " of " + v
	}
	body, err := json.Marshal(d)
	r := bookRequest{url: k.URL + "/" + s.Plan.(string), method: http.MethodPost, body: body}
	if s.Existing != nil {
		r.url, r.method = r.url+"/"+s.Existing.ExternalID, http.MethodPut
	}
	return r, err
}

func (k bookkeeper) call(ctx context.Context, method, address string, body []byte) (int, document, error) {
	var d document
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, d, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, d, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode < 300 {
		err = json.Unmarshal(text, &d)
	}
	return answer.StatusCode, d, err
}

func (k bookkeeper) Send(ctx context.Context, request connectors.Request) connectors.Outcome {
	r := request.(bookRequest)
	status, d, err := k.call(ctx, r.method, r.url, r.body)
	switch {
	case err != nil:
		return noAnswer
	case status < 300:
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, Status: status, ExternalID: d.ID, URL: r.url, Fields: map[string]string{"body": d.Body}}
	case status == http.StatusUnprocessableEntity:
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: status, Reason: "422"}
	}
	return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: status, Reason: "503"}
}

func (k bookkeeper) Reconcile(ctx context.Context, request connectors.Request) connectors.Reconciliation {
	r := request.(bookRequest)
	var asked document
	if err := json.Unmarshal(r.body, &asked); err != nil {
		return connectors.Reconciliation{Outcome: noAnswer}
	}
	status, d, err := k.call(ctx, http.MethodGet, r.url+"?reference="+url.QueryEscape(asked.Reference), nil)
	switch {
	case err != nil:
		return connectors.Reconciliation{Outcome: noAnswer}
	case status == http.StatusNotFound:
		return connectors.Reconciliation{Finding: connectors.Absent, Outcome: connectors.Outcome{Rule: "status 404", Status: status, Reason: "it has no such thing"}}
	}
	return connectors.Reconciliation{Finding: connectors.Found, Outcome: connectors.Outcome{Status: status, Reason: "it has it", ExternalID: d.ID, URL: r.url, Fields: map[string]string{"body": d.Body}}}
}

func (bookkeeper) Traits() connectors.Traits { return connectors.Traits{} }

// effectIn names an effect by the payload: "order/" and its number.
func effectIn(kind string) func(*outbox.Event) (string, error) {
	return func(e *outbox.Event) (string, error) {
		var event struct{ Order string }
		if err := json.Unmarshal(e.Payload, &event); err != nil {
			return "", fmt.Errorf("no payload in JSON")
		}
		if event.Order == "panic" {
			panic("an effect's bug")
		}
		return kind + "/" + event.Order, nil
	}
}

// newShop is a bench whose books are served over HTTP, and whose routes make an order and
// then its invoice.
func newShop(t testing.TB, ifExists outbox.IfExists) (*bench, *books) {
	t.Helper()
	served := newBooks(t)
	b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
	b.destination("books").Connector = bookkeeper{served}
	shopSteps(b.plan, ifExists)
	return b, served
}

// shopSteps has the routes make an order and then its invoice.
func shopSteps(plan *dispatch.Plan, ifExists outbox.IfExists) {
	for _, name := range []string{"sales", "pass"} {
		key := dispatch.RouteKey{Tenant: "kopi", Name: name}
		route := plan.Routes[key]
		route.Steps = []dispatch.Step{
			{Name: "order", Plan: "orders", Effect: effectIn("order"), IfExists: ifExists},
			{Name: "invoice", Plan: "invoices", Effect: effectIn("invoice"), IfExists: ifExists},
		}
		plan.Routes[key] = route
	}
}

// snapshot is an event of an order, by a route.
func (b *bench) snapshot(route, id, key, order, body string) outbox.Entry {
	e := b.entry(route, id, key, "books")
	e.Event.Payload = fmt.Appendf(nil, `{"order":%q,"body":%q}`, order, body)
	return e
}

// muted answers no question while mute is set, under the lock of the books.
type muted struct {
	bookkeeper
	mute *bool
}

func (m muted) Reconcile(ctx context.Context, request connectors.Request) connectors.Reconciliation {
	m.mu.Lock()
	mute := *m.mute
	m.mu.Unlock()
	if mute {
		return connectors.Reconciliation{Outcome: connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Status: 503, Reason: "503"}}
	}
	return m.bookkeeper.Reconcile(ctx, request)
}

// skip has an operator end what is open and matches.
func (b *bench) skip(which string) {
	b.t.Helper()
	type row struct {
		At          time.Time
		Event       outbox.Seq
		Destination int32
		Version     int32
	}
	for _, r := range values[row](b, `SELECT event_at AS at, event, destination, version FROM deliveries WHERE `+which) {
		_, err := b.store.Skip(b.t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, outbox.OperatorRequest{
			RequestID: fmt.Sprint("skip ", r.Event), ExpectedVersion: r.Version, Reason: "it was done by hand",
			Delivery: outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: r.At, Seq: r.Event}, Destination: r.Destination},
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}
