package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raffsync/cmd/raffsync/config"
)

func TestCheckOnline(t *testing.T) {
	t.Setenv("LEDGER_TOKEN", "tok-0123456789")
	var status int
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v1/me" || r.Header.Get("Authorization") != "Bearer tok-0123456789" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"error": "tok-0123456789 is refused"}`))
	}))
	defer platform.Close()
	path := filepath.Join(t.TempDir(), "shop.yaml")
	content := `tenant: kopi
destinations:
  ledger:
    recipe:
      url: ` + platform.URL + `/v1
      settings: {token: {doc: The token, secret: true}}
      headers: {Authorization: "Bearer ${settings.token}"}
      check: {url: /me}
      calls: {invoice: {map: {a: 1}}}
    settings: {token: "env:LEDGER_TOKEN"}
  books:
    recipe: {url: "https://api.example.com", calls: {invoice: {map: {a: 1}}}}
`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(path, config.Options{Registry: registry(), Rules: ruleSets(), AllowLoopback: true, Secrets: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Configuration.Destinations[1].Timeout; got != 10*time.Second {
		t.Errorf("time-out %s", got)
	}
	for _, test := range []struct {
		status int
		names  []string
		out    string
		err    string
	}{
		{200, []string{"ledger"}, "ledger: the platform answers, and takes the credentials\n", ""},
		{200, []string{"all"}, "ledger: the platform answers, and takes the credentials\n", ""},
		{401, []string{"ledger"}, "", "ledger: AUTH_REVOKED: 401 Unauthorized: the platform refuses the credential"},
		{503, []string{"ledger"}, "", "503 Service Unavailable"},
		{200, []string{"books"}, "", "books: the recipe has no check"},
		{200, []string{"stock"}, "", "there is no such destination; expected one of books, ledger, or all"},
	} {
		status = test.status
		var out strings.Builder
		a := &asking{out: &out, kinds: registry(), loopback: true}
		err := a.checkOnline(t.Context(), file.Configuration.Destinations, test.names)
		if out.String() != test.out || test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%d %v: %q, %v", test.status, test.names, out.String(), err)
		}
		if err != nil && strings.Contains(err.Error(), "tok-0123456789") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
}

// What a person agreed to is in the database: where that can't be read, it is said that
// nothing was tried, and why, by an exit status of its own; where it can, the platform is
// asked with it.
func TestProgram_ChecksOnlineWithWhatIsKept(t *testing.T) {
	t.Parallel()
	x, in := newXeroBooks(t, nil), newInstallation(t)
	in.env = append(in.env, "XERO_ID=client", "XERO_SECRET=client-secret-text", "SHOPIFY_SECRET=hush")
	untried := func(config, why string, more ...string) {
		t.Helper()
		stdout, stderr, code := in.try(append([]string{"check", config, "--online", "books", "--development"}, more...)...)
		if code != untriedStatus || !strings.Contains(stderr, "books: not tried: what a person agreed to by `raffsync connect books` is kept in the database") || !strings.Contains(stderr, why) {
			t.Errorf("status %d, %s%s\nwant %s", code, stdout, stderr, why)
		}
	}
	config := in.write("shopify-xero.yaml", x.example(t, "shopify-xero.yaml"))
	untried(config, "no installation")
	in.env = append(in.env, "DATABASE_URL=postgres://raffsync@127.0.0.1:1/raffsync")
	untried(config, "127.0.0.1:1")
	in.env = in.env[:len(in.env)-1]
	x.started(t, in, "shopify-xero.yaml")
	if out := in.run("check", config, "--online", "books", "--development"); !strings.Contains(out, "books: the platform answers, and takes the credentials") {
		t.Errorf("check says\n%s", out)
	}
	untried(in.write("other.yaml", strings.Replace(x.example(t, "shopify-xero.yaml"), "tenant: kopi", "tenant: teh", 1)), "tenant teh has no configuration there yet")
	in.run("connections", "disconnect", "books", "--reason", "test")
	if _, stderr, code := in.try("check", config, "--online", "books", "--development"); code != 1 || !strings.Contains(stderr, "not connected: run raffsync connect") {
		t.Errorf("status %d, %s", code, stderr)
	}
}
