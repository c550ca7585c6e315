package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"raffsync/connectors/auth"
	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// oauthPlatform takes events from whoever has its newest token, and gives tokens for
// codes and for its newest refresh token.
type oauthPlatform struct {
	*httptest.Server
	mu       sync.Mutex
	given    int // tokens
	revoked  bool
	events   []string
	asked    atomic.Int64
	rejected atomic.Int64
}

func newOAuthPlatform(t testing.TB) *oauthPlatform {
	p := &oauthPlatform{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		http.Redirect(w, r, q.Get("redirect_uri")+"?code=code-1&state="+q.Get("state"), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if r.PostFormValue("grant_type") == "refresh_token" && r.PostFormValue("refresh_token") != fmt.Sprintf("refresh-%d-secret", p.given) || r.PostFormValue("grant_type") == "authorization_code" && r.PostFormValue("code_verifier") == "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		p.given++
		p.revoked = false
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": fmt.Sprintf("access-%d-secret", p.given), "refresh_token": fmt.Sprintf("refresh-%d-secret", p.given), "expires_in": 1800,
		})
	})
	mux.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.revoked || r.Header.Get("Authorization") != fmt.Sprintf("Bearer access-%d-secret", p.given) {
			p.rejected.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"not with %s"}}`, r.Header.Get("Authorization"))
			return
		}
		p.events = append(p.events, r.Header.Get("Ce-Id"))
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// revoke has the access token refused from now on, until another is asked for.
func (p *oauthPlatform) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = true
}

func (p *oauthPlatform) has(id string) func() bool {
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return strings.Contains(strings.Join(p.events, " ")+" ", id+" ")
	}
}

func (p *oauthPlatform) auth(secret string) string {
	return fmt.Sprintf(`{"kind": "oauth2_authorization_code", "authorize_url": "%[1]s/authorize", "token_url": "%[1]s/token", "client_id": "shop", "client_secret": %[2]q, "refresh_unused": "1440h"}`, p.URL, secret)
}

var consentAddress = regexp.MustCompile(`http://\S+/authorize\S+`)

// Somebody connects a destination; its token ends, and is renewed once; the program starts
// again and goes on; nothing of it is to be read anywhere.
func TestProgram_Connect(t *testing.T) {
	t.Parallel()
	p, in := newOAuthPlatform(t), newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(`
tenant: kopi
sources: {till: {}}
destinations:
  books:
    webhook: {url: "%s/events", secret: %q, auth: %s}
routes:
  all: {from: till, to: books, retry: {initial: 1h, cap: 1h}}
`, p.URL, "file:"+in.write("books.secret", receiverSecret), p.auth("file:"+in.write("client.secret", "client-secret-text"))))
	serve := func() *process {
		process := in.start("serve", "--development", "--config", config)
		process.until(`"msg":"ready"`)
		return process
	}
	program := serve()
	key := strings.TrimSpace(in.run("keys", "create", "till"))
	db := in.database()

	send(t, t.Context(), in, key, testEvent("e-0", "order/0", "order.created"))
	waitUntil(t, func() bool {
		return query[int](t, db, `SELECT count(*) FROM exceptions WHERE class = 'AUTH_REVOKED'`) == 1
	},
		func() string { return "nobody is told that it is not connected\n" + program.log.String() })

	redirect := "http://" + freeAddress(t) + "/callback"
	connecting := in.start("connect", "books", "--development", "--redirect", redirect)
	connecting.until("waiting for the answer")
	if answer, err := http.Get(redirect + "?code=stolen&state=another"); err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Fatalf("somebody else's answer: %v, %v", answer, err)
	}
	if answer, err := http.Get(consentAddress.FindString(connecting.log.String())); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("the browser ends at %v, %v", answer, err)
	}
	connecting.until("books is connected")
	waitUntil(t, connecting.ended, func() string { return "it does not end" })

	attempts := func(id string) string {
		return query[string](t, db, `SELECT coalesce(string_agg(t.kind::text, ' ' ORDER BY t.entry), '') FROM timeline t JOIN events e ON e.seq = t.event WHERE t.what = 'attempt' AND e.id = '`+id+`'`)
	}
	delivered := func(id, kinds string) {
		t.Helper()
		send(t, t.Context(), in, key, testEvent(id, "order/"+id, "order.created"))
		waitUntil(t, p.has(id), func() string { return id + " does not arrive: " + attempts(id) + "\n" + program.log.String() })
		waitUntil(t, func() bool { return attempts(id) == kinds }, func() string { return id + ": " + attempts(id) + ", want " + kinds })
	}
	delivered("e-1", "1")
	p.revoke()
	asked := p.asked.Load()
	delivered("e-2", "6 1") // at once, though retries wait for an hour
	if n := p.asked.Load() - asked; n != 1 {
		t.Errorf("%d refreshes", n)
	}

	program.signal(syscall.SIGKILL)
	waitUntil(t, program.ended, func() string { return "it lives" })
	program = serve()
	db = in.database()
	delivered("e-3", "1")

	if list := in.run("connections", "list"); !strings.Contains(list, "books") || !strings.Contains(list, "connected; lost at") {
		t.Errorf("list: %s", list)
	}
	said := program.log.String() + connecting.log.String() + in.run("connections", "show", "books") + in.run("connections", "list", "--json") +
		query[string](t, db, `SELECT string_agg(t::text, ' ') FROM timeline t`) + query[string](t, db, `SELECT string_agg(c::text, ' ') FROM connections c`)
	for _, secret := range []string{"access-", "refresh-1", "refresh-2", "client-secret-text", "code-1"} {
		if strings.Contains(said, secret) {
			t.Errorf("%s… is to be read", secret)
		}
	}
	if info, err := os.Stat(filepath.Join(in.state, secretKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}

	in.run("connections", "disconnect", "books", "--reason", "test")
	if _, stderr, code := in.try("connections", "disconnect", "books", "--reason", "test"); code != 1 || !strings.Contains(stderr, "nothing is kept") {
		t.Errorf("a second time: %d, %s", code, stderr)
	}
	if list := in.run("connections", "list"); !strings.Contains(list, "not connected") {
		t.Errorf("list: %s", list)
	}
}

