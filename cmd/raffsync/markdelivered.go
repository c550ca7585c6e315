package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// verdictFlags name a delivery that somebody has looked for at its platform.
type verdictFlags struct {
	tenantFlag
	reasonFlag
	ID        string `arg:"" name:"delivery" help:"The delivery, as raffsync story --json and the API show it."`
	IfVersion int32  `help:"Refuse where the delivery has changed since this version." default:"-1" placeholder:"N"`
	JSON      bool   `name:"json" help:"Print as JSON."`
}

type markDeliveredCommand struct {
	verdictFlags
	ExternalID string            `arg:"" help:"What the platform calls it."`
	URL        string            `help:"Where people find it there." placeholder:"URL"`
	Field      map[string]string `help:"What else later steps take from its receipt." placeholder:"NAME=VALUE"`
}

func (markDeliveredCommand) Help() string {
	return `For a delivery that has failed, most often since nobody knows what became of its request,
and whose effect somebody has seen at the platform. Its step is done with that receipt, as
if the platform had answered so; nothing is sent for it. A later event of the same effect
finds it there. Where another step follows, the delivery goes on with that.

Where it is not there: raffsync send-anyway.

Examples:
  raffsync exceptions --class UNKNOWN_OUTCOME
  raffsync mark-delivered dlv_AAAAAAAAAAE INV-2043 --reason "seen in the ledger, of 10:41"
  raffsync mark-delivered dlv_AAAAAAAAAAE SO-17 --field number=SO-17 --reason "it is there"

Exit status: 0 done, 1 refused or failed, 2 not understood, 3 the delivery has changed.`
}

func (c *markDeliveredCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, "marked as delivered", func(store *outbox.Store, actor outbox.Actor, q outbox.OperatorRequest) (outbox.Operated, error) {
		return verdicts{store}.MarkDelivered(ctx, actor, outbox.MarkRequest{
			OperatorRequest: q, Receipt: outbox.Receipt{ExternalID: c.ExternalID, URL: c.URL, Fields: c.Field},
		})
	})
}

type sendAnywayCommand struct {
	verdictFlags
	AcknowledgeRisk bool `help:"Say that you know: if it is there after all, it may be there twice by then."`
}

func (sendAnywayCommand) Help() string {
	return `For a delivery of which an earlier request may have had its effect, and that somebody has
looked for at the platform in vain. It is sent by the same idempotency key, and the platform
is not asked first, nor does it matter how long it remembers keys.

Where it is there: raffsync mark-delivered. Where the platform can say so itself, or takes
the same request twice for one: raffsync retry.

Examples:
  raffsync send-anyway dlv_AAAAAAAAAAE --acknowledge-risk --reason "not in their ledger at 12:00"

Exit status: 0 done, 1 refused or failed, 2 not understood, 3 the delivery has changed.`
}

func (c *sendAnywayCommand) Run(ctx context.Context, line *commandLine) error {
	if !c.AcknowledgeRisk {
		return errors.New("look at the platform first: if it is there after all, it may be there twice by then; --acknowledge-risk says that you know")
	}
	return c.take(ctx, line, "is sent", func(store *outbox.Store, actor outbox.Actor, q outbox.OperatorRequest) (outbox.Operated, error) {
		return store.SendAnyway(ctx, actor, q)
	})
}

// take has it done in the name of whoever runs this program, and says so.
func (f *verdictFlags) take(ctx context.Context, line *commandLine, done string, do func(*outbox.Store, outbox.Actor, outbox.OperatorRequest) (outbox.Operated, error)) error {
	id, err := view.ParseDeliveryID(f.ID)
	if err != nil {
		return err
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := f.resolve(ctx, store)
		if err != nil {
			return err
		}
		q := outbox.OperatorRequest{RequestID: "command line " + rand.Text(), Delivery: id, ExpectedVersion: f.IfVersion, Reason: f.Reason}
		if f.IfVersion < 0 {
			if q.ExpectedVersion, err = versionOf(ctx, store, tenant, id); err != nil {
				return err
			}
		}
		became, err := do(store, actor(tenant), q)
		switch {
		case errors.Is(err, outbox.ErrNotFound):
			return fmt.Errorf("tenant %s has no delivery %s", tenant, f.ID)
		case errors.Is(err, outbox.ErrConflict):
			return conflictError{errors.New("the delivery has changed meanwhile; look at it again before you decide")}
		case err != nil:
			return err
		}
		if f.JSON {
			return printJSON(map[string]any{"state": became.State, "version": became.Version})
		}
		if became.State == outbox.StatePending && done != "is sent" {
			done += "; its next step goes on"
		}
		fmt.Println(done)
		return nil
	})
}

// versionOf a delivery as it is now; 0 where it has ended.
func versionOf(ctx context.Context, store *outbox.Store, tenant string, id outbox.DeliveryID) (version int32, err error) {
	err = view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
		found, err := tx.Deliveries(ctx, []outbox.DeliveryID{id})
		if d := found[id]; d != nil {
			version = d.Version
		}
		return err
	})
	return version, err
}
