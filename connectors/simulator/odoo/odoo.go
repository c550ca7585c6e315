// Package odoo plays Odoo's JSON-RPC as its web client speaks it: the login that gives a
// session in a cookie, and calls of models' methods, with records that tests can look into.
//
// The shapes are from odoo/odoo: addons/web/controllers/session.py (authenticate),
// odoo/http.py (JsonRPCDispatcher, SessionExpiredException, serialize_exception) and
// addons/web/controllers/dataset.py (call_kw). Every error comes as HTTP 200; that of a
// session that has ended has code 100. Not verified at a running Odoo: that a wrong database
// is an AccessError by that name.
package odoo

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"raffsync/connectors/simulator/loose"
)

// Config of a server.
type Config struct{ Database, Login, Password string }

type object = map[string]any

// Simulator is a server. Its methods may be called from many goroutines at once.
type Simulator struct {
	config Config

	mu       sync.Mutex
	sessions map[string]bool
	logins   int
	records  map[string][]object // by model
}

// New makes a server without records.
func New(c Config) *Simulator {
	return &Simulator{config: c, sessions: make(map[string]bool), records: make(map[string][]object)}
}

// Handler serves it.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /web/session/authenticate", s.serve(s.authenticate))
	mux.HandleFunc("POST /web/dataset/call_kw", s.serve(s.call))
	return mux
}

// Expire ends every session.
func (s *Simulator) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Logins is how often a session was given.
func (s *Simulator) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Count is how many records a model has.
func (s *Simulator) Count(model string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records[model])
}

// fault is an error of JSON-RPC.
type fault struct {
	code                int
	said, name, message string
}

var (
	errExpired = &fault{100, "Odoo Session Expired", "odoo.http.SessionExpiredException", "Session expired"}
	errDenied  = &fault{200, "Odoo Server Error", "odoo.exceptions.AccessDenied", "Access Denied"}
)

func invalid(format string, arguments ...any) *fault {
	return &fault{200, "Odoo Server Error", "odoo.exceptions.ValidationError", fmt.Sprintf(format, arguments...)}
}

func (s *Simulator) serve(answer func(http.ResponseWriter, *http.Request, object) (any, *fault)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
			Params object `json:"params"`
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil || json.Unmarshal(body, &q) != nil || q.Method != "call" {
			http.Error(w, "Bad Request", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		result, failed := answer(w, r, q.Params)
		s.mu.Unlock()
		said := object{"jsonrpc": "2.0", "id": q.ID}
		if said["result"] = result; failed != nil {
			delete(said, "result")
			said["error"] = object{"code": failed.code, "message": failed.said, "data": object{
				"name": failed.name, "message": failed.message, "arguments": []any{failed.message}, "context": object{}, "debug": "Traceback (most recent call last): …",
			}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(said) // whoever asked has gone
	}
}

func (s *Simulator) authenticate(w http.ResponseWriter, _ *http.Request, params object) (any, *fault) {
	switch {
	case loose.Text(params, "db") != s.config.Database:
		return nil, &fault{200, "Odoo Server Error", "odoo.exceptions.AccessError", "Database not found."}
	case loose.Text(params, "login") != s.config.Login, loose.Text(params, "password") != s.config.Password:
		return nil, errDenied
	}
	session := rand.Text()
	s.sessions[session] = true
	s.logins++
	http.SetCookie(w, &http.Cookie{Name: "session_id", Value: session, HttpOnly: true, Path: "/"})
	return object{"uid": 2, "db": s.config.Database, "username": s.config.Login}, nil
}

// call answers create and search_read, by equality alone.
func (s *Simulator) call(_ http.ResponseWriter, r *http.Request, params object) (any, *fault) {
	if cookie, err := r.Cookie("session_id"); err != nil || !s.sessions[cookie.Value] {
		return nil, errExpired
	}
	model := loose.Text(params, "model")
	args, _ := params["args"].([]any)
	if len(args) == 0 {
		return nil, invalid("args are missing")
	}
	switch method := loose.Text(params, "method"); method {
	case "create":
		values, ok := args[0].(object)
		if !ok || loose.Text(values, "name") == "" {
			return nil, invalid("The operation cannot be completed: name is a required field")
		}
		values["id"] = len(s.records[model]) + 1
		s.records[model] = append(s.records[model], values)
		return values["id"], nil
	case "search_read":
		domain, _ := args[0].([]any)
		found := []any{}
		for _, record := range s.records[model] {
			if !slices.ContainsFunc(domain, func(term any) bool { return !holds(record, term) }) {
				found = append(found, record)
			}
		}
		return found, nil
	default:
		return nil, &fault{200, "Odoo Server Error", "builtins.AttributeError", fmt.Sprintf("The method %q does not exist on the model %q", method, model)}
	}
}

func holds(record object, term any) bool {
	parts, _ := term.([]any)
	if len(parts) != 3 || parts[1] != "=" {
		return false
	}
	name, _ := parts[0].(string)
	return loose.Text(record, name) == fmt.Sprint(parts[2])
}
