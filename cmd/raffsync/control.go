package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"raffsync/outbox"
)

// reasonFlag is why an operator decides something.
type reasonFlag struct {
	Reason string `help:"Why, for the timeline." required:"" placeholder:"TEXT"`
}

type pauseCommand struct {
	tenantFlag
	reasonFlag
	Kind string `arg:"" enum:"source,route,destination" help:"What it is: source, route or destination."`
	Name string `arg:"" help:"Its name in the configuration."`
}

func (pauseCommand) Help() string {
	return `Nothing of it is sent from about a second later, over all processes and restarts,
until it is resumed. What is on the wire finishes. A paused source is listened to all the
same: its events are accepted, and wait.

Examples:
  raffsync pause destination books --reason "accounting is closing the month"
  raffsync pause route invoices --reason "wrong tax rate, see ticket 81"
  raffsync pause source shop --reason "migration of the shop"`
}

func (c *pauseCommand) Run(ctx context.Context, line *commandLine) error {
	return control(ctx, line, c.tenantFlag, "paused", outbox.ControlRequest{
		Kind: outbox.ControlKind(c.Kind), Name: c.Name, State: outbox.Paused, Reason: c.Reason,
	})
}

type resumeCommand struct {
	tenantFlag
	reasonFlag
	Kind string `arg:"" enum:"source,route,destination,authorisation" help:"What it is: source, route, destination, or the authorisation of a destination."`
	Name string `arg:"" help:"Its name in the configuration."`
}

func (resumeCommand) Help() string {
	return `What waited goes on, in order. Resume the authorisation of a destination once it is
connected again, where its platform had taken that away or suspended the account: its
exception is resolved.

Examples:
  raffsync resume destination books --reason "the month is closed"
  raffsync resume authorisation books --reason "connected again with a new token"`
}

func (c *resumeCommand) Run(ctx context.Context, line *commandLine) error {
	return control(ctx, line, c.tenantFlag, "resumed", outbox.ControlRequest{
		Kind: outbox.ControlKind(c.Kind), Name: c.Name, State: outbox.Automatic, Reason: c.Reason,
	})
}

type breakerCommand struct {
	tenantFlag
	reasonFlag
	Name  string `arg:"" help:"Name of the destination."`
	Order string `arg:"" enum:"open,closed,auto" help:"open: let nothing through, and no probe either; closed: let everything through; auto: decide by what comes of the requests."`
}

func (breakerCommand) Help() string {
	return `Holds over all processes and restarts, until another order. Nothing that waits for a
breaker spends attempts.

Examples:
  raffsync breaker books open --reason "they asked us to stop"
  raffsync breaker books auto --reason "they are back"`
}

func (c *breakerCommand) Run(ctx context.Context, line *commandLine) error {
	q := outbox.ControlRequest{Kind: outbox.OfBreaker, Name: c.Name, Reason: c.Reason}
	done := "automatic again"
	switch c.Order {
	case "open":
		q.State, done = outbox.ForcedOpen, "held open"
	case "closed":
		q.State, done = outbox.ForcedClosed, "held closed"
	}
	return control(ctx, line, c.tenantFlag, done, q)
}

// control has it done in the name of whoever runs this program, and says so. Running
// processes are told by their own polling, within about a second.
func control(ctx context.Context, line *commandLine, of tenantFlag, done string, q outbox.ControlRequest) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := of.resolve(ctx, store)
		if err != nil {
			return err
		}
		q.RequestID = "command line " + rand.Text()
		err = store.Control(ctx, actor(tenant), q)
		if errors.Is(err, outbox.ErrNotFound) {
			return fmt.Errorf("tenant %s has no %s %q", tenant, kindOf(q.Kind), q.Name)
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s %s is %s\n", q.Kind, q.Name, done)
		return nil
	})
}

// kindOf names what must exist for it to be held.
func kindOf(k outbox.ControlKind) outbox.ControlKind {
	if k == outbox.OfBreaker || k == outbox.OfAuthorisation {
		return outbox.OfDestination
	}
	return k
}