// Two processes on one Postgres, a hundred requests that come back with 401 at once: one
// refresh.
func TestConnections_OneRefreshOverReplicas(t *testing.T) {
	t.Parallel()
	p, dsn := newOAuthPlatform(t), outboxtest.NewDatabase(t)
	keys, err := outbox.ParseKeys(outbox.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	var all []auth.Connector
	var stores []*outbox.Store
	for range 2 {
		store, err := outbox.Open(t.Context(), outbox.Config{DSN: dsn, AllowUnsafe: true, Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		a, err := auth.New(auth.Config{
			Settings: json.RawMessage(p.auth("env:X")), Secret: func(string) (string, error) { return "s", nil },
			Store: connections{store.Connections("kopi", 1)}, AllowLoopback: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		all, stores = append(all, a.(auth.Connector)), append(stores, store)
	}
	consent, err := all[0].Consent("http://127.0.0.1:1/callback")
	if err != nil {
		t.Fatal(err)
	}
	given, err := all[0].Exchange(t.Context(), consent, "code-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stores[0].Connect(t.Context(), outbox.Actor{Tenant: "kopi", Name: "ayu"}, 1, outbox.Connection(given)); err != nil {
		t.Fatal(err)
	}
	post := func(a auth.Connector) (int, *http.Request) {
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, p.URL+"/events", nil)
		if err == nil {
			err = a.Authorize(t.Context(), r)
		}
		if err != nil {
			t.Error(err)
			return 0, r
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return 0, r
		}
		answer.Body.Close()
		return answer.StatusCode, r
	}
	for _, a := range all {
		if status, _ := post(a); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
	}
	p.revoke()
	asked := p.asked.Load()
	var rejected, done sync.WaitGroup
	rejected.Add(100)
	for i := range 100 {
		done.Go(func() {
			status, r := post(all[i%2])
			rejected.Done()
			rejected.Wait()
			if status != http.StatusUnauthorized {
				t.Errorf("status %d of the old token", status)
			}
			all[i%2].Rejected(t.Context(), r)
			if status, _ := post(all[i%2]); status != http.StatusOK {
				t.Errorf("status %d after the refresh", status)
			}
		})
	}
	done.Wait()
	if n := p.asked.Load() - asked; n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}
