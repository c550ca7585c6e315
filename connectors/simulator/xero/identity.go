package xero

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// OAuth is the app that the organisation is connected to.
type OAuth struct {
	ClientID, ClientSecret string
	// Code is the authorisation code that the grant ended in.
	Code string
}

// How long tokens are good: of an access token; of a refresh token that is not used; of
// one that was, so that a lost answer can be asked for again.
const (
	accessFor = 30 * time.Minute
	unusedFor = 60 * 24 * time.Hour
	graceFor  = 30 * time.Minute
)

type token struct {
	refresh bool
	until   time.Time
}

// token gives and refreshes tokens, and answers as RFC 6749 says.
func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	id, secret = unescaped(id), unescaped(secret)
	if !same(id, s.config.OAuth.ClientID) || !same(secret, s.config.OAuth.ClientSecret) {
		write(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.FormValue("grant_type") {
	case "authorization_code":
		if !same(r.FormValue("code"), s.config.OAuth.Code) {
			write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
	case "refresh_token":
		old := r.FormValue("refresh_token")
		t, known := s.tokens[old]
		if !known || !t.refresh || !now.Before(t.until) {
			write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			return
		}
		if grace := now.Add(graceFor); grace.Before(t.until) {
			s.tokens[old] = token{true, grace}
		}
	default:
		write(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	access, refresh := rand.Text(), rand.Text()
	s.tokens[access], s.tokens[refresh] = token{false, now.Add(accessFor)}, token{true, now.Add(unusedFor)}
	write(w, http.StatusOK, map[string]any{
		"access_token": access, "refresh_token": refresh, "token_type": "Bearer",
		"expires_in": int(accessFor.Seconds()), "scope": "offline_access accounting.transactions",
	})
}

// Disconnect ends the app's access, as a person can in Xero's settings.
func (s *Simulator) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func (s *Simulator) connections(w http.ResponseWriter, r *http.Request) {
	if !s.letIn(r) {
		unauthorized(w)
		return
	}
	write(w, http.StatusOK, []any{map[string]any{"id": newID(), "tenantId": s.config.Tenant, "tenantType": "ORGANISATION", "tenantName": "Shop"}})
}

// letIn tells whether the request carries an access token that is good.
func (s *Simulator) letIn(r *http.Request) bool {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[bearer]
	return ok && known && !t.refresh && s.now().Before(t.until)
}

func unauthorized(w http.ResponseWriter) {
	write(w, http.StatusUnauthorized, map[string]any{"Type": nil, "Title": "Unauthorized", "Status": 401, "Detail": "TokenExpired: token expired or not valid"})
}

func unescaped(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// newID is a UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// The caller may have gone; the books know all the same.
	_ = json.NewEncoder(w).Encode(body)
}
