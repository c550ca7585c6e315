package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const suite = `package suite

import (
	"os"
	"testing"
)

func TestPasses(t *testing.T) { t.Log("chatter") }
func TestSkips(t *testing.T)  { t.Skip("nothing to try it on") }
func TestParent(t *testing.T) {
	t.Run("Good", func(t *testing.T) { t.Log("chatter") })
	t.Run("Bad", func(t *testing.T) {
		if os.Getenv("SUITE_FAILS") != "" {
			t.Error("it is broken")
		}
	})
}
`

// What make test runs tells of every skipped test, and otherwise what go test tells.
func TestGotest(t *testing.T) {
	t.Parallel()
	tool, err := filepath.Abs("../../.tools/gotest/main.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module suite\n\ngo 1.26\n", "suite_test.go": suite, "bad/bad.go": "package bad\n\nvar x int = \"\"\n", "bad/bad_test.go": "package bad\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "gotest")
	if out, err := exec.Command("go", "build", "-o", binary, tool).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]struct {
		environment string
		packages    string
		fails       bool
		says, not   []string
	}{
		"Passes":   {"", ".", false, []string{"ok  \tsuite\t", "skipped 1 of 5 tests:\n  suite TestSkips: suite_test.go:9: nothing to try it on\n"}, []string{"chatter", "PASS", "FAIL", "==="}},
		"Fails":    {"SUITE_FAILS=1", ".", true, []string{"--- FAIL: TestParent/Bad", "it is broken", "FAIL\tsuite\t", "nothing to try it on", "\nFAIL\n"}, []string{"chatter", "==="}},
		"NoBuild":  {"", "./bad", true, []string{"bad.go:3:13", "FAIL\tsuite/bad [build failed]"}, nil},
		"NoSuch":   {"", "./nowhere", true, []string{"nowhere"}, nil},
		"Panicked": {"SUITE=", "-timeout=1ns .", true, []string{"panic: test timed out", "FAIL\tsuite\t"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(binary, strings.Fields(test.packages)...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), test.environment)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); (err != nil) != test.fails {
				t.Errorf("it ended with %v", err)
			}
			for _, text := range test.says {
				if !strings.Contains(out.String(), text) {
					t.Errorf("it does not say %q:\n%s", text, out.String())
				}
			}
			for _, text := range test.not {
				if strings.Contains(out.String(), text) {
					t.Errorf("it says %q:\n%s", text, out.String())
				}
			}
		})
	}
}
