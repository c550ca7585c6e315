package simulator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoLines = `{"seq":1,"at":"2026-11-23T10:41:10Z","event":"e1","key":"k1","body":"b1","bytes":2,"result":"effect"}
{"seq":2,"at":"2026-11-23T10:41:11Z","event":"e2","key":"k2","body":"b2","bytes":2,"result":"refused","code":"unknown_sku"}
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLedger_Open(t *testing.T) {
	third := `{"seq":3,"at":"2026-11-23T10:41:12Z","event":"e3","key":"k3","body":"b3","bytes":2,"result":"effect"}` + "\n"
	for _, test := range []struct {
		name, text string
		lines      int64
		problem    string
	}{
		{"New", "", 0, ""},
		{"Whole", twoLines + third, 3, ""},
		{"LineEndTorn", twoLines + strings.TrimSuffix(third, "\n"), 2, ""},
		{"LastLineTorn", twoLines + third[:40], 2, ""},
		{"LastLineZeros", twoLines + "\x00\x00\x00\n", 2, ""},
		{"OnlyTorn", third[:40], 0, ""},
		{"MiddleDamaged", twoLines + third[:40] + "\n" + third, 0, "line 3"},
		{"SequenceJumps", twoLines + strings.Replace(third, `"seq":3`, `"seq":4`, 1), 0, "sequence 4 after 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			l, err := openLedger(path)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Fatalf("error %v", err)
				}
				if text, _ := os.ReadFile(path); string(text) != test.text {
					t.Error("a ledger that was refused has been changed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := l.summary().Requests; got != test.lines {
				t.Errorf("%d lines", got)
			}
			// What is written next follows the last whole line.
			if _, err := l.record(&Request{Key: "next", Event: "next"}); err != nil {
				t.Fatal(err)
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			var seqs []int64
			if err := ReadLedger(path, func(r *Request) error { seqs = append(seqs, r.Seq); return nil }); err != nil {
				t.Fatal(err)
			}
			if int64(len(seqs)) != test.lines+1 || seqs[test.lines] != test.lines+1 {
				t.Errorf("lines %v", seqs)
			}
		})
	}
}

func TestLedger_RemembersAcrossRestarts(t *testing.T) {
	path := write(t, twoLines)
	l, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	same, other, refused := &Request{Key: "k1", Body: "b1"}, &Request{Key: "k1", Body: "bX"}, &Request{Key: "k2", Event: "e2", Body: "bX"}
	for _, r := range []*Request{same, other, refused} {
		if _, err := l.record(r); err != nil {
			t.Fatal(err)
		}
	}
	got := []Result{same.Result, other.Result, refused.Result}
	if diff := cmp.Diff([]Result{ResultRepeat, ResultRefused, ResultEffect}, got); diff != "" {
		t.Error(diff)
	}
}

// The count comes from the lines: it finds what a defect of the platform, or of
// whoever edited the file, did.
func TestLedger_CountsDuplicatesInItsLines(t *testing.T) {
	sameKey := `{"seq":3,"event":"e9","key":"k1","body":"b1","result":"effect"}` + "\n"
	sameEvent := `{"seq":4,"event":"e1","key":"k9","body":"b1","result":"effect"}` + "\n"
	l, err := openLedger(write(t, twoLines+sameKey+sameEvent))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if s := l.summary(); s.Effects != 3 || s.Duplicates != 2 {
		t.Errorf("%+v", s)
	}
}

func TestLedger_OneProcessAtATime(t *testing.T) {
	path := write(t, "")
	l, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(path); !errors.Is(err, errLocked) {
		t.Errorf("a second opening: %v", err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if l, err = openLedger(path); err != nil {
		t.Fatal(err)
	}
	l.close()
}

// Nobody is answered before the disk has the line, and whoever comes while it is
// busy shares the next fsync.
func TestLedger_SyncsInGroupsBeforeItAnswers(t *testing.T) {
	l, err := openLedger(write(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	began, release, syncs := make(chan struct{}), make(chan struct{}), 0
	l.sync = func() error {
		syncs++
		began <- struct{}{}
		<-release
		return l.file.Sync()
	}
	answered := make(chan error, 21)
	ask := func(key string) {
		_, err := l.record(&Request{Key: key, Event: key})
		answered <- err
	}
	go ask("first")
	<-began
	for i := range 20 {
		go ask(fmt.Sprint("k", i))
	}
	waitUntil(t, func() bool { return l.summary().Requests == 21 })
	if len(answered) != 0 {
		t.Error("answered before the disk had it")
	}
	release <- struct{}{}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	<-began
	if len(answered) != 0 {
		t.Error("answered before the disk had it")
	}
	close(release)
	for range 20 {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if syncs != 2 {
		t.Errorf("%d syncs for 21 lines", syncs)
	}
}
