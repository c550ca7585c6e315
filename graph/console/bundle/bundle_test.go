package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is committed is what the sources of the page and the lock file give.
func TestBundle_IsUpToDate(t *testing.T) {
	modules, err := packages(t.Context(), "..")
	switch {
	case errors.Is(err, errNoNPM):
		t.Skipf("SKIPPED, the committed page is not compared: %v", err)
	case err != nil && unreachable.MatchString(err.Error()):
		t.Skipf("SKIPPED, the committed page is not compared: npm cannot reach its packages: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	files, err := bundle("..", modules)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "built", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("built/%s differs from what its sources give; run `make console` and commit what it makes", name)
		}
	}
	there, err := os.ReadDir("../built")
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(files) {
		t.Errorf("built holds %d files, its sources give %d", len(there), len(files))
	}
}

var unreachable = regexp.MustCompile(`ENOTFOUND|ECONNREFUSED|ETIMEDOUT|ECONNRESET|EAI_AGAIN|ENETUNREACH`)

// The page is loaded from its own host only: no tag, style or import leads elsewhere.
func TestBuilt_LoadsNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import\s+(url\()?["']?(https?:)?//|url\(\s*["']?(https?:)?//|importScripts\(\s*["'](https?:)?//`)
	for _, name := range []string{"index.html", "page.css", "page.js"} {
		content, err := os.ReadFile(filepath.Join("..", "built", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range elsewhere.FindAllIndex(content, -1) {
			around := string(content[max(0, found[0]-40):min(len(content), found[1]+60)])
			if !strings.HasSuffix(name, ".js") || !strings.Contains(around, "://www.w3.org/") {
				t.Errorf("%s leads elsewhere: …%s…", name, around)
			}
		}
	}
	lock, err := os.ReadFile("../package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(lock, []byte(`"resolved"`)) {
		t.Error("package-lock.json names where packages come from; .npmrc keeps npm from it")
	}
}
