package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// oneDelivery are the flags of what is decided about a single delivery.
type oneDelivery struct {
	tenantFlag
	reasonFlag
	ID        string `arg:"" help:"The delivery, as raffsync exceptions show --json or raffsync story --json names it." placeholder:"DELIVERY"`
	IfVersion int32  `help:"Refuse where the delivery has changed since this version." default:"-1" placeholder:"N"`
	Request   string `help:"Names this request: a repeat by the same name changes nothing." placeholder:"NAME"`
	JSON      bool   `name:"json" help:"Print as JSON."`
}

// request reads the delivery as it is, where nobody says which version was seen.
func (f *oneDelivery) request(ctx context.Context, store *outbox.Store, tenant string) (q outbox.OperatorRequest, err error) {
	q = outbox.OperatorRequest{RequestID: f.Request, Reason: f.Reason, ExpectedVersion: f.IfVersion}
	if q.RequestID == "" {
		q.RequestID = "command line " + rand.Text()
	}
	if q.Delivery, err = view.ParseDeliveryID(f.ID); err != nil || f.IfVersion >= 0 {
		return q, err
	}
	return q, view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
		found, err := tx.Deliveries(ctx, []outbox.DeliveryID{q.Delivery})
		if err == nil && found[q.Delivery] == nil {
			err = errors.New("there is no such delivery")
		}
		if err == nil {
			q.ExpectedVersion = found[q.Delivery].Version
		}
		return err
	})
}

// decided puts an error of the store into words, and gives it its exit status.
func decided(err error, what string) error {
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		return fmt.Errorf("there is no such %s", what)
	case errors.Is(err, outbox.ErrConflict):
		return conflictError{errors.New("it has changed meanwhile: look at it again before you decide")}
	}
	return err
}

type editCommand struct {
	oneDelivery
	Changes []string `arg:"" help:"Fields and their new values, as JSON: /lines/0/tax=1.375 '/note=\"by hand\"'." placeholder:"/PATH=JSON"`
}

func (editCommand) Help() string {
	return `Changes fields of an event's payload for one delivery that has failed, as its route allows
(edits), and prepares it again under a new idempotency key. The event stays as it came. A
path is a JSON pointer, a value is JSON, so that numbers stay digit for digit; a text has
its quotes. Fields that need a second person wait for raffsync edits approve.

Examples:
  raffsync edit dlv_AAAAAAAAAAE /lines/0/tax=1.375 --reason "as the invoice says"
  raffsync edit dlv_AAAAAAAAAAE '/customer="WALK-IN"' --reason "sold at the counter"` + stepHelp
}

func (c *editCommand) Run(ctx context.Context, line *commandLine) error {
	var q outbox.EditRequest
	for _, text := range c.Changes {
		path, value, ok := strings.Cut(text, "=")
		if !ok || !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q is no change; expected a path and a value such as /lines/0/tax=1.375", text)
		}
		if !json.Valid([]byte(value)) {
			return fmt.Errorf("%s: %q is no JSON; a text has quotes: '%s=\"…\"'", path, value, path)
		}
		q.Changes = append(q.Changes, outbox.Change{Path: path, Value: json.RawMessage(value)})
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		if q.OperatorRequest, err = c.request(ctx, store, tenant); err != nil {
			return err
		}
		done, err := store.AskEdit(ctx, actor(tenant), q)
		if err != nil {
			return decided(err, "delivery")
		}
		return tellEdit(done, c.JSON)
	})
}

type editsCommand struct {
	List    editsListCommand    `cmd:"" default:"withargs" help:"List edits, the newest first."`
	Approve editsApproveCommand `cmd:"" help:"Approve one that waits for a second person: never your own."`
	Reject  editsRejectCommand  `cmd:"" help:"Reject one that waits for a second person, or take your own back."`
}

type editsListCommand struct {
	tenantFlag
	Status string `help:"Only in this state." enum:",PENDING,APPLIED,REJECTED" default:"" placeholder:"PENDING|APPLIED|REJECTED"`
	First  int    `help:"Most edits to list." default:"50"`
	JSON   bool   `name:"json" help:"Print as JSON."`
}

func (editsListCommand) Help() string {
	return `Examples:
  raffsync edits
  raffsync edits --status PENDING`
}

// toldEdit is an edit, as it is printed.
type toldEdit struct {
	ID           int64           `json:"id"`
	Delivery     string          `json:"delivery"`
	State        string          `json:"state"`
	Changes      []outbox.Change `json:"changes"`
	SecondPerson bool            `json:"secondPerson"`
	Actor        string          `json:"actor"`
	Reason       string          `json:"reason"`
	AskedAt      time.Time       `json:"askedAt"`
	DecidedBy    string          `json:"decidedBy,omitempty"`
	DecidedAt    *time.Time      `json:"decidedAt,omitempty"`
	DecidedWhy   string          `json:"decidedReason,omitempty"`
}

