package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/cmd/raffsync/config"
)

func TestLoad(t *testing.T) {
	secrets(t)
	write(t, "raffsync.yaml", "tenant: kopi\nsources: {shop: {}}\n", 0o600)
	f, err := config.Load("raffsync.yaml", options(true))
	if err != nil || f.Path != "raffsync.yaml" || f.Configuration.Tenant != "kopi" || len(f.Configuration.Sources) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestLoad_NotAFile(t *testing.T) {
	secrets(t)
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "closed.yaml", "tenant: kopi\n", 0o000)
	write(t, "huge.yaml", strings.Repeat("# tenant: kopi\n", 1<<20), 0o600)
	for path, want := range map[string]string{
		"none.yaml":          "none.yaml: there is no such file",
		"folder":             "folder: is a directory; expected a YAML file",
		"huge.yaml":          "huge.yaml: is larger than 256 KiB, the most that is read",
		"huge.yaml/raffsync": "huge.yaml/raffsync: not a directory",
		"/dev/zero":          "/dev/zero: is larger than 256 KiB, the most that is read",
		"closed.yaml":        "closed.yaml: this account may not read the file",
	} {
		if path == "closed.yaml" && os.Geteuid() == 0 {
			t.Log("closed.yaml left out: root may read every file")
			continue
		}
		_, err := config.Load(path, options(true))
		var problems config.Problems
		if !errors.As(err, &problems) || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// TestParse_Bounds holds that files made to take time or stack are refused at once,
// with a place.
func TestParse_Bounds(t *testing.T) {
	var wide bytes.Buffer
	for i := 0; wide.Len() < 250<<10; i++ {
		fmt.Fprintf(&wide, "a%d: b\n", i)
	}
	const most = 250 << 10
	for name, content := range map[string]string{
		"[":       strings.Repeat("[", most),
		"{":       strings.Repeat("{", most),
		"{a: ":    strings.Repeat("{a: ", most/4),
		"[a, ":    strings.Repeat("[a, ", most/4),
		"- ":      strings.Repeat("- ", most/2),
		"? ":      strings.Repeat("? ", most/2),
		"a: ":     strings.Repeat("a: ", most/3),
		"!!str ":  strings.Repeat("!!str ", most/6),
		"&a ":     strings.Repeat("&a ", most/3),
		"a: |":    strings.Repeat("a: |\n", most/5),
		"<<: a":   strings.Repeat("<<: a\n", most/6),
		"---":     strings.Repeat("---\na: b\n", most/9),
		"steps":   steps(most),
		"wide":    wide.String(),
		"aliases": "a: &a x\nb:\n" + strings.Repeat("- *a\n", most/5),
	} {
		_, err := config.Parse("raffsync.yaml", []byte(content), options(true))
		var problems config.Problems
		if !errors.As(err, &problems) || problems[0].Line == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if len(err.Error()) > 10_000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// steps is a mapping in a mapping in a mapping.
func steps(most int) string {
	var b strings.Builder
	for i := 0; b.Len() < most; i++ {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// TestParse_LongLine holds that the excerpt of a long line is the part around the
// place, with the mark below it.
func TestParse_LongLine(t *testing.T) {
	line := "sources: {" + strings.Repeat("x: {}, ", 3)
	for i := range 60 {
		line += fmt.Sprintf("source%d: {}, ", i)
	}
	_, err := config.Parse("raffsync.yaml", []byte("tenant: kopi\n"+line+"LAST: {}, and: {}, more: {}}\n"), options(true))
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	lines := strings.Split(problems[len(problems)-1].Excerpt, "\n")
	column := strings.Index(lines[1], "^")
	if quoted := []rune(lines[0]); len(quoted) > 110 || column < 0 || !strings.HasPrefix(string(quoted[column:]), "LAST") {
		t.Errorf("%s", problems[len(problems)-1].Excerpt)
	}
}

func TestProblem_String(t *testing.T) {
	for want, p := range map[string]config.Problem{
		"f: m":       {File: "f", Message: "m"},
		"f:2:3: m":   {File: "f", Line: 2, Column: 3, Message: "m"},
		"f:2:3: m\n": {File: "f", Line: 2, Column: 3, Message: "m", Excerpt: ""},
	} {
		if diff := cmp.Diff(strings.TrimSpace(want), p.String()); diff != "" {
			t.Error(diff)
		}
	}
	many := make(config.Problems, 25)
	if text := many.Error(); !strings.HasSuffix(text, "\nand 5 more") {
		t.Error(text)
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		if strings.HasSuffix(seed.Name(), ".yaml") {
			content, err := os.ReadFile("testdata/" + seed.Name())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
	f.Add([]byte(config.Example))
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := config.Parse("raffsync.yaml", content, options(false))
		if err != nil {
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("no problems: %v", err)
			}
			for _, p := range problems {
				if p.Message == "" || p.Line < 0 || p.Line > 0 && (p.Column < 1 || p.Excerpt == "") {
					t.Fatalf("%+v", p)
				}
			}
			return
		}
		// What was read is canonical, and keeps its digest.
		if again := config.Canonical(file.Configuration); !cmp.Equal(again, file.Configuration) {
			t.Fatal(cmp.Diff(file.Configuration, again))
		}
		if _, err := config.Digest(file.Configuration); err != nil {
			t.Fatal(err)
		}
		if changes := config.Diff(file.Configuration, file.Configuration); len(changes) > 0 {
			t.Fatal(changes)
		}
	})
}
