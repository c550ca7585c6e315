package main

import (
	"context"
	"math/rand/v2"
	"time"

	"raffsync/outbox"
)

// replayEvery is how often it is looked whether a page of a replay is due.
const replayEvery = 200 * time.Millisecond

// replay makes the deliveries of replays until the context ends. What fails is tried
// again.
func (a *app) replay(ctx context.Context) error {
	replayer := a.config.store.OpenReplayer(rand.Int64(), a.broker.RouteTo)
	defer replayer.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.config.watermark.full() != "" {
			continue // what it makes needs room too
		}
		for more := true; more && ctx.Err() == nil; {
			lanes, again, err := replayer.Step(ctx)
			if err != nil && ctx.Err() == nil {
				a.config.log.WarnContext(ctx, "a replay is tried again", "error", err)
			}
			if more = again && err == nil; len(lanes) > 0 {
				a.dispatcher.Wake(lanes)
				a.config.store.Hint(outbox.Hint{Lanes: lanes})
			}
		}
	}
}

// replays is what the API needs of the store, by the rules in force.
type replays struct {
	*outbox.Store
	route outbox.Router
}

func (r replays) PreviewReplay(ctx context.Context, tenant, destination string, f outbox.ReplayFilter, most int) (outbox.ReplayPreview, error) {
	return r.Store.PreviewReplay(ctx, tenant, destination, f, most, r.route)
}
