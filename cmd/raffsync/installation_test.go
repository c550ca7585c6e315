package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"raffsync/outbox/pglocal"
)

// cluster is the folder of the installation's embedded Postgres.
func (in *installation) cluster() string {
	in.t.Helper()
	dir, _, err := clusterOf(in.state, nil)
	if err != nil {
		in.t.Fatal(err)
	}
	return dir
}

// Ctrl-C while it is still starting ends it, and leaves no Postgres behind.
func TestProgram_StopsWhileItStarts(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	dir, err := pglocal.DefaultDir(instanceName(in.state))
	if err != nil {
		t.Fatal(err)
	}
	p := in.start("serve")
	// From here on there is something to leave behind: a server, or its initdb.
	waitUntil(t, func() bool {
		making, _ := filepath.Glob(filepath.Join(dir, "data*"))
		return len(making) > 0 || p.ended()
	}, func() string { return "no data directory was begun" })
	p.signal(syscall.SIGINT)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(p.log.String(), "panic") {
		t.Errorf("it ended with status %d:\n%s", code, p.log)
	}
	waitUntil(t, func() bool { return len(processesOf(t, dir)) == 0 }, func() string {
		return fmt.Sprintf("left behind: %v", processesOf(t, dir))
	})
	if _, stderr, code := in.try("migrate"); code != 0 {
		t.Errorf("the next command: status %d, %s", code, stderr)
	}
}

// processesOf are the processes with the folder in their command line or as their
// working directory, as Postgres' have it.
func processesOf(t *testing.T, dir string) (found []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	if len(processes) == 0 {
		t.Skip("there is no /proc to look into")
	}
	for _, process := range processes {
		line, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(process, "cwd"))
		if text := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(text, dir) || strings.HasPrefix(cwd, dir+"/") {
			found = append(found, filepath.Base(process)+" "+text)
		}
	}
	return found
}

// Commands that only look make nothing, and say where they looked.
func TestProgram_LookingMakesNoInstallation(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	file := in.write("shop.yaml", "tenant: kopi\nsources: {till: {}}\n")
	for _, arguments := range [][]string{{"story", "1042"}, {"keys", "list"}, {"keys", "create", "till"}, {"keys", "operator", "bob"}, {"apply", file}, {"reset", "--yes"}} {
		if stdout, stderr, code := in.try(arguments...); code != 1 || !strings.Contains(stderr, "no installation in "+in.state) || !strings.Contains(stderr, "--state") {
			t.Errorf("%v: status %d\n%s%s", arguments, code, stdout, stderr)
		}
	}
	if _, err := os.Lstat(in.state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state folder was made: %v", err)
	}
	if dir, _ := pglocal.DefaultDir(instanceName(in.state)); pglocal.Exists(dir) {
		t.Errorf("%s was made", dir)
	}
}

// An installation may be moved; the place that it left makes another one. What has lost
// its data says so, and reset deletes it.
func TestProgram_AnInstallationMoves(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	file := in.write("shop.yaml", "tenant: kopi\nsources: {till: {}}\n")
	first := in.state
	if _, stderr, code := in.try("migrate"); code != 0 || !strings.Contains(stderr, "preparing Postgres in ") {
		t.Fatalf("migrate: status %d, %s", code, stderr)
	}
	in.run("apply", file)
	key := strings.TrimSpace(in.run("keys", "create", "till"))
	old := in.cluster()

	in.state = filepath.Join(filepath.Dir(first), "moved")
	if err := os.Rename(first, in.state); err != nil {
		t.Fatal(err)
	}
	if out := in.run("keys", "list"); !strings.Contains(out, strings.Split(key, "_")[1]) {
		t.Errorf("the moved folder lists %q", out)
	}

	again := &installation{t: t, state: first, http: in.http, grpc: in.grpc}
	again.run("migrate")
	other := again.cluster()
	t.Cleanup(func() { _ = pglocal.Remove(t.Context(), other) })
	if other == old {
		t.Error("the place that it left uses the data of the one that moved")
	}
	if _, stderr, code := again.try("keys", "list"); code != 1 || !strings.Contains(stderr, "apply one first") {
		t.Errorf("a new installation in the old place: status %d, %s", code, stderr)
	}

	if err := os.RemoveAll(filepath.Join(other, "data")); err != nil {
		t.Fatal(err)
	}
	for _, arguments := range [][]string{{"keys", "list"}, {"migrate"}} {
		if _, stderr, code := again.try(arguments...); code != 1 || !strings.Contains(stderr, "is gone") || !strings.Contains(stderr, "raffsync reset") {
			t.Errorf("%v without the data: status %d, %s", arguments, code, stderr)
		}
	}
	again.run("reset", "--yes")
	if _, err := os.Lstat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state folder after the reset: %v", err)
	}
	asked := in.command("reset")
	asked.Stdin = strings.NewReader("no\n")
	if stdout, stderr, code := in.finish(asked); code != 1 || !strings.Contains(stdout, old) || !strings.Contains(stderr, "nothing was deleted") {
		t.Errorf("reset without a yes: status %d\n%s%s", code, stdout, stderr)
	}
	if out := in.run("keys", "list"); !strings.Contains(out, "till") {
		t.Errorf("after a reset that was not meant: %q", out)
	}
}
