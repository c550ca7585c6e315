package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

type exceptionsCommand struct {
	List exceptionsListCommand `cmd:"" default:"withargs" help:"List exceptions, the newest first."`
	Show exceptionsShowCommand `cmd:"" help:"Show one exception, what it holds, and what to do next."`
}

type exceptionsListCommand struct {
	tenantFlag
	All         bool   `help:"Those that are closed, too."`
	Class       string `help:"Only of this class, as SKU_UNMAPPED." placeholder:"CLASS"`
	Destination string `help:"Only of this destination." placeholder:"NAME"`
	First       int    `help:"Most exceptions to list." default:"50"`
	JSON        bool   `name:"json" help:"Print as JSON."`
}

func (exceptionsListCommand) Help() string {
	return `Each is one cause, with all the deliveries that it holds. What a mapping table lacks is
resolved by the command that stands below it; so is a destination whose platform has
taken the authorisation away.

Examples:
  raffsync exceptions
  raffsync exceptions --class SKU_UNMAPPED --destination books
  raffsync exceptions list --all --json`
}

// toldException is an exception as it is printed.
type toldException struct {
	ID          string     `json:"id"`
	Class       string     `json:"class"`
	Destination string     `json:"destination,omitempty"`
	Source      string     `json:"source,omitempty"`
	Reason      string     `json:"reason"`
	Table       string     `json:"table,omitempty"` // that lacks Value
	Value       string     `json:"value,omitempty"`
	Held        int64      `json:"held"`
	Status      string     `json:"status"`
	OpenedAt    time.Time  `json:"openedAt"`
	ClosedAt    *time.Time `json:"closedAt,omitempty"`
	Command     string     `json:"command,omitempty"` // that resolves it
}

func toldOf(x *view.Exception) toldException {
	t := toldException{
		ID: x.ID(), Class: x.Class, Destination: deref(x.Destination), Source: deref(x.Source), Reason: x.Sample,
		Held: x.HeldCount, Status: x.Status, OpenedAt: x.OpenedAt, ClosedAt: x.ClosedAt,
	}
	if g := x.Gap(); g != nil {
		t.Table, t.Value = g.Table, g.Value
	}
	if x.ClosedAt == nil {
		t.Command = deref(x.Command())
	}
	return t
}

func (t *toldException) print(to io.Writer) {
	about := t.Destination
	if about == "" {
		about = t.Source
	}
	state := fmt.Sprintf("holds %d", t.Held)
	if t.ClosedAt != nil {
		state = t.Status
	}
	fmt.Fprintf(to, "%s  %s  %s  %s  since %s\n    %s\n", t.ID, t.Class, about, state, t.OpenedAt.Local().Format(time.DateTime), t.Reason)
	if t.Command != "" {
		fmt.Fprintf(to, "    → %s\n", t.Command)
	}
}

func (c *exceptionsListCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	filter := view.ExceptionFilter{Class: c.Class, Destination: c.Destination}
	if open := true; !c.All {
		filter.Open = &open
	}
	var page view.Page[*view.Exception]
	err := c.read(ctx, line, func(tx *view.Tx) (err error) {
		page, err = tx.Exceptions(ctx, filter, c.First, "")
		return err
	})
	if err != nil {
		return err
	}
	told := make([]toldException, len(page.Nodes))
	for i, x := range page.Nodes {
		told[i] = toldOf(x)
	}
	if c.JSON {
		return printJSON(map[string]any{"exceptions": told, "more": page.HasNext})
	}
	if len(told) == 0 {
		fmt.Println("nothing needs a person")
	}
	for i := range told {
		told[i].print(os.Stdout)
	}
	if page.HasNext {
		fmt.Println("… and more; --first shows more of them")
	}
	return nil
}

type exceptionsShowCommand struct {
	tenantFlag
	ID    string `arg:"" help:"As the list shows it."`
	First int    `help:"Most deliveries to show of what it holds." default:"20"`
	JSON  bool   `name:"json" help:"Print as JSON."`
}

func (exceptionsShowCommand) Help() string {
	return `Shows why it is there, what resolves it, the first deliveries that it holds, and what
happened to it.

Examples:
  raffsync exceptions show exc_AAAAAAAAAAE`
}

// toldHeld is a delivery that an exception holds.
type toldHeld struct {
	ID        string `json:"id"`
	Event     string `json:"event"`
	OtherHeld int    `json:"others"` // exceptions that hold it besides
}

func (c *exceptionsShowCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	number, err := view.ParseExceptionID(c.ID)
	if err != nil {
		return err
	}
	var told toldException
	held := []toldHeld{}
	var entries []toldEntry
	err = c.read(ctx, line, func(tx *view.Tx) error {
		found, err := tx.ExceptionsByID(ctx, []int64{number})
		if err != nil {
			return err
		}
		if found[number] == nil {
			return errors.New("there is no such exception")
		}
		told = toldOf(found[number])
		if held, err = heldBy(ctx, tx, number, c.First); err != nil {
			return err
		}
		stories, err := tx.ExceptionStories(ctx, []view.ExceptionStory{{Exception: number, First: view.MaxFirst}})
		if err != nil {
			return err
		}
		for _, e := range stories[0].Nodes {
			if e.What == "attempt" || e.What == "release" || e.What == "retry" || e.What == "reprocess" || e.What == "skip" {
				continue // of what it holds, each of which has a story of its own
			}
			entries = append(entries, toldEntry{At: e.At, What: e.What, Reason: deref(e.Reason), Actor: deref(e.Actor)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(map[string]any{"exception": told, "held": held, "timeline": entries})
	}
	told.print(os.Stdout)
	for _, h := range held {
		fmt.Printf("    holds event %s", h.Event)
		if h.OtherHeld > 0 {
			fmt.Printf(", as %d others do", h.OtherHeld)
		}
		fmt.Println()
	}
	for _, e := range entries {
		fmt.Printf("    %s  %s", e.At.Local().Format(time.DateTime), e.What)
		if e.Actor != "" {
			fmt.Printf(" by %s", e.Actor)
		}
		fmt.Printf(": %s\n", e.Reason)
	}
	return nil
}

func heldBy(ctx context.Context, tx *view.Tx, exception int64, first int) ([]toldHeld, error) {
	pages, err := tx.Held(ctx, []view.HeldBy{{Exception: exception, First: first}})
	if err != nil {
		return nil, err
	}
	var ids []outbox.EventID
	for _, d := range pages[0].Nodes {
		ids = append(ids, d.Ref.Event)
	}
	events, err := tx.EventsByID(ctx, ids)
	held := []toldHeld{}
	for _, d := range pages[0].Nodes {
		h := toldHeld{ID: d.ID(), OtherHeld: max(len(d.Exceptions)-1, 0)}
		if e := events[d.Ref.Event]; e != nil {
			h.Event = e.EventID
		}
		held = append(held, h)
	}
	return held, err
}

// read reads as the tenant that is meant.
func (f tenantFlag) read(ctx context.Context, line *commandLine, read func(*view.Tx) error) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := f.resolve(ctx, store)
		if err != nil {
			return err
		}
		return view.New(store.API()).As(ctx, tenant, read)
	})
}
