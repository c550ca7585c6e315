package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
)

type checkCommand struct {
	File        string `arg:"" optional:"" help:"Configuration file." type:"existingfile"`
	Secrets     bool   `help:"Also want every reference to a secret to lead to one."`
	Development bool   `help:"Allow destinations on this machine."`
	Reference   bool   `help:"Print what a configuration file may hold, as Markdown."`

	Online []string `help:"Also ask the platform of this destination whether the connection works, or of every destination that can be asked (all). Nothing is changed there. May stand several times." placeholder:"DESTINATION"`
}

func (checkCommand) Help() string {
	return `Says all that is wrong with a configuration file, with line and column, and what
was expected. Nothing is sent, unless --online says so, and no database is needed but for
--online where a person has agreed (raffsync connect): what the platform gave then is kept
there. Recorded answers, those of the file and those that ship with each kind of
destination, are classified: one that comes to something else than it says is an error, a
rule that none reaches a warning.

Sample events beside the file, in samples/SOURCE/*.json, are taken through its routes: an
expression that fails for one is an error, wherever a file is loaded. A sample is what
raffsync send takes, or for a source that streams {"id": …, "type": …, "orderingKey": …,
"data": {…}}, in *.jsonl one a line. What they look up in mapping tables is listed.

Exit status: 0 where all is well, 1 where something is wrong, 3 where nothing is but
--online could not try a destination, since the database cannot be read; it says why.

Examples:
  raffsync check shop.yaml
  raffsync check shop.yaml --secrets
  raffsync check shop.yaml --online books --online stock
  raffsync check --reference`
}

func (c *checkCommand) Run(ctx context.Context, line *commandLine) error {
	if c.Reference {
		fmt.Print(config.Reference(registry()))
		return nil
	}
	if c.File == "" {
		return errors.New("name the file to check, or ask for --reference")
	}
	file, err := config.Load(c.File, config.Options{Registry: registry(), Rules: ruleSets(), Notices: noticeKinds(), AllowLoopback: c.Development, Secrets: c.Secrets || len(c.Online) > 0})
	if err != nil {
		return err
	}
	printWarnings(os.Stdout, file.Warnings)
	if len(file.Configuration.Escalation) == 0 {
		fmt.Println("hint: nobody is told of exceptions: there is no escalation in the file; see teams and escalation in `raffsync check --reference`")
	}
	if err := checkShipped(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("%s: right: %s, %s, %s\n", c.File, counted(len(file.Configuration.Sources), "source"),
		counted(len(file.Configuration.Destinations), "destination"), counted(len(file.Configuration.Routes), "route"))
	printTrials(os.Stdout, file.Trials)
	if len(c.Online) == 0 {
		return nil
	}
	stored := &storedConnections{line: line, tenant: file.Configuration.Tenant}
	if stored.configured, err = file.Database.Resolve(); err != nil {
		return err
	}
	defer stored.Close()
	a := &asking{out: os.Stdout, kinds: registry(), loopback: c.Development, stored: stored.of}
	return a.checkOnline(ctx, file.Configuration.Destinations, c.Online)
}

// checkShipped holds the rules that ship with each kind of destination to the answers
// recorded with them.
func checkShipped(out io.Writer) error {
	var wrong []error
	compilers := ruleSets()
	for _, kind := range slices.Sorted(maps.Keys(compilers)) {
		set, err := compilers[kind](connectors.Options{})
		if err != nil {
			return err
		}
		shipped := set.Shipped()
		differ, unreached := shipped.Check()
		for _, w := range differ {
			wrong = append(wrong, fmt.Errorf("rules of kind %s: recorded answer %q %s", kind, w.Name, w.Message))
		}
		for _, name := range unreached {
			fmt.Fprintf(out, "warning: rules of kind %s: no recorded answer reaches %q\n", kind, name)
		}
		fmt.Fprintf(out, "rules of kind %s: %d recorded answers looked at\n", kind, len(shipped.Answers(true))+len(shipped.Answers(false)))
	}
	return errors.Join(wrong...)
}

// counted is a number of things: "1 source", "2 sources", "2 processes".
func counted(n int, thing string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(thing, "s"):
		thing += "es"
	default:
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

func printJSON(v any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
