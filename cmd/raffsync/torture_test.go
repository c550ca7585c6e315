package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Everything goes wrong for a while, and every promise is kept. `make torture` does it
// for longer.
func TestTorture(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tortured(path, "--duration", "15s", "--full-disk")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(out)
}

// The rig proves itself: `make torture-mutants` runs all flaws, this is three of them.
func TestTorture_CatchesMutants(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "raffsync-mutants")
	if out, err := exec.Command("go", "build", "-tags", "mutants", "-o", path, "raffsync/cmd/raffsync").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	flaws := []string{"no-intent", "no-deduplication", "hidden-replay"}
	out, err := tortured(path, "--duration", "8s", "--mutants", "--only", strings.Join(flaws, ","))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, flaw := range flaws {
		if !strings.Contains(out, flaw) {
			t.Errorf("%s was not run:\n%s", flaw, out)
		}
	}
	t.Log(out)
}

// A program that is for use has no flaw in it that could be turned on.
func TestTorture_NoFlawsWithoutTheTag(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tortured(path, "--mutants")
	if err == nil || !strings.Contains(out, "-tags mutants") {
		t.Errorf("%v\n%s", err, out)
	}
}

// tortured runs `raffsync torture`. Nothing of it needs fsync: only processes are killed.
func tortured(path string, arguments ...string) (string, error) {
	cmd := exec.Command(path, append([]string{"torture", "--no-fsync"}, arguments...)...)
	cmd.Env = environWithout("DATABASE_URL")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
