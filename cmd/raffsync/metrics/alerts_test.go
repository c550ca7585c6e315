package metrics_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"raffsync/cmd/raffsync/metrics"
)

// Every series that a rule names is one that there is.
func TestAlerts_NameWhatThereIs(t *testing.T) {
	known := names(t, filled(t))
	found := regexp.MustCompile(`raffsync_[a-z_]+`).FindAllString(metrics.Alerts, -1)
	if len(found) < 9 {
		t.Fatalf("only %d series are named", len(found))
	}
	for _, name := range found {
		if !slices.Contains(known, name) {
			t.Errorf("a rule asks for %s, which is not there", name)
		}
	}
}

// What each rule fires on, and what it does not.
func TestAlerts_Promtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if named := os.Getenv("PROMTOOL"); named != "" {
		promtool, err = named, nil
	}
	if err != nil {
		t.Skip("promtool is not here (Debian: apt-get install prometheus), so the alert rules are not run")
	}
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", "testdata/alerts_test.yml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
