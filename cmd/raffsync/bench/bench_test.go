package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFigure(t *testing.T) {
	for name, test := range map[string]struct {
		goal   goal
		rounds []float64
		value  float64
		met    bool
	}{
		"HigherIsMet":                {goal{must: 0.45}, []float64{0.4, 0.5, 0.6}, 0.5, true},
		"HigherAtTheMust":            {goal{must: 0.5}, []float64{0.5}, 0.5, true},
		"HigherIsMissed":             {goal{must: 0.45}, []float64{0.9, 0.44, 0.1}, 0.44, false},
		"LowerIsMet":                 {goal{must: 17, lower: true}, []float64{16}, 16, true},
		"LowerIsMissed":              {goal{must: 17, lower: true}, []float64{17.1}, 17.1, false},
		"WithoutAMustItIsReported":   {goal{}, []float64{3}, 3, true},
		"OfTwoTheMedianIsInTheirMid": {goal{must: 1}, []float64{2, 1}, 1.5, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := figure("f", ratio, test.goal, test.rounds, "")
			if f.Value != test.value || f.Met != test.met {
				t.Errorf("value %v met %v, want %v %v", f.Value, f.Met, test.value, test.met)
			}
			if (f.Goal == nil) != (test.goal.must == 0) {
				t.Errorf("goal %v", f.Goal)
			}
		})
	}
}

func TestReport_Print(t *testing.T) {
	r := Report{
		Machine: Machine{CPU: "A CPU", Cores: 2, Postgres: "15", Settings: map[string]string{"fsync": "on"}},
		Figures: []Figure{
			figure("ingest", ratio, goal{must: 0.45, aim: 0.6}, []float64{0.5, 0.4, 0.3}, "61,000/s"),
			figure("memory", "MiB", goal{must: 256, lower: true}, []float64{1234}, ""),
			figure("catching up", "s", goal{}, []float64{12}, ""),
		},
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A CPU, 2 cores", "fsync on", "0.40×", "0.30–0.50", "≥ 0.45", "MISSED", "1,234 MiB", "≤ 256", "reported"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if diff := cmp.Diff([]string{"ingest", "memory"}, r.Missed()); diff != "" {
		t.Errorf("missed (-want +got):\n%s", diff)
	}
}

// The columns that scripts read.
func TestFigure_JSON(t *testing.T) {
	text, err := json.Marshal(figure("f", "s", goal{}, []float64{1}, "d"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"f","value":1,"unit":"s","goal":null,"aim":null,"better":"higher","met":true,"rounds":[1],"detail":"d"}`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 99999.6: "100,000"} {
		if got := count(n); got != want {
			t.Errorf("count(%v) = %s, want %s", n, got, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var durations []time.Duration
	for i := range 200 {
		durations = append(durations, time.Duration(200-i))
	}
	if p := percentile(durations, 0.99); p != 199 {
		t.Errorf("p99 of 1 to 200 is %d", p)
	}
	if p := percentile(nil, 0.99); p != 0 {
		t.Errorf("p99 of nothing is %d", p)
	}
}

// Who begins alternates, so that warmth and what else the machine does fall on both.
func TestRig_Compare(t *testing.T) {
	var order []string
	side := func(name string, rates ...float64) side {
		return func(context.Context) (float64, error) {
			order = append(order, name)
			rate := rates[0]
			rates = rates[1:]
			return rate, nil
		}
	}
	r := &rig{pairs: 3, progress: io.Discard}
	f, err := r.compare(t.Context(), "f", goal{must: 2}, side("ours", 10, 30, 20), side("peer", 5, 10, 20), "peer")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ours", "peer", "peer", "ours", "ours", "peer"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if want := []float64{2, 3, 1}; !slices.Equal(f.Rounds, want) || f.Value != 2 || !f.Met {
		t.Errorf("%+v, want the rounds %v", f, want)
	}
	failing := func(context.Context) (float64, error) { return 0, errors.New("no Postgres") }
	if _, err := r.compare(t.Context(), "f", goal{}, failing, failing, "peer"); err == nil {
		t.Error("a side that fails makes a figure")
	}
}

func TestCommand_Chosen(t *testing.T) {
	for name, test := range map[string]struct {
		command Command
		want    []string
		wrong   string
	}{
		"Quick":   {Command{Quick: true}, []string{"ingest", "end-to-end", "webhook"}, ""},
		"Only":    {Command{Only: []string{"takeover", "ingest"}}, []string{"ingest", "takeover"}, ""},
		"Unknown": {Command{Only: []string{"speed"}}, nil, `no figure "speed"; there is ingest, end-to-end`},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, err := test.command.chosen()
			var names []string
			for _, c := range chosen {
				names = append(names, c.name)
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("chosen %v, want %v", names, test.want)
			}
			if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
		})
	}
}

func TestPayload(t *testing.T) {
	if len(payload) != payloadBytes || !json.Valid(payload) {
		t.Errorf("%d bytes, want %d bytes of JSON", len(payload), payloadBytes)
	}
}

// TestMain is the child of TestChild too.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_CHILD") {
	case "echo":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "fail":
		fmt.Fprintln(os.Stderr, "no disk left")
		os.Exit(3)
	default:
		os.Exit(m.Run())
	}
}

func TestChild(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T, mode string) *child {
		t.Helper()
		c, err := startChild(t.Context(), "the child", append(os.Environ(), "BENCH_TEST_CHILD="+mode), program)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("Answers", func(t *testing.T) {
		c := start(t, "echo")
		for _, want := range []string{"one", "two"} {
			var got string
			if err := c.call(want, &got); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("SaysWhatItSaidLast", func(t *testing.T) {
		c := start(t, "fail")
		var got string
		if err := c.call("one", &got); err == nil || !strings.Contains(err.Error(), "no disk left") {
			t.Errorf("error %v", err)
		}
		if err := c.stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("IsKilled", func(t *testing.T) {
		c := start(t, "echo")
		c.kill()
		if c.cmd.ProcessState.Success() {
			t.Error("it ended by itself")
		}
	})
}
