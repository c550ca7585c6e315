package torture

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// promise is what the checker holds: those of DESIGN's "What must hold" that ledgers
// and database can show.
type promise string

const (
	durable    promise = "what was acknowledged is there, as it was sent"
	whole      promise = "an event is there exactly with its deliveries and its accepted entry"
	idempotent promise = "an id makes one event"
	conflicts  promise = "a second content of an id is kept"
	answers    promise = "clients get the answers that the contract names"
	intent     promise = "each request on the wire has an attempt that was intended before it"
	oneEffect  promise = "one effect an event and destination, and none is only claimed"
	order      promise = "effects of an ordering key come in order"
	progress   promise = "nothing is forgotten"
	breaker    promise = "an open breaker admits nothing but probes"
	timeline   promise = "the timeline is complete and append-only"
	egress     promise = "redirects are not followed"
	oneOrder   promise = "one effect an order, as its route says, whichever events ask for it"
	edited     promise = "what a person changes for a delivery is what is sent"
	released   promise = "a mapping that comes lets go of what waits for it"
	shadowed   promise = "nothing of a route in shadow is sent"
	counts     promise = "an exception counts what it holds"
	fencing    promise = "nothing is stored on a lane that another replica holds"
)

// Violation is a promise that was broken.
type Violation struct {
	Promise     promise
	Event       string
	Destination string
	What        string
	// Story is what is known of the event, for whoever has to find out.
	Story []string
}

// Report is what a run came to.
type Report struct {
	Seed   uint64
	Folder string
	Lasted time.Duration

	Sent, Acknowledged, Events int
	Deliveries, Held, Requests int
	Repeats                    int // requests whose key had come before
	Conflicts, Released        int
	Attempts, Unknown          int
	StaleWrites                int // requests that arrived after their attempt was settled by a successor
	Nemesis                    map[string]int
	Lies                       map[string]int // that platforms told
	Odd                        map[string]int // what odd clients did
	Mapped, Edited, Jobs       int            // what the operators did besides
	StormMost, StormBound      int            // requests late in a storm of 503, and what would do: of that with the most for its bound
	Skipped                    []string       // what did not go wrong, and why
	Violations                 []Violation
}

func (r *Report) add(p promise, event, destination, format string, arguments ...any) {
	r.Violations = append(r.Violations, Violation{Promise: p, Event: event, Destination: destination, What: fmt.Sprintf(format, arguments...)})
}

func (r *Report) of(promises ...promise) (n int) {
	for _, v := range r.Violations {
		if slices.Contains(promises, v.Promise) {
			n++
		}
	}
	return n
}

// broken is the promises that were broken, those broken most often first.
func (r *Report) broken() []string {
	counts := make(map[promise]int)
	for _, v := range r.Violations {
		counts[v.Promise]++
	}
	var list []string
	for _, p := range slices.SortedFunc(maps.Keys(counts), func(a, b promise) int { return cmp.Compare(counts[b], counts[a]) }) {
		list = append(list, fmt.Sprintf("%s (%d)", p, counts[p]))
	}
	return list
}

// write keeps what is printed in a file, for whoever looks into the folder later.
func (r *Report) write(path string) error {
	var text bytes.Buffer
	r.print(&text)
	return os.WriteFile(path, text.Bytes(), 0o600)
}

// shown is how many violations of one promise are told in full.
const shown = 5

func (r *Report) print(out io.Writer) {
	told := make(map[promise]int)
	for _, v := range r.Violations {
		if told[v.Promise]++; told[v.Promise] > shown {
			continue
		}
		fmt.Fprintf(out, "VIOLATED: %s\n  %s\n", v.Promise, strings.Join(slices.DeleteFunc([]string{v.Event, v.Destination, v.What}, func(s string) bool { return s == "" }), ": "))
		for _, line := range v.Story {
			fmt.Fprintf(out, "    %s\n", line)
		}
	}
	done := counted(r.Nemesis)
	for _, what := range r.Skipped {
		done += ", skipped: " + what
	}
	kills := r.Nemesis["SIGKILL"] + r.Nemesis["Postgres killed"]
	fmt.Fprintf(out, `torture: seed %d, %s
  events sent %d, acknowledged %d, in the outbox %d, conflicting contents %d
  deliveries %d, of them with an exception %d
  operators released %d, retried all %d times, edited %d, mapped %d
  attempts %d, of unknown outcome %d; requests at the platforms %d, repeated %d
  kills %d; %s
  answers that lie: %s
  odd clients: %s
  requests late in a storm of 503, at most %d (of %d that would do)
  lost %d · duplicate effects %d · order breaks %d · requests without intent %d · forgotten %d
  stale writes of frozen processes %d (not a violation: a frozen process cannot look at its lease)
  violations %d
`, r.Seed, r.Lasted.Round(time.Second), r.Sent, r.Acknowledged, r.Events, r.Conflicts,
		r.Deliveries, r.Held, r.Released, r.Jobs, r.Edited, r.Mapped, r.Attempts, r.Unknown, r.Requests, r.Repeats, kills, done,
		counted(r.Lies), counted(r.Odd), r.StormMost, r.StormBound,
		r.of(durable), r.of(oneEffect, oneOrder), r.of(order), r.of(intent), r.of(progress, released, edited), r.StaleWrites, len(r.Violations))
}

// counted lists counts by name.
func counted(counts map[string]int) string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s %d", what, counts[what]))
	}
	return strings.Join(list, ", ")
}
