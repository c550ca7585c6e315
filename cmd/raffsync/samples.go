package main

import (
	"fmt"
	"io"
	"strings"

	"raffsync/cmd/raffsync/config"
)

// mostNamed is how many of a kind are named.
const mostNamed = 10

// printTrials tells what came of the samples beside a configuration file.
func printTrials(out io.Writer, t *config.Trials) {
	if t != nil && len(t.Foreign) > 0 {
		fmt.Fprintf(out, "hint: %s\n", named(t.Foreign))
	}
	if t == nil || len(t.Samples) == 0 {
		fmt.Fprintf(out, "hint: no sample events: what stands in %s/SOURCE/*.json beside the file is tried with it, before the first real event comes\n", config.SamplesFolder)
		return
	}
	fmt.Fprintf(out, "samples: tried %s: %s\n", counted(len(t.Samples), "event"), named(t.Samples))
	for i := 0; i < len(t.LookUps); {
		first := t.LookUps[i]
		var values []string
		for ; i < len(t.LookUps) && t.LookUps[i].Destination == first.Destination && t.LookUps[i].Table == first.Table; i++ {
			values = append(values, shown(t.LookUps[i].Value))
		}
		fmt.Fprintf(out, "  %s looks up %s %s (%s, %s)\n", first.Destination, first.Table, named(values), first.Sample, first.Path)
	}
	for _, place := range t.LeftOut {
		fmt.Fprintf(out, "hint: no sample has what %s reads: it is left out; is it misspelt?\n", place)
	}
	if len(t.Unrouted) > 0 {
		fmt.Fprintf(out, "hint: no route wants %s\n", named(t.Unrouted))
	}
	if len(t.Unreached) > 0 {
		fmt.Fprintf(out, "hint: no sample takes route %s\n", named(t.Unreached))
	}
}

// named are the first of several names.
func named(all []string) string {
	if more := len(all) - mostNamed; more > 0 {
		return strings.Join(all[:mostNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(all, ", ")
}
