package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

type exceptionsCommand struct {
	List exceptionsListCommand `cmd:"" default:"withargs" help:"List exceptions, the newest first."`
	Show exceptionsShowCommand `cmd:"" help:"Show one exception, what it holds, and what to do next."`

	Ack     exceptionsAckCommand     `cmd:"" help:"Say that you have seen one, until some time."`
	Assign  exceptionsAssignCommand  `cmd:"" help:"Give one to a person or a team."`
	Start   exceptionsStartCommand   `cmd:"" help:"Say that you, or somebody else, work on one."`
	Comment exceptionsCommentCommand `cmd:"" help:"Add a comment to one."`
	Retry   exceptionsRetryCommand   `cmd:"" help:"Try again all that one holds."`
	Resolve exceptionsResolveCommand `cmd:"" help:"Close one that holds nothing any more."`
	Dismiss exceptionsDismissCommand `cmd:"" help:"Put one aside, and skip all that it holds."`
	Reopen  exceptionsReopenCommand  `cmd:"" help:"Open a closed one again."`
}

func (exceptionsCommand) Help() string {
	return `Each is one cause, with all the deliveries that it holds. Those that lack a mapping are
resolved by adding it; others by mending the cause and retrying. Dismissing skips what is
held, for good.

Examples:
  raffsync exceptions
  raffsync exceptions show exc_AAAAAAAAAAE --language id
  raffsync exceptions ack exc_AAAAAAAAAAE --for 2h --reason "asking the supplier"
  raffsync exceptions assign exc_AAAAAAAAAAE budi --team catalogue --reason "new item"
  raffsync exceptions retry exc_AAAAAAAAAAE --reason "the customer exists there now"`
}

type exceptionsListCommand struct {
	tenantFlag
	All         bool   `help:"Those that are closed, too."`
	Class       string `help:"Only of this class, as SKU_UNMAPPED." placeholder:"CLASS"`
	Destination string `help:"Only of this destination." placeholder:"NAME"`
	Source      string `help:"Only of this source." placeholder:"NAME"`
	Severity    string `help:"Only of this severity." enum:",LOW,MEDIUM,HIGH,CRITICAL" default:"" placeholder:"LOW|MEDIUM|HIGH|CRITICAL"`
	Status      string `help:"Only in this status, as IN_PROGRESS." enum:",NEEDS_ACTION,ACKNOWLEDGED,IN_PROGRESS,RESOLVED,DISMISSED" default:"" placeholder:"STATUS"`
	Assignee    string `help:"Only those given to this person." placeholder:"NAME"`
	Outlet      string `help:"Only those that hold deliveries of this outlet; of closed ones, that held some." placeholder:"NAME"`
	Team        string `help:"Only those whose turn it is: of the team that one was given to, that was told of it, or of its outlet." placeholder:"NAME"`
	By          string `help:"The order: newest, exposure (the most at stake first), severity or age (the oldest first)." enum:"newest,exposure,severity,age" default:"newest"`
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
  raffsync exceptions --by exposure --severity HIGH
  raffsync exceptions --outlet mall --team catalogue
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

	Severity          string         `json:"severity"`
	Version           int32          `json:"version"`
	Assignee          string         `json:"assignee,omitempty"`
	Team              string         `json:"team,omitempty"`
	AcknowledgedUntil *time.Time     `json:"acknowledgedUntil,omitempty"`
	Reopened          int32          `json:"reopened,omitempty"` // how often its cause came back
	Exposure          []toldExposure `json:"exposure,omitempty"`
	KeysBlocked       int64          `json:"keysBlocked,omitempty"` // that wait behind what it holds
	OldestHeldAt      *time.Time     `json:"oldestHeldAt,omitempty"`
	Turn              string         `json:"turn,omitempty"` // the team whose turn it is
}

// toldExposure is what is at stake in one currency.
type toldExposure struct {
	Currency string `json:"currency,omitempty"`
	Amount   string `json:"amount"`
	Units    string `json:"units,omitempty"`
}

