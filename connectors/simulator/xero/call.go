package xero

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	keyFor     = 6 * time.Minute
	longestKey = 128
	maxBody    = 4 << 20
)

// remembered is the answer that a key got.
type remembered struct {
	request [sha256.Size]byte
	until   time.Time
	reply   reply
}

// reply is what a call comes to.
type reply struct {
	status int
	body   any
}

// call is one call of the accounting API.
func (s *Simulator) call(w http.ResponseWriter, r *http.Request) {
	if !s.letIn(r) {
		unauthorized(w)
		return
	}
	if r.Header.Get("Xero-Tenant-Id") != s.config.Tenant {
		write(w, http.StatusForbidden, map[string]any{"Type": nil, "Title": "Forbidden", "Status": 403, "Detail": "AuthenticationUnsuccessful"})
		return
	}
	s.mu.Lock()
	v := s.limits.enter(s.now(), cmp.Or(s.config.ConcurrencyProblem, "concurrent"))
	s.mu.Unlock()
	v.headers(w.Header())
	if v.problem != "" {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.limits.there--
	}()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	fault := s.fault(r)
	switch fault {
	case Unavailable:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		return
	case Reset:
		panic(http.ErrAbortHandler)
	}
	reply := s.once(r, body)
	switch fault {
	case ResetAfter:
		panic(http.ErrAbortHandler)
	case InternalAfter:
		http.Error(w, "An error occurred in Xero", http.StatusInternalServerError)
		return
	case SilentAfter:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	write(w, reply.status, reply.body)
}

func (s *Simulator) fault(r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.config.Fault == nil {
		return None
	}
	return s.config.Fault(s.calls, r.Method, r.URL.Path)
}

// once carries a call out, or answers as it did to the first with the same key.
func (s *Simulator) once(r *http.Request, body []byte) reply {
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == "" || r.Method == http.MethodGet {
		return s.act(r, body)
	}
	if len(key) > longestKey {
		return invalidKey("The Idempotency-Key header is longer than 128 characters")
	}
	request := sha256.Sum256(bytes.Join([][]byte{[]byte(r.Method), []byte(r.URL.String()), body}, []byte{0}))
	if first, known := s.keys[key]; known && s.now().Before(first.until) {
		if first.request != request {
			return invalidKey("The Idempotency-Key header was used with a different request")
		}
		return first.reply
	}
	done := s.act(r, body)
	s.keys[key] = remembered{request, s.now().Add(keyFor), done}
	return done
}

func invalidKey(message string) reply {
	return reply{http.StatusBadRequest, map[string]any{"ErrorNumber": 16, "Type": "QueryParseException", "Message": message}}
}

// act does what is asked for.
func (s *Simulator) act(r *http.Request, body []byte) reply {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api.xro/2.0/"), "/")
	switch b := s.books[path[0]]; {
	case path[0] == "Contacts":
		return s.actOnContacts(r, path, body)
	case path[0] == "CreditNotes" && len(path) == 3 && path[2] == "Allocations" && r.Method == http.MethodPut:
		return s.allocate(path[1], body)
	case b == nil || len(path) > 2:
	case r.Method == http.MethodGet:
		return s.find(path, r.URL.Query())
	case r.Method == http.MethodPut && len(path) == 1, r.Method == http.MethodPost:
		return s.saveAll(path, r, body)
	}
	return reply{http.StatusNotFound, map[string]any{"Title": "NotFound", "Status": 404}}
}
