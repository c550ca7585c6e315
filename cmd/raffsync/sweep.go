package main

import (
	"context"
	"time"

	"raffsync/outbox"
)

// sweepEvery is how often what happens by itself is looked for.
const sweepEvery = 5 * time.Second

// sweep looks for what is late, who is silent, what ends soon, what no route wants and what
// has drained, until the context ends. What fails is tried again with the next sweep.
func (a *app) sweep(ctx context.Context) error {
	sweeper, err := a.config.store.OpenSweeper(ctx)
	if err != nil {
		return err
	}
	defer sweeper.Close()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.sweepOnce(ctx, sweeper); err != nil && ctx.Err() == nil {
			a.config.log.WarnContext(ctx, "a sweep is tried again", "error", err)
		}
	}
}

func (a *app) sweepOnce(ctx context.Context, sweeper *outbox.Sweeper) error {
	if err := sweeper.Silent(ctx, &a.heard, sweepEvery); err != nil {
		return err
	}
	if err := sweeper.Expiring(ctx); err != nil {
		return err
	}
	inForce, err := a.config.store.Configurations(ctx)
	if err != nil {
		return err
	}
	if err := sweeper.Drain(ctx, inForce, outbox.DrainGrace); err != nil {
		return err
	}
	a.sweepRules.load(inForce)
	zones := make(map[string]string, len(inForce))
	for _, c := range inForce {
		zones[c.Tenant] = c.Zone()
	}
	if err := sweeper.Marks(ctx, zones); err != nil {
		return err
	}
	if err := sweeper.Unrouted(ctx, a.sweepRules, outbox.DrainGrace); err != nil {
		return err
	}
	if err := a.sweepRules.severities(ctx, sweeper); err != nil {
		return err
	}
	return sweeper.Late(ctx, a.dispatcher.HeldLanes(), outbox.Deadlines(inForce))
}
