package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Command is `raffsync bench`.
type Command struct {
	Quick    bool     `help:"Ingest, end to end and webhook only, with fewer pairs: within a minute."`
	Only     []string `help:"Only these: ${bench_names}." placeholder:"NAME"`
	Pairs    int      `help:"Pairs of a comparison: 5 where 0, 3 with --quick."`
	JSON     bool     `name:"json" help:"Print the report as JSON."`
	Peers    string   `help:"Program of the peers; raffsync-peers beside this one where left out." placeholder:"FILE" type:"path"`
	Alone    bool     `help:"Our side alone, and its CPU time: for profiles, and for a machine that is busy."`
	Profiles string   `help:"Write a CPU profile of the engine in each comparison to this folder." placeholder:"DIR" type:"path"`
}

// Help tells what the figures are.
func (Command) Help() string {
	return `Starts a Postgres of its own, with everything on that durability needs, and measures
what this program does on this machine against what one would use instead: COPY,
River, a bare HTTP client. Both sides run in turn; a figure is the median of the pairs'
ratios. Progress goes to standard error.

The exit status is 1 where a figure misses its must. Leave the machine alone meanwhile.

Examples:
  raffsync bench --quick
  raffsync bench --only ingest,webhook --json
  raffsync bench --only end-to-end --profiles /tmp/profiles`
}

// comparison is a part of the bench that can be run alone.
type comparison struct {
	name  string
	quick bool
	peers bool // it needs the peers' program
	run   func(*rig, context.Context) ([]Figure, error)
}

// comparisons in the order of the report. A quick run has the first three.
var comparisons = []comparison{
	{"ingest", true, false, (*rig).ingest},
	{"end-to-end", true, true, (*rig).endToEnd},
	{"webhook", true, false, (*rig).webhook},
	{"sustained", false, false, (*rig).sustained},
	{"latency", false, false, (*rig).latency},
	{"drain", false, false, (*rig).drain},
	{"hanging", false, false, (*rig).hanging},
	{"memory", false, false, (*rig).memory},
	{"streams", false, false, (*rig).streams},
	{"takeover", false, false, (*rig).takeover},
	{"recovery", false, false, (*rig).recovery},
	{"exceptions", false, false, (*rig).exceptions},
}

// Names of the comparisons, as --only takes them.
func Names() string {
	var names []string
	for _, c := range comparisons {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// rig is what the comparisons run on.
type rig struct {
	cluster  *cluster
	peers    *child
	pairs    int
	quick    bool
	alone    bool
	profiles string
	progress io.Writer
	work     [2][]work // an event, by side and round
}

// Measure runs on a Postgres of that name, prints the report, and fails where a figure
// misses its must.
func (c *Command) Measure(ctx context.Context, name string) (err error) {
	chosen, err := c.chosen()
	if err != nil {
		return err
	}
	r := &rig{pairs: c.Pairs, quick: c.Quick, alone: c.Alone, profiles: c.Profiles, progress: os.Stderr}
	switch {
	case r.pairs < 0:
		return fmt.Errorf("--pairs: expected 1 or more, got %d", r.pairs)
	case r.pairs == 0 && r.quick:
		r.pairs = 3
	case r.pairs == 0:
		r.pairs = 5
	}
	if r.profiles != "" {
		if err := os.MkdirAll(r.profiles, 0o755); err != nil {
			return err
		}
	}
	var report Report
	river, err := r.startPeers(ctx, c.Peers, chosen)
	if err != nil {
		return err
	}
	if r.peers != nil {
		defer func() { err = errors.Join(err, r.peers.stop()) }()
	}
	r.say("starting a Postgres")
	if r.cluster, err = startCluster(ctx, name, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.cluster.stop(ctx)) }()
	if report.Machine, err = describeMachine(ctx, r.cluster.admin, r.cluster.server.Version()); err != nil {
		return err
	}
	report.Machine.River = river
	for _, comparison := range chosen {
		figures, err := comparison.run(r, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", comparison.name, err)
		}
		report.Figures = append(report.Figures, figures...)
	}
	if err := c.print(report); err != nil {
		return err
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("below the must: %s", strings.Join(missed, "; "))
	}
	return nil
}

func (c *Command) print(report Report) error {
	if !c.JSON {
		return report.Print(os.Stdout)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(report)
}

func (c *Command) chosen() ([]comparison, error) {
	for _, name := range c.Only {
		if !slices.ContainsFunc(comparisons, func(c comparison) bool { return c.name == name }) {
			return nil, fmt.Errorf("--only: no figure %q; there is %s", name, Names())
		}
	}
	var chosen []comparison
	for _, one := range comparisons {
		if len(c.Only) > 0 && !slices.Contains(c.Only, one.name) || len(c.Only) == 0 && c.Quick && !one.quick {
			continue
		}
		chosen = append(chosen, one)
	}
	return chosen, nil
}

// errNoPeers says how to get the peers' program.
var errNoPeers = errors.New("the peers are not built: `make bench` builds and uses them; --peers says where they are, --only can leave them out")

// startPeers starts the peers' program where one of the chosen needs it, and returns
// River's version.
func (r *rig) startPeers(ctx context.Context, path string, chosen []comparison) (version string, err error) {
	if r.alone || !slices.ContainsFunc(chosen, func(c comparison) bool { return c.peers }) {
		return "", nil
	}
	if path == "" {
		program, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(program), "raffsync-peers")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (%w)", errNoPeers, err)
	}
	if r.peers, err = startChild(ctx, "the peers' program", os.Environ(), path); err != nil {
		return "", err
	}
	answer, err := r.askPeers(peersRequest{Do: "describe"})
	return answer.Version, err
}

func (r *rig) say(format string, arguments ...any) {
	fmt.Fprintf(r.progress, "bench: "+format+"\n", arguments...)
}
