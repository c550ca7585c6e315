package config_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/cmd/raffsync/config"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// TestParse_Golden holds what is said of each file in testdata, and that nothing that
// is secret in one of them is said.
func TestParse_Golden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	folder, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	secrets(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(folder, name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			got := outcome(config.Parse("raffsync.yaml", content, options(true)))
			if strings.Contains(got, "hunter2") || strings.Contains(got, "THISISASECRET") || strings.Contains(got, "aHVudGVyM") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden := filepath.Join(folder, name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got; run with -update where the change is meant\n%s", diff)
			}
		})
	}
}

// outcome is the errors of a file, or what was read of it.
func outcome(f *config.File, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range f.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	read, err := json.MarshalIndent(f.Configuration, "", "  ")
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&b, "listen %s\ndatabase %q\n%s\n", strings.TrimSpace(f.Listen.HTTP+" "+f.Listen.GRPC+" "+f.Listen.Metrics), f.Database.URL, read)
	return b.String()
}
