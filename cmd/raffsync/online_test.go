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
		err := checkOnline(t.Context(), &out, registry(), file.Configuration.Destinations, test.names, true)
		if out.String() != test.out || test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%d %v: %q, %v", test.status, test.names, out.String(), err)
		}
		if err != nil && strings.Contains(err.Error(), "tok-0123456789") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
}
