package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

type previewCommand struct {
	tenantFlag
	Reference   string `arg:"" help:"Order number or another reference, event id, or ordering key; exactly as it was sent."`
	Destination string `help:"Only what goes there." placeholder:"NAME"`
	Route       string `help:"Prepare by this route of today, whether or not the event ever took it." placeholder:"NAME"`
	First       int    `help:"Most events to preview: the newest ones." default:"5"`
	JSON        bool   `name:"json" help:"Print as JSON."`
}

func (previewCommand) Help() string {
	return `Prepares what would be sent now, as it will be sent, byte for byte, and sends nothing:
each step's request, the look-ups that it used, what is missing, what the ledger knows of
its effect, and how it differs from what was sent for that before. What depends on the
time or on a credential is left out, and no secret is needed.

Of a delivery that has ended every step is shown, by the route that its event would take
today. Steps that need what earlier ones will have given are shown with markers in its
place, as {order.id}.

Examples:
  raffsync preview 1042
  raffsync preview 1042 --destination books --json
  raffsync preview order/1042 --route sales`
}

func (c *previewCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		p, err := newPreviews(ctx, store)
		if err != nil {
			return err
		}
		told, err := c.tell(ctx, store, p, tenant)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]any{"previews": told})
		}
		for i := range told {
			told[i].print(os.Stdout)
		}
		if len(told) == 0 {
			return fmt.Errorf("%q has nothing to preview: no route of today leads from it%s; --route prepares it by any", c.Reference, toThere(c.Destination))
		}
		return nil
	})
}

func toThere(destination string) string {
	if destination == "" {
		return " anywhere"
	}
	return " to " + destination
}

// tell previews every delivery of what the reference names, or what the route says.
func (c *previewCommand) tell(ctx context.Context, store *outbox.Store, p previews, tenant string) ([]previewTold, error) {
	told := []previewTold{}
	var events []*view.Event
	var deliveries map[outbox.EventID][]*view.Delivery
	err := view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
		page, err := tx.Search(ctx, c.Reference, c.First, "")
		if err != nil {
			return err
		}
		var ids []outbox.EventID
		for _, hit := range page.Nodes {
			if hit.Event != nil {
				events, ids = append(events, hit.Event), append(ids, hit.Event.Ref())
			}
		}
		deliveries, err = tx.DeliveriesOf(ctx, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("nothing is known of %q: it must be a reference, an event id or an ordering key, exactly as it was sent", c.Reference)
	}
	slices.Reverse(events)
	for _, e := range events {
		if c.Route != "" {
			preview, err := p.PreviewEvent(ctx, tenant, e.Ref(), c.Route)
			if err != nil {
				return nil, err
			}
			told = append(told, previewToldOf(e, preview))
			continue
		}
		for _, d := range deliveries[e.Ref()] {
			if c.Destination != "" && d.Destination != c.Destination {
				continue
			}
			preview, err := p.PreviewDelivery(ctx, tenant, d.Ref)
			switch {
			case errors.Is(err, outbox.ErrNotFound): // no route leads there any more
			case err != nil:
				return nil, err
			default:
				told = append(told, previewToldOf(e, preview))
			}
		}
	}
	return told, nil
}
