package view

import (
	"context"

	"raffsync/outbox"
)

// jobsGoing are those that have not ended, and those that ended a moment ago, so that
// whoever watches sees their end. Both are few.
var jobsGoing = register("jobs going", `
SELECT id, tenant, action, filter, rate, state, total, done, failed, requested_at, ended_at, actor, reason
  FROM jobs WHERE ended_at IS NULL OR ended_at > now() - interval '1 minute' ORDER BY id`)

// JobsGoing lists the jobs that have not ended for longer than a minute, by number.
func (t *Tx) JobsGoing(ctx context.Context) ([]*outbox.Job, error) {
	return collect[outbox.Job](ctx, t, "jobs", jobsGoing)
}
