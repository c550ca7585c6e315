package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/dispatch"
)

// Bounds of what is told: examples of each count, and lines of one.
const (
	againstExamples = 3
	againstDiff     = 40
)

// againstPast is what a configuration would do to past events that another does not.
type againstPast struct {
	Since time.Time `json:"since"`
	// Looked at are the newest; Complete: there are no others. Oldest is the acceptance of
	// the last of them.
	Looked   int        `json:"looked"`
	Complete bool       `json:"complete"`
	Oldest   *time.Time `json:"oldest,omitempty"`
	// Unrouted: events that no route would want any more, and that one wants today.
	Unrouted againstCount   `json:"unrouted"`
	Routes   []againstRoute `json:"routes"`
}

// againstRoute is what becomes of the deliveries of one route: that of the file where it has
// one for them, otherwise that in force.
type againstRoute struct {
	Destination string `json:"destination"`
	Route       string `json:"route"`
	Deliveries  int    `json:"deliveries"`
	Same        int    `json:"same"`

	NewlyRouted    againstCount `json:"newlyRouted"`    // the destination does not get it today
	NotRouted      againstCount `json:"notRouted"`      // the destination would not get it any more
	OtherRoute     againstCount `json:"otherRoute"`     // counted besides what it comes to
	NewlyMissing   againstCount `json:"newlyMissing"`   // look-ups that nothing answers
	NewlyHeld      againstCount `json:"newlyHeld"`      // it would need a person, for another reason
	NotHeld        againstCount `json:"notHeld"`        // it would need none any more
	RequestChanged againstCount `json:"requestChanged"` // other requests would be sent
}

// againstCount is how often, with a few examples.
type againstCount struct {
	Count    int              `json:"count"`
	Examples []againstExample `json:"examples,omitempty"`
}

type againstExample struct {
	Event string `json:"event"`
	What  string `json:"what,omitempty"`
}

func (c *againstCount) add(event, what string) {
	if c.Count++; len(c.Examples) < againstExamples {
		c.Examples = append(c.Examples, againstExample{event, what})
	}
}

// compare counts what differs between two preparations of one event, by the worst of it.
func (r *againstRoute) compare(event string, was, now *outbox.Preview) {
	before, after := lacks(was), lacks(now)
	var added []string
	for _, m := range after {
		if !slices.Contains(before, m) {
			added = append(added, m)
		}
	}
	heldBefore, heldNow := held(was), held(now)
	switch {
	case len(added) > 0:
		r.NewlyMissing.add(event, strings.Join(added, ", "))
	case heldNow != "" && heldNow != heldBefore:
		r.NewlyHeld.add(event, heldNow)
	case heldNow == "" && heldBefore != "":
		r.NotHeld.add(event, heldBefore)
	default:
		if diff := difference(was, now); diff != "" {
			r.RequestChanged.add(event, diff)
		} else {
			r.Same++
		}
	}
}

func lacks(p *outbox.Preview) (all []string) {
	for _, s := range p.Steps {
		for _, m := range s.Missing {
			if text := m.Table + " " + shown(m.Value); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// held is why it would need a person; empty where it would not.
func held(p *outbox.Preview) string {
	for _, s := range p.Steps {
		if s.Prospect == outbox.WouldHold {
			return s.Cause.Class + ": " + s.Reason
		}
	}
	return ""
}

// difference is how the requests differ; empty where they do not.
func difference(was, now *outbox.Preview) string {
	before, after := wire(was), wire(now)
	if bytes.Equal(before, after) {
		return ""
	}
	diff, ok := dispatch.Unified(before, after)
	if !ok {
		return "another request, too large to be compared by line"
	}
	if lines := strings.SplitAfter(diff, "\n"); len(lines) > againstDiff {
		diff = strings.Join(lines[:againstDiff], "") + "…\n"
	}
	return diff
}

// wire is all requests as one text.
func wire(p *outbox.Preview) []byte {
	var b bytes.Buffer
	for _, s := range p.Steps {
		if r := s.Request; r != nil {
			fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
			for _, name := range slices.Sorted(maps.Keys(r.Header)) {
				fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
			}
			b.WriteByte('\n')
			b.Write(r.Body)
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// words are what would become of a delivery, in one line.
func words(p *outbox.Preview) string {
	if why := held(p); why != "" {
		return why
	}
	return fmt.Sprintf("would be sent in %s", counted(len(p.Steps), "request"))
}

func (a *againstPast) print(out io.Writer) {
	if a == nil {
		return
	}
	fmt.Fprintf(out, "\nagainst %s accepted since %s", counted(a.Looked, "event"), a.Since.Format(time.RFC3339))
	if !a.Complete && a.Oldest != nil {
		fmt.Fprintf(out, ", the newest; what was accepted before %s was not looked at", a.Oldest.Format(time.RFC3339))
	}
	fmt.Fprintln(out, ":")
	a.Unrouted.print(out, "would be wanted by no route any more")
	for _, r := range a.Routes {
		fmt.Fprintf(out, "%s → %s: %s, %d the same\n", r.Route, r.Destination, counted(r.Deliveries, "event"), r.Same)
		r.NewlyRouted.print(out, "would go there, and do not today")
		r.NotRouted.print(out, "would not go there any more")
		r.OtherRoute.print(out, "would go by this route instead of another")
		r.NewlyMissing.print(out, "would miss look-ups")
		r.NewlyHeld.print(out, "would need a person")
		r.NotHeld.print(out, "would need nobody any more")
		r.RequestChanged.print(out, "would be sent otherwise")
	}
	fmt.Fprintln(out)
}

func (c *againstCount) print(out io.Writer, what string) {
	if c.Count == 0 {
		return
	}
	fmt.Fprintf(out, "  %7d %s\n", c.Count, what)
	for _, e := range c.Examples {
		fmt.Fprintf(out, "            as %s", e.Event)
		if e.What != "" {
			fmt.Fprintf(out, ": %s", strings.ReplaceAll(strings.TrimSpace(e.What), "\n", "\n              "))
		}
		fmt.Fprintln(out)
	}
}
