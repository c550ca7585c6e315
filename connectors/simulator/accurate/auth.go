package accurate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// OAuth is a client of the platform, which somebody has granted access.
type OAuth struct {
	ClientID, ClientSecret string
	// Code is the authorisation code that the grant ended in.
	Code string
	// AccessFor is how long an access token is good; 15 days where 0.
	AccessFor time.Duration
}

// token is what a client was given.
type token struct {
	refresh bool
	until   time.Time
}

// skew is how far a signed timestamp may be off.
const skew = 600 * time.Second

// jakarta is the zone of timestamps that name none.
var jakarta = time.FixedZone("WIB", 7*60*60)

// refuses says why a call of the database's API is not let in; nil where it is.
func (s *Simulator) refuses(r *http.Request) *answer {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" {
		return unauthorized("invalid_token")
	}
	if s.config.Token != "" && same(bearer, s.config.Token) {
		return s.unsigned(r)
	}
	s.mu.Lock()
	t, known := s.tokens[bearer]
	session := s.sessions[r.Header.Get("X-Session-ID")]
	s.mu.Unlock()
	switch {
	case !known || t.refresh || !s.now().Before(t.until):
		return unauthorized("invalid_token")
	case !session:
		no := refused("Data Session Key tidak tepat")
		return &no
	}
	return nil
}

// unsigned looks at the signature of the API token's timestamp: the body is not signed.
func (s *Simulator) unsigned(r *http.Request) *answer {
	no := func(message string) *answer {
		return &answer{status: http.StatusUnauthorized, body: object{"s": false, "message": message}}
	}
	stamp, signature := r.Header.Get("X-Api-Timestamp"), r.Header.Get("X-Api-Signature")
	if stamp == "" {
		return no("Header X-Api-Timestamp is required")
	}
	if signature == "" {
		return no("Header X-Api-Signature is required")
	}
	at, ok := parseStamp(stamp)
	if !ok {
		return no("Header X-Api-Timestamp is invalid")
	}
	mac := hmac.New(sha256.New, []byte(s.config.Secret))
	mac.Write([]byte(stamp))
	if !same(signature, base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
		return no("Header X-Api-Signature is invalid")
	}
	if s.now().Sub(at).Abs() > skew {
		return no("X-Api-Timestamp difference more than 600 seconds")
	}
	return nil
}

// parseStamp takes the three forms of a timestamp.
func parseStamp(text string) (time.Time, bool) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), true
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, true
	}
	at, err := time.ParseInLocation("02/01/2006 15:04:05", text, jakarta)
	return at, err == nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func unauthorized(code string) *answer {
	return &answer{status: http.StatusUnauthorized, body: object{"error": code}}
}

// apiToken tells the holder of an API token where its database is.
func (s *Simulator) apiToken(w http.ResponseWriter, r *http.Request) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.config.Token == "" || !same(bearer, s.config.Token) {
		answer{status: http.StatusUnauthorized, body: object{"s": false, "message": "Invalid or Revoked API Token"}}.write(w)
		return
	}
	if no := s.unsigned(r); no != nil {
		no.write(w)
		return
	}
	done(object{"database": object{"id": 1, "alias": "Toko", "host": "http://" + r.Host}}).write(w)
}

// oauthToken gives and refreshes tokens, and answers as RFC 6749 says.
func (s *Simulator) oauthToken(w http.ResponseWriter, r *http.Request) {
	c := s.config.OAuth
	id, secret, _ := r.BasicAuth()
	if unescaped, err := url.QueryUnescape(id); err == nil {
		id = unescaped
	}
	if unescaped, err := url.QueryUnescape(secret); err == nil {
		secret = unescaped
	}
	if c == nil || !same(id, c.ClientID) || !same(secret, c.ClientSecret) {
		unauthorized("invalid_client").write(w)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.FormValue("grant_type") {
	case "authorization_code":
		if !same(r.FormValue("code"), c.Code) {
			answer{status: http.StatusBadRequest, body: object{"error": "invalid_grant"}}.write(w)
			return
		}
	case "refresh_token":
		old := r.FormValue("refresh_token")
		if t, known := s.tokens[old]; !known || !t.refresh {
			answer{status: http.StatusBadRequest, body: object{"error": "invalid_grant"}}.write(w)
			return
		}
		delete(s.tokens, old)
	default:
		answer{status: http.StatusBadRequest, body: object{"error": "unsupported_grant_type"}}.write(w)
		return
	}
	lasts := c.AccessFor
	if lasts == 0 {
		lasts = 15 * 24 * time.Hour
	}
	access, refresh := rand.Text(), rand.Text()
	s.tokens[access] = token{until: s.now().Add(lasts)}
	s.tokens[refresh] = token{refresh: true}
	answer{status: http.StatusOK, body: object{
		"access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": int64(lasts.Seconds()),
		"scope": "sales_order_save sales_invoice_save",
	}}.write(w)
}

// Revoke ends all access that was given by OAuth.
func (s *Simulator) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
	clear(s.sessions)
}

// databases lists those of an OAuth client.
func (s *Simulator) databases(w http.ResponseWriter, r *http.Request) {
	if s.access(w, r) {
		done([]any{object{"id": 1, "alias": "Toko"}}).write(w)
	}
}

// openDatabase begins a session at a database's host.
func (s *Simulator) openDatabase(w http.ResponseWriter, r *http.Request) {
	if !s.access(w, r) {
		return
	}
	if r.FormValue("id") != "1" {
		refused("Database tidak ditemukan").write(w)
		return
	}
	session := rand.Text()
	s.mu.Lock()
	s.sessions[session] = true
	s.mu.Unlock()
	answer{status: http.StatusOK, body: object{"s": true, "d": []any{"Proses Berhasil Dilakukan"}, "host": "http://" + r.Host, "session": session}}.write(w)
}

func (s *Simulator) access(w http.ResponseWriter, r *http.Request) bool {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	t, known := s.tokens[bearer]
	s.mu.Unlock()
	if !known || t.refresh || !s.now().Before(t.until) {
		unauthorized("invalid_token").write(w)
		return false
	}
	return true
}
