package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// house says which rooms each room may import of ours. Names match as path.Match does;
// the first line that matches a package is its line. An arrow that is not here runs
// back, and fails the build.
var house = []struct {
	room string
	may  []string
}{
	{"proto/raffsync/v1", nil},
	{"migrations", nil},
	{"connectors", []string{"proto/raffsync/v1"}},
	{"connectors/egress", nil},
	{"connectors/mapping", []string{"proto/raffsync/v1"}},
	{"connectors/rules", []string{"proto/raffsync/v1"}},
	{"connectors/client", []string{"proto/raffsync/v1"}},
	{"connectors/connectortest", []string{"connectors", "proto/raffsync/v1"}},
	{"connectors/simulator", []string{"connectors", "proto/raffsync/v1"}},
	{"connectors/simulator/*", []string{"connectors/simulator/loose"}},
	{"connectors/recipe/examples/*", []string{"connectors/simulator/*"}},
	{"connectors/outcome", []string{"connectors", "connectors/egress", "connectors/rules", "proto/raffsync/v1"}},
	{"connectors/auth", []string{"connectors", "connectors/egress", "connectors/mapping", "proto/raffsync/v1"}},
	{"connectors/*", []string{"connectors", "connectors/auth", "connectors/client", "connectors/egress", "connectors/mapping", "connectors/outcome", "connectors/rules", "proto/raffsync/v1"}},
	{"outbox", []string{"outbox/mutant", "proto/raffsync/v1"}},
	{"outbox/dispatch", []string{"outbox", "outbox/mutant", "connectors", "proto/raffsync/v1"}},
	{"outbox/view", []string{"outbox", "outbox/explain", "proto/raffsync/v1"}},
	{"outbox/escalate", []string{"outbox", "outbox/explain", "proto/raffsync/v1"}},
	{"outbox/explain", []string{"proto/raffsync/v1"}},
	{"outbox/mutant", nil},
	{"outbox/pglocal", nil},
	{"outbox/outboxtest", []string{"outbox", "outbox/pglocal", "migrations"}},
	{"broker", []string{"proto/raffsync/v1", "outbox", "outbox/mutant", "connectors/mapping"}},
	{"graph", []string{"graph/*", "graph/internal/*", "outbox", "outbox/explain", "outbox/view", "proto/raffsync/v1"}},
	{"graph/console", nil},
	{"graph/console/*", nil},
	{"graph/internal/*", []string{"graph/internal/*", "outbox", "outbox/explain", "outbox/view", "proto/raffsync/v1"}},
	{"graph/*", []string{"graph/*", "outbox", "outbox/explain", "outbox/view", "proto/raffsync/v1"}},
	{"cmd/raffsync", []string{"*", "*/*", "*/*/*"}},
	{"cmd/raffsync/metrics", []string{"broker", "connectors/hooks", "outbox", "outbox/dispatch", "proto/raffsync/v1"}},
	{"cmd/raffsync/tracing", []string{"broker", "outbox", "outbox/dispatch", "proto/raffsync/v1"}},
	{"cmd/raffsync/*", []string{"*", "*/*", "*/*/*"}},
}

// topLevel is what the user fixed.
var topLevel = []string{"proto", "graph", "broker", "outbox", "connectors", "migrations", "cmd"}

// forTests are the rooms that the tests of every room may use.
var forTests = []string{"outbox/outboxtest", "connectors/connectortest", "connectors/simulator", "connectors/simulator/*"}

func TestHouse(t *testing.T) {
	// -deps includes what only a build tag or an internal package would hide.
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,TestImports,XTestImports", "raffsync/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	rooms := 0
	for {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room, ours := strings.CutPrefix(p.ImportPath, "raffsync/")
		if !ours {
			continue
		}
		rooms++
		if !slices.Contains(topLevel, strings.SplitN(room, "/", 2)[0]) {
			t.Errorf("%s stands at the top level, which holds %s", room, strings.Join(topLevel, ", "))
		}
		may, known := mayImport(room)
		if !known {
			t.Errorf("%s is a new room: settle which floor it is on, and add it to the table", room)
			continue
		}
		check := func(who string, imports, may []string) {
			for _, imported := range imports {
				other, ours := strings.CutPrefix(imported, "raffsync/")
				if ours && !slices.ContainsFunc(may, func(pattern string) bool { return matches(pattern, other) }) {
					t.Errorf("%s imports %s, and may import %v", who, other, may)
				}
			}
		}
		check(room, p.Imports, may)
		check("a test of "+room, slices.Concat(p.TestImports, p.XTestImports), slices.Concat(may, forTests, []string{room}))
	}
	if rooms < len(topLevel) {
		t.Errorf("only %d rooms were seen", rooms)
	}
}

func mayImport(room string) ([]string, bool) {
	for _, line := range house {
		if matches(line.room, room) {
			return line.may, true
		}
	}
	return nil, false
}

func matches(pattern, room string) bool {
	ok, err := path.Match(pattern, room)
	return err == nil && ok
}

// The top level is fixed: what is new goes into a room, or is a dotfile.
func TestHouse_TopLevel(t *testing.T) {
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	known := append([]string{"go.mod", "go.sum", "Makefile", "README.md", "CHANGELOG.md"}, topLevel...)
	made := []string{"bin", "*.test", "*.out"} // never committed: .gitignore
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(known, name) &&
			!slices.ContainsFunc(made, func(pattern string) bool { return matches(pattern, name) }) {
			t.Errorf("%s stands at the top level, which holds %s", name, strings.Join(known, ", "))
		}
	}
}

// Every room says what it is for.
func TestHouse_EveryRoomHasADoc(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{.Dir}} {{.Doc}}", "raffsync/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(fields) < 3 || strings.TrimSpace(fields[2]) == "" {
			t.Errorf("%s has no package comment", fields[0])
		}
	}
}
