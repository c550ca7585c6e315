package connectortest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"raffsync/connectors/connectortest"
)

func TestRun_PassesWithoutFlaw(t *testing.T) { connectortest.Run(t, harness()) }

// mutant names the flaw in the environment of a child process.
const mutant = "CONNECTORTEST_FLAW"

// TestRun_Catches runs the suite on a destination with one flaw, in a child process
// since it has to fail, and wants the first failure where the flaw is.
func TestRun_Catches(t *testing.T) {
	if flaw := os.Getenv(mutant); flaw != "" {
		connectortest.Run(t, harness(flaw))
		return
	}
	for flaw, where := range map[string]string{
		"follows redirects":                 "Redirects/301",
		"lets net/http replay":              "Connection/Kept_connection_breaks",
		"retries by itself":                 "Answers/503",
		"reads the clock":                   "Prepare/JSON",
		"changes the event":                 "Prepare/JSON",
		"refuses without a kind":            "Prepare/Empty",
		"prints payload and token":          "Formats",
		"logs the token":                    "Logs",
		"quotes the answer":                 "Quotes",
		"keeps the last body":               "Concurrent",
		"takes silence for absence":         "Asking/",
		"takes trouble for absence":         "Asking/503",
		"leaves a request behind":           "Limits",
		"sends no key":                      "Payloads/JSON",
		"takes any cancel for nothing sent": "Context/Cancelled_meanwhile",
		"tells the attempt to the platform": "Resend",
		"shows another body":                "Preview",
		"shows the token":                   "Preview",
		"has the key in the content":        "Content",
		"plans whatever it is told":         "Planning",
		"takes any answer for well":         "Checking",
		"quotes the answer to a check":      "Checking",
		"ignores the context":               "Context/Cancelled_before",
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRun_Catches$", "-test.failfast")
			child.Env = append(os.Environ(), mutant+"="+flaw)
			output, err := child.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite passes a destination that %s", flaw)
			}
			if !strings.Contains(string(output), "--- FAIL: TestRun_Catches/"+where) {
				t.Errorf("the suite does not fail at %s:\n%s", where, output)
			}
		})
	}
}
