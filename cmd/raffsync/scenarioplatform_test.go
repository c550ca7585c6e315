package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// platform takes orders at /orders as {order, what, item}, keeps what it took, once a key,
// and answers as it is told.
type platform struct {
	server *httptest.Server

	mu      sync.Mutex
	answers map[string]int      // status by order, or "*"; lost: none at all
	keys    map[string]int      // requests that it took, by idempotency key
	orders  []string            // in the order in which they came first
	taken   map[string][]string // what of each
}

// lost stands for an answer that never comes, of a request that may have had its effect.
const lost = -1

func newPlatform(t testing.TB) *platform {
	p := &platform{answers: make(map[string]int), keys: make(map[string]int), taken: make(map[string][]string)}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var body struct {
			Order, What string
			Item        json.RawMessage
		}
		if err := json.NewDecoder(q.Body).Decode(&body); err != nil {
			t.Errorf("a request cannot be read: %v", err)
		}
		status := p.take(q.Header.Get("Idempotency-Key"), body.Order, body.What, strings.Trim(string(body.Item), `"`))
		if status == lost {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *platform) take(key, order, what, item string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, about := range []string{order, "*"} {
		if status, told := p.answers[about]; told {
			return status
		}
	}
	if p.keys[key]++; p.keys[key] == 1 {
		if _, known := p.taken[order]; !known {
			p.orders = append(p.orders, order)
		}
		p.taken[order] = append(p.taken[order], strings.TrimSpace(what+" "+item))
	}
	return http.StatusOK
}

// answer has the platform answer an order, or all of them, with a status: answer * 503,
// answer order/1042 lost, answer order/1042 ok.
func (w *world) answer(d *datadriven.TestData) string {
	about, how := d.CmdArgs[0].Key, d.CmdArgs[1].Key
	w.platform.mu.Lock()
	defer w.platform.mu.Unlock()
	switch status, err := strconv.Atoi(how); {
	case how == "ok":
		delete(w.platform.answers, about)
	case how == "lost":
		w.platform.answers[about] = lost
	case err == nil:
		w.platform.answers[about] = status
	default:
		d.Fatalf(w.t, "answer %q", how)
	}
	return ""
}

// showPlatform shows what the platform has taken. Orders that went alike are counted.
func (w *world) showPlatform(*datadriven.TestData) string {
	w.rest()
	p := w.platform
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := 0
	for _, n := range p.keys {
		requests += n
	}
	lines := summed{few: few}
	for _, order := range p.orders {
		lines.add(order, strings.Join(p.taken[order], ", "))
	}
	return fmt.Sprintf("%s%d requests taken, %d of them for what it had\n", lines.String(), requests, requests-len(p.keys))
}
