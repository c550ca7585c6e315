// Package ledger plays Ledger, the bookkeeping service that connectors/recipe/GUIDE.md makes
// up: customers, orders and invoices over a JSON API that deduplicates nothing, can be asked,
// and refuses inside 200.
package ledger

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

type object = map[string]any

// Server is the service. Its methods may be called from many goroutines at once.
type Server struct {
	token string

	mu      sync.Mutex
	entries map[string][]object // by collection
	silent  int                 // so many POSTs will have their effect, and no answer
	asked   int
}

// New makes a service without entries, for whoever has the token.
func New(token string) *Server {
	return &Server{token: token, entries: make(map[string][]object)}
}

// Silence has the next POST take effect, and its answer get lost.
func (s *Server) Silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent++
}

// Entries are those of a collection ("orders") in the order in which they came. Nothing of
// them may be changed.
func (s *Server) Entries(collection string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries[collection])
}

// Asked is how often somebody asked for entries.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// ServeHTTP implements [http.Handler], below /v1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(v object) { _ = json.NewEncoder(w).Encode(v) } // whoever asked may have gone
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	collection, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	var sent object
	_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&sent)
	switch {
	case r.URL.Path == "/v1/me":
		answer(object{"ok": true})
	case collection != "customers" && collection != "orders" && collection != "invoices":
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		s.asked++
		found := []object{}
		for _, e := range s.entries[collection] {
			if e["reference"] == r.URL.Query().Get("reference") {
				found = append(found, e)
			}
		}
		answer(object{"ok": true, "items": found})
	case sent == nil:
		answer(object{"ok": false, "code": "malformed"})
	case r.Method == http.MethodPut:
		sent["code"] = "C-" + key
		if !s.has(collection, "code", sent["code"]) {
			sent["id"] = len(s.entries[collection]) + 1
			s.entries[collection] = append(s.entries[collection], sent)
		}
		answer(object{"ok": true, "item": sent})
	case collection == "orders" && !s.has("customers", "code", sent["customer"]):
		answer(object{"ok": false, "code": "unknown", "field": "customer"})
	case collection == "invoices" && !s.has("orders", "number", sent["order"]):
		answer(object{"ok": false, "code": "unknown", "field": "order"})
	default:
		n := len(s.entries[collection]) + 1
		sent["id"], sent["number"] = n, fmt.Sprintf("%c-%d", strings.ToUpper(collection)[0], n)
		s.entries[collection] = append(s.entries[collection], sent)
		if s.silent > 0 {
			s.silent--
			panic(http.ErrAbortHandler)
		}
		answer(object{"ok": true, "item": sent})
	}
}

func (s *Server) has(collection, field string, value any) bool {
	return slices.ContainsFunc(s.entries[collection], func(e object) bool { return e[field] == value })
}