func toldEditOf(e outbox.Edit) toldEdit {
	return toldEdit{
		e.ID, view.FormatDeliveryID(e.Delivery), e.State, e.Changes, e.Second, e.Actor, e.Reason, e.AskedAt, deref(e.DecidedBy), e.DecidedAt, deref(e.DecidedWhy),
	}
}

func (t toldEdit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edit %d %s of %s (%s: %s)", t.ID, t.State, t.Delivery, t.Actor, t.Reason)
	for _, c := range t.Changes {
		fmt.Fprintf(&b, "\n    %s = %s", c.Path, c.Value)
	}
	switch {
	case t.State == outbox.EditPending:
		fmt.Fprintf(&b, "\n    → raffsync edits approve %d --reason WHY, by somebody else", t.ID)
	case t.SecondPerson:
		fmt.Fprintf(&b, "\n    %s by %s: %s", strings.ToLower(t.State), t.DecidedBy, t.DecidedWhy)
	}
	return b.String()
}

func tellEdit(e outbox.Edit, asJSON bool) error {
	if asJSON {
		return printJSON(map[string]any{"edit": toldEditOf(e)})
	}
	fmt.Println(toldEditOf(e))
	return nil
}

func (c *editsListCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		found, err := store.Edits(ctx, tenant, c.Status, math.MaxInt64, c.First)
		if err != nil {
			return err
		}
		told := make([]toldEdit, len(found))
		for i, e := range found {
			told[i] = toldEditOf(e)
		}
		if c.JSON {
			return printJSON(map[string]any{"edits": told})
		}
		if len(told) == 0 {
			fmt.Println("nothing was edited")
		}
		for _, t := range told {
			fmt.Println(t)
		}
		return nil
	})
}

// editDecision are the flags of a decision about an edit.
type editDecision struct {
	tenantFlag
	reasonFlag
	ID   int64 `arg:"" help:"Number of the edit, as raffsync edits shows it."`
	JSON bool  `name:"json" help:"Print as JSON."`
}

func (d *editDecision) decide(ctx context.Context, line *commandLine, approve bool) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := d.resolve(ctx, store)
		if err != nil {
			return err
		}
		done, err := store.DecideEdit(ctx, actor(tenant), d.ID, approve, d.Reason)
		if err != nil {
			return decided(err, "edit")
		}
		return tellEdit(done, d.JSON)
	})
}

type (
	editsApproveCommand struct{ editDecision }
	editsRejectCommand  struct{ editDecision }
)

func (editsApproveCommand) Help() string {
	return `Who runs this program is told by the machine's login.

Examples:
  raffsync edits approve 7 --reason "seen the invoice"` + stepHelp
}

func (editsRejectCommand) Help() string {
	return `Examples:
  raffsync edits reject 7 --reason "the invoice says otherwise"` + stepHelp
}

func (c *editsApproveCommand) Run(ctx context.Context, line *commandLine) error {
	return c.decide(ctx, line, true)
}

func (c *editsRejectCommand) Run(ctx context.Context, line *commandLine) error {
	return c.decide(ctx, line, false)
}

type redirectCommand struct {
	oneDelivery
	To    string `arg:"" help:"Name of the other destination." placeholder:"DESTINATION"`
	Route string `help:"The route that is to take it, whatever its conditions say; else the first that wants it today." placeholder:"NAME"`
}

func (redirectCommand) Help() string {
	return `Ends a delivery as skipped, and has the same event delivered to another destination: from
the event as it came, behind what was accepted there of its ordering key before. Refused
where no route takes it there, an earlier request may have had its effect, or an earlier
step is done.

Examples:
  raffsync redirect dlv_AAAAAAAAAAE stock --reason "books has closed the period"` + stepHelp
}

func (c *redirectCommand) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		q := outbox.RedirectRequest{To: c.To, Route: c.Route}
		if q.OperatorRequest, err = c.request(ctx, store, tenant); err != nil {
			return err
		}
		routes := &routing{store: store}
		done, err := replays{store, routes.router}.Redirect(ctx, actor(tenant), q)
		if err != nil {
			return decided(err, "delivery")
		}
		if c.JSON {
			return printJSON(done)
		}
		fmt.Printf("redirected to %s by route %s: running processes make the new delivery within seconds (replay %d)\n", c.To, done.Route, done.Replay)
		return nil
	})
}
