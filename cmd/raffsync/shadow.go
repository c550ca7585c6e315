package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"raffsync/outbox"
)

type shadowCommand struct {
	List  shadowList  `cmd:"" default:"withargs" help:"List what they have found."`
	Reset shadowReset `cmd:"" help:"Forget it, so that what they find from now on is new."`
}

func (shadowCommand) Help() string {
	return `A route with mode: shadow prepares every delivery as it would be sent, and sends nothing.

Examples:
  raffsync shadow
  raffsync shadow list sales --json
  raffsync shadow reset sales --reason "the SKUs are mapped now"`
}

type shadowReset struct {
	tenantFlag
	reasonFlag
	Route string `arg:"" optional:"" help:"Only what this route has found."`
}

func (shadowReset) Help() string {
	return `After a change of mappings or of the file, this leaves what is found from then on. What
became of each delivery stays in its timeline. It changes nothing else.

Examples:
  raffsync shadow reset sales --reason "the SKUs are mapped now"`
}

func (c *shadowReset) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		n, err := store.ResetShadow(ctx, actor(tenant), outbox.ShadowReset{RequestID: "command line " + rand.Text(), Reason: c.Reason, Route: c.Route})
		if err != nil {
			return err
		}
		fmt.Printf("%s forgotten\n", counted(int(n), "finding"))
		return nil
	})
}

type shadowList struct {
	tenantFlag
	Route string `arg:"" optional:"" help:"Only what this route has found."`
	JSON  bool   `name:"json" help:"Print as JSON."`
}

func (shadowList) Help() string {
	return `A route with mode: shadow prepares every delivery as it would be sent, and sends nothing.
This adds up what would have become of them since the route was first in shadow, or since
raffsync shadow reset: how many would have been sent, how many would have needed a person,
and for which causes, what was seen most first. Each event counts as if none before it had
been sent.

Take mode: shadow out and apply the file to go live: what comes from then on is sent.
raffsync replay sends what came before, too.

Examples:
  raffsync shadow
  raffsync shadow sales --json`
}

func (c *shadowList) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		found, err := store.ShadowFindings(ctx, tenant, c.Route, outbox.MaxShadowFindings)
		if err != nil {
			return err
		}
		told := make([]toldShadow, 0, len(found))
		for _, f := range found {
			told = append(told, toldShadow{
				f.Route, f.Destination, f.Prospect, f.Class, f.Field, f.Code, f.Seen, f.FirstAt.UTC(), f.LastAt.UTC(), f.Event, deref(f.Reason),
			})
		}
		if c.JSON {
			return printJSON(map[string]any{"findings": told, "more": len(told) == outbox.MaxShadowFindings})
		}
		if len(told) == 0 {
			fmt.Println("no route in shadow has prepared anything yet")
		}
		printShadows(os.Stdout, told)
		if len(told) == outbox.MaxShadowFindings {
			fmt.Println("There may be more: these are the first 1,000 lines.")
		}
		return nil
	})
}

// toldShadow is a finding, as it is printed.
type toldShadow struct {
	Route       string          `json:"route"`
	Destination string          `json:"destination"`
	Prospect    outbox.Prospect `json:"prospect"`
	Class       string          `json:"class,omitempty"` // of a cause; absent: it counts deliveries
	Field       string          `json:"field,omitempty"`
	Code        string          `json:"code,omitempty"`
	Seen        int64           `json:"seen"`
	FirstAt     time.Time       `json:"firstAt"`
	LastAt      time.Time       `json:"lastAt"`
	Event       string          `json:"event,omitempty"`
	Reason      string          `json:"reason,omitempty"`
}

func printShadows(out io.Writer, all []toldShadow) {
	last := ""
	for _, f := range all {
		if place := f.Route + " → " + f.Destination; place != last {
			fmt.Fprintln(out, place)
			last = place
		}
		if f.Class == "" {
			fmt.Fprintf(out, "  %7d %s  (%s to %s)\n", f.Seen, strings.Replace(prospects[f.Prospect], "would be sent", "would have been sent", 1), f.FirstAt.Format(time.RFC3339), f.LastAt.Format(time.RFC3339))
			continue
		}
		name := f.Class
		if f.Field != "" || f.Code != "" {
			name = fmt.Sprintf("%s  %s %s", f.Class, f.Field, shown(f.Code))
		}
		fmt.Fprintf(out, "  %7d   %s, as of %s: %s\n", f.Seen, name, f.Event, f.Reason)
	}
}
