// Package tryton plays Tryton's JSON-RPC as its web client speaks it: the login that gives a
// user's id and a session, and calls of models' methods, with records that tests can look
// into.
//
// The shapes are from tryton/trytond: trytond/protocols/wrappers.py (the header
// Authorization: Session BASE64(login:user:session)), dispatcher.py (common.db.login), and
// from its web client sao (session.js, rpc.js), which takes {"error": ["401 …", …]} inside
// HTTP 200 for a session that has ended, and ["LoginException", …] for a login that lacks
// something. Not verified at a running Tryton: which versions say so with status 401 instead
// ([Config.Status]), and which answer a wrong password with a null result
// ([Config.NullLogin]).
package tryton

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"raffsync/connectors/simulator/loose"
)

// Config of a server.
type Config struct {
	Database, Login, Password string
	// Status: a session that has ended is answered with 401, and not inside 200.
	Status bool
	// NullLogin: a wrong password gives a null result, and no LoginException.
	NullLogin bool
}

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

// user is the id of the one that there is.
const user = 7

// Handler serves it.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{database}/{$}", s.serve)
	return mux
}

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ID     any    `json:"id"`
		Method string `json:"method"`
		Params []any  `json:"params"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &q) != nil || r.PathValue("database") != s.config.Database {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	said := object{"id": q.ID}
	switch {
	case q.Method == "common.db.login":
		s.login(said, q.Params)
	case !s.known(r.Header.Get("Authorization")) && s.config.Status:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	case !s.known(r.Header.Get("Authorization")):
		said["error"] = []any{"401 Unauthorized: the session has ended", ""}
	default:
		s.call(said, q.Method, q.Params)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(said) // whoever asked has gone
}

func (s *Simulator) login(said object, params []any) {
	parameters := object{}
	if len(params) > 1 {
		parameters, _ = params[1].(object)
	}
	switch right := len(params) > 1 && params[0] == s.config.Login && loose.Text(parameters, "password") == s.config.Password; {
	case right:
		session := rand.Text()
		s.sessions[session] = true
		s.logins++
		said["result"] = []any{user, session}
	case s.config.NullLogin:
		said["result"] = nil
	default:
		said["error"] = []any{"LoginException", []any{"password", "Password for " + s.config.Login, "password"}}
	}
}

func (s *Simulator) known(header string) bool {
	encoded, ok := strings.CutPrefix(header, "Session ")
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	parts := strings.Split(string(decoded), ":")
	return ok && err == nil && len(parts) == 3 && parts[0] == s.config.Login && parts[1] == fmt.Sprint(user) && s.sessions[parts[2]]
}

// call answers create and search_read of any model, by equality alone.
func (s *Simulator) call(said object, method string, params []any) {
	refuse := func(message string) { said["error"] = []any{"UserError", []any{message, "", nil}} }
	model, isCreate := strings.CutSuffix(strings.TrimPrefix(method, "model."), ".create")
	model, isSearch := strings.CutSuffix(model, ".search_read")
	if len(params) < 2 || !isCreate && !isSearch {
		refuse("Calling method " + method + " is not allowed.")
		return
	}
	list, _ := params[0].([]any)
	if isSearch {
		found := []any{}
		for _, record := range s.records[model] {
			if !slices.ContainsFunc(list, func(term any) bool { return !holds(record, term) }) {
				found = append(found, record)
			}
		}
		said["result"] = found
		return
	}
	var ids []any
	for _, element := range list {
		values, ok := element.(object)
		if !ok || loose.Text(values, "name") == "" {
			refuse("The field \"Name\" on \"Party\" is required.")
			return
		}
		values["id"] = len(s.records[model]) + 1
		s.records[model] = append(s.records[model], values)
		ids = append(ids, values["id"])
	}
	said["result"] = ids
}

func holds(record object, term any) bool {
	parts, _ := term.([]any)
	if len(parts) != 3 || parts[1] != "=" {
		return false
	}
	name, _ := parts[0].(string)
	return loose.Text(record, name) == fmt.Sprint(parts[2])
}
