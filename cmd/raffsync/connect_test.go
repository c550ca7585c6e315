package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"raffsync/outbox"
)

// What a person pastes, and what of it is taken.
func TestReadCode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, pasted, code, wrong string }{
		{"Code", "4/0Ab_c-d\n", "4/0Ab_c-d", ""},
		{"Address", "https://sync.example/callback?state=mine&code=abc\n", "abc", ""},
		{"WithoutALineFeed", " abc ", "abc", ""},
		{"AnotherState", "http://127.0.0.1/callback?state=theirs&code=abc\n", "", "begin again"},
		{"NoState", "http://127.0.0.1/callback?code=abc\n", "", "begin again"},
		{"Denied", "http://127.0.0.1/callback?state=mine&error=access_denied\n", "", "access_denied"},
		{"NoCode", "http://127.0.0.1/callback?state=mine\n", "", "no code"},
		{"Nothing", "\n", "", "no code"},
		{"End", "", "", "no code"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, err := readCode(strings.NewReader(c.pasted), "mine")
			if code != c.code || (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%q, %v; want %q, %q", code, err, c.code, c.wrong)
			}
		})
	}
	if _, err := codeOf(url.Values{"state": {""}, "code": {"a"}}, "mine"); err == nil {
		t.Error("an empty state is taken")
	}
}

// The state folder's key is made once, however many processes start at the same moment,
// and never for a Postgres of the user's.
func TestSecretKeys(t *testing.T) {
	t.Parallel()
	line := &commandLine{State: t.TempDir()}
	if keys, err := secretKeys(line, false); err != nil || keys != nil {
		t.Fatalf("for a Postgres of the user's: %v, %v", keys, err)
	}
	var all sync.WaitGroup
	texts := make([]string, 8)
	for i := range texts {
		all.Go(func() {
			text, err := keptKey(filepath.Join(line.State, secretKeyFile))
			if err != nil {
				t.Error(err)
			}
			texts[i] = strings.TrimSpace(text)
		})
	}
	all.Wait()
	for _, text := range texts {
		if text == "" || text != texts[0] {
			t.Fatalf("%d keys were made", len(texts))
		}
	}
	if left, err := filepath.Glob(filepath.Join(line.State, ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if keys, err := secretKeys(line, true); err != nil || keys == nil {
		t.Errorf("%v, %v", keys, err)
	}

	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(outbox.NewKey()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	line.SecretKey = "file:" + path
	if keys, err := secretKeys(line, false); err != nil || keys == nil {
		t.Errorf("by reference: %v, %v", keys, err)
	}
	line.SecretKey = "hush-no-key"
	if _, err := secretKeys(line, true); err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "RAFFSYNC_SECRET_KEY") {
		t.Errorf("one that is none: %v", err)
	}
}
