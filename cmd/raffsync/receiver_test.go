package main

import (
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver is a webhook receiver of the tests, written as its documentation asks:
// it verifies, and counts an effect once for each webhook-id. It keeps every raw
// request.
type receiver struct {
	t      testing.TB
	server *httptest.Server
	secret string
	// misbehave may answer a request in another way: true where it did. It says
	// whether the effect is to take place all the same.
	misbehave func(w http.ResponseWriter, r *http.Request, n int) (handled, effect bool)

	mu      sync.Mutex
	raw     map[string]int  // requests, by event id
	done    map[string]bool // webhook-ids that took effect
	events  map[string]int  // effects, by event id
	order   map[string][]string
	total   *big.Rat // sum of Quantity × UnitPrice of the lines
	cancels int
	last    time.Time
	count   int
}

const receiverSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{t: t, secret: receiverSecret, raw: map[string]int{}, done: map[string]bool{}, events: map[string]int{}, order: map[string][]string{}, total: new(big.Rat)}
	verifier, err := standardwebhooks.NewWebhook(r.secret)
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return // the sender died
		}
		if err := verifier.Verify(body, q.Header); err != nil {
			t.Errorf("a webhook's signature is wrong: %v", err)
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		r.mu.Lock()
		r.count++
		n := r.count
		r.raw[q.Header.Get("Ce-Id")]++
		r.last = time.Now()
		r.mu.Unlock()
		if r.misbehave != nil {
			handled, effect := r.misbehave(w, q, n)
			if effect {
				r.effect(q, body)
			}
			if handled {
				return
			}
		}
		r.effect(q, body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.server.Close)
	return r
}

// effect takes place once for each webhook-id.
func (r *receiver) effect(q *http.Request, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, key := q.Header.Get("Ce-Id"), q.Header.Get("Ce-Subject")
	if r.done[q.Header.Get("Webhook-Id")] {
		return // the same message again
	}
	r.done[q.Header.Get("Webhook-Id")] = true
	r.events[id]++
	r.order[key] = append(r.order[key], id)
	if q.Header.Get("Ce-Type") == "invoice.cancelled" {
		r.cancels++
	}
	var invoice struct {
		Lines []struct{ Quantity, UnitPrice string }
	}
	if json.Unmarshal(body, &invoice) != nil {
		return
	}
	for _, line := range invoice.Lines {
		quantity, ok := new(big.Rat).SetString(line.Quantity)
		price, ok2 := new(big.Rat).SetString(line.UnitPrice)
		if !ok || !ok2 {
			r.t.Errorf("event %s: a line is no number: %v", id, line)
			continue
		}
		r.total.Add(r.total, quantity.Mul(quantity, price))
	}
}

// effectsOf is how often the event took effect.
func (r *receiver) effectsOf(event string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[event]
}
