package main

import (
	"encoding/json"
	"strings"
	"testing"

	"raffsync/cmd/raffsync/bench"
)

// The whole of it: a Postgres of its own, an engine, a stream, and a report. What the
// figure says is the machine's affair.
func TestBench(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	stdout, stderr, code := in.try("bench", "--quick", "--only", "ingest,exceptions", "--pairs", "1", "--json")
	var report bench.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("exit %d, no report: %v\n%s", code, err, stderr)
	}
	if len(report.Figures) != 10 || len(report.Figures[0].Rounds) != 1 || report.Figures[0].Goal == nil {
		t.Errorf("figures %+v\n%s", report.Figures, stderr)
	}
	for _, f := range report.Figures {
		if f.Value <= 0 {
			t.Errorf("%+v", f)
		}
	}
	if want := min(len(report.Missed()), 1); code != want {
		t.Errorf("exit %d, want %d where %v are missed\n%s", code, want, report.Missed(), stderr)
	}
	if s := report.Machine.Settings; s["fsync"] != "on" || s["full_page_writes"] != "on" || s["synchronous_commit"] != "on" {
		t.Errorf("not durable: %v", s)
	}

	if _, stderr, code := in.try("bench", "--only", "end-to-end"); code != 1 || !strings.Contains(stderr, "make bench") {
		t.Errorf("without the peers: exit %d, %s", code, stderr)
	}
}
