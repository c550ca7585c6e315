package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const secretText = "hush-9f8e7d6c5b4a"

// resolve knows the secrets of the tests.
func resolve(reference string) (string, error) {
	switch reference {
	case "env:ID":
		return "client", nil
	case "env:SECRET":
		return secretText, nil
	}
	return "", errors.New(reference + " is not set")
}

func build(t testing.TB, store Store, settings string, now func() time.Time) *authenticator {
	t.Helper()
	a, err := New(Config{Settings: json.RawMessage(settings), Secret: resolve, Store: store, AllowLoopback: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a.(*authenticator)
}

// platform is a token endpoint and an API that takes its newest token only.
type platform struct {
	*httptest.Server
	asked atomic.Int64 // requests for a token
	// answer replaces the answer of the token endpoint; nil for a good one.
	answer atomic.Pointer[http.HandlerFunc]

	mu      sync.Mutex
	token   string
	refresh string
	forms   []map[string][]string
	header  []http.Header
}

func newPlatform(t testing.TB) *platform {
	p := &platform{refresh: "refresh-0"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		_ = r.ParseForm()
		p.mu.Lock()
		p.forms, p.header = append(p.forms, r.PostForm), append(p.header, r.Header)
		p.mu.Unlock()
		if answer := p.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		p.rotate(w, r)
	})
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+p.token {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// rotate gives a new token and a new refresh token for the newest refresh token.
func (p *platform) rotate(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") != p.refresh {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"` + r.PostForm.Get("refresh_token") + `"}`))
		return
	}
	n := strings.Repeat("i", int(p.asked.Load()))
	p.token, p.refresh = "token-"+n, "refresh-"+n
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": p.token, "refresh_token": p.refresh, "expires_in": 1800, "token_type": "Bearer"})
}

func (p *platform) says(f http.HandlerFunc) { p.answer.Store(&f) }

func (p *platform) code() string {
	return `{"kind":"oauth2_authorization_code","authorize_url":"` + p.URL + `/authorize?flavour=x","token_url":"` + p.URL + `/token",
"client_id":"env:ID","client_secret":"env:SECRET","scopes":["a","offline_access"],"refresh_unused":"1440h"}`
}

func (p *platform) credentials() string {
	return `{"kind":"oauth2_client_credentials","token_url":"` + p.URL + `/token","client_id":"env:ID","client_secret":"env:SECRET","scopes":["a"]}`
}

// connected is a store in which somebody has connected the platform.
func connected(t testing.TB, p *platform, a *authenticator, store *Memory) {
	t.Helper()
	consent, err := a.Consent("http://127.0.0.1:1/callback")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Exchange(t.Context(), consent, "the-code")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := store.Load(t.Context())
	claim, err := store.Claim(t.Context(), before.Version, time.Minute)
	if err != nil || !claim.Granted {
		t.Fatalf("claim %+v, %v", claim, err)
	}
	if _, err := store.Save(t.Context(), claim, c); err != nil {
		t.Fatal(err)
	}
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func get(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func authorized(t testing.TB, a Authenticator, url string) *http.Request {
	t.Helper()
	r := get(t, url)
	if err := a.Authorize(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func failure(t testing.TB, a Authenticator) *Error {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := a.Authorize(t.Context(), r); !errors.As(err, &e) {
		t.Fatalf("authorised, %v", err)
	}
	if strings.Contains(e.Reason, secretText) || strings.Contains(e.Reason, "refresh-") || strings.Contains(e.Reason, "token-") {
		t.Fatalf("the error tells a secret: %s", e.Reason)
	}
	return e
}