// exposed adds what is at stake.
func (t *toldException) exposed(worth []*view.Exposure) {
	for _, e := range worth {
		t.Exposure = append(t.Exposure, toldExposure{deref(e.Currency), e.Amount, e.Units})
	}
}

func toldOf(x *view.Exception) toldException {
	t := toldException{
		ID: x.ID(), Class: x.Class, Destination: deref(x.Destination), Source: deref(x.Source), Reason: x.Sample,
		Held: x.HeldCount, Status: x.Status, OpenedAt: x.OpenedAt, ClosedAt: x.ClosedAt,
		Severity: x.Severity, Version: x.Version, Assignee: deref(x.Assignee), Team: deref(x.Team), Reopened: x.Reopened,
		KeysBlocked: x.Blocked, OldestHeldAt: x.OldestAt, Turn: deref(x.TurnTeam),
	}
	if x.Status == outbox.AcknowledgedStatus {
		t.AcknowledgedUntil = x.AcknowledgedUntil
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
	if more := t.more(); more != "" {
		fmt.Fprintf(to, "    %s\n", more)
	}
	if t.Command != "" {
		fmt.Fprintf(to, "    → %s\n", t.Command)
	}
}

// more is what is known besides: what is at stake, and who has it.
func (t *toldException) more() string {
	parts := []string{t.Severity}
	for _, e := range t.Exposure {
		if e.Currency != "" {
			parts = append(parts, e.Currency+" "+e.Amount)
		}
		if e.Units != "" && e.Units != "0" {
			parts = append(parts, e.Units+" units")
		}
	}
	if t.KeysBlocked > 0 {
		parts = append(parts, counted(int(t.KeysBlocked), "key")+" blocked")
	}
	if t.OldestHeldAt != nil {
		parts = append(parts, "oldest of "+t.OldestHeldAt.Local().Format(time.DateTime))
	}
	switch {
	case t.ClosedAt != nil:
	case t.AcknowledgedUntil != nil:
		parts = append(parts, "acknowledged until "+t.AcknowledgedUntil.Local().Format(time.DateTime))
	case t.Status == outbox.InProgress:
		parts = append(parts, "in progress")
	}
	if who := strings.Join(slices.DeleteFunc([]string{t.Assignee, t.Team}, func(s string) bool { return s == "" }), ", "); who != "" {
		parts = append(parts, "with "+who)
	} else if t.Turn != "" && t.ClosedAt == nil {
		parts = append(parts, "turn of "+t.Turn)
	}
	if t.Reopened > 0 {
		parts = append(parts, fmt.Sprintf("came back %d times", t.Reopened))
	}
	return strings.Join(parts, " · ")
}

var exceptionOrders = map[string]view.ExceptionOrder{"newest": view.NewestFirst, "exposure": view.ByExposure, "severity": view.BySeverity, "age": view.LongestFirst}

func (c *exceptionsListCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	filter := view.ExceptionFilter{Class: c.Class, Destination: c.Destination, Source: c.Source, Severity: c.Severity, Assignee: c.Assignee, Status: c.Status, Outlet: c.Outlet, Team: c.Team}
	if open := true; !c.All {
		filter.Open = &open
	}
	var page view.Page[*view.Exception]
	var worth map[int64][]*view.Exposure
	err := c.read(ctx, line, func(tx *view.Tx) (err error) {
		if page, err = tx.RankedExceptions(ctx, filter, exceptionOrders[c.By], c.First, ""); err != nil {
			return err
		}
		numbers := make([]int64, len(page.Nodes))
		for i, x := range page.Nodes {
			numbers[i] = x.Number
		}
		worth, err = tx.Exposures(ctx, numbers)
		return err
	})
	if err != nil {
		return err
	}
	told := make([]toldException, len(page.Nodes))
	for i, x := range page.Nodes {
		told[i] = toldOf(x)
		told[i].exposed(worth[x.Number])
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
