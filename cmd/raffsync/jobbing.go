package main

import (
	"context"
	"time"

	"raffsync/outbox"
)

// jobEvery is how often it is looked whether a page of a job is due.
const jobEvery = 200 * time.Millisecond

// carryOut does what jobs have to do until the context ends. What fails is tried again.
func (a *app) carryOut(ctx context.Context) error {
	runner := a.config.store.JobRunner()
	tick := time.NewTicker(jobEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for more := true; more && ctx.Err() == nil; {
			lanes, again, err := runner.Step(ctx)
			if err != nil && ctx.Err() == nil {
				a.config.log.WarnContext(ctx, "a job is tried again", "error", err)
			}
			if more = again && err == nil; len(lanes) > 0 {
				a.dispatcher.Wake(lanes)
				a.config.store.Hint(outbox.Hint{Lanes: lanes})
			}
		}
	}
}
