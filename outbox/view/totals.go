package view

import (
	"context"
	"time"

	"raffsync/outbox"
)

// Totals counts what a tenant's sources sent and what became of it, since its
// first event.
type Totals struct {
	// Events accepted, sent again, sent again with other content, and wanted by no
	// route.
	Accepted, Duplicates, Conflicts, Unrouted int64
	// Deliveries made of them, and what became of those.
	Deliveries, Delivered, Skipped, Superseded, NeedsAction int64
	// Late is how many of them have not ended by the time that their routes give them.
	Late int64
}

// Open is how many deliveries have not ended.
func (t Totals) Open() int64 { return max(0, t.Deliveries-t.Delivered-t.Skipped-t.Superseded) }

var totals = register("totals", `
SELECT coalesce(sum(accepted) FILTER (WHERE destination = 0), 0)::bigint AS accepted,
       coalesce(sum(duplicates), 0)::bigint AS duplicates,
       coalesce(sum(conflicts), 0)::bigint AS conflicts,
       coalesce(sum(unrouted), 0)::bigint AS unrouted,
       coalesce(sum(accepted) FILTER (WHERE destination <> 0), 0)::bigint AS deliveries,
       coalesce(sum(delivered), 0)::bigint AS delivered,
       coalesce(sum(skipped), 0)::bigint AS skipped,
       coalesce(sum(superseded), 0)::bigint AS superseded,
       coalesce(sum(needs_action), 0)::bigint AS needs_action,
       (SELECT coalesce(sum(held), 0)::bigint FROM exceptions WHERE class = 'LATE' AND closed_at IS NULL) AS late
  FROM tallies`)

// Totals sums up the tenant's tallies, which are a bounded number of rows.
func (t *Tx) Totals(ctx context.Context) (Totals, error) {
	rows, err := collect[Totals](ctx, t, "totals", totals)
	if err != nil {
		return Totals{}, err
	}
	return *rows[0], nil
}

// Source is a system that sends.
type Source struct {
	Name      string
	RemovedAt *time.Time
	// Paused by an operator; nil where it runs.
	Paused *Control `db:"-"`
	// HeardAt is when it last sent something, some seconds late; nil where it never did.
	HeardAt *time.Time
}

var sources = register("sources", `SELECT name, removed_at, heard_at FROM sources ORDER BY name`)

// Sources returns all of the tenant's sources by name, those that were removed too.
func (t *Tx) Sources(ctx context.Context) ([]*Source, error) {
	found, err := collect[Source](ctx, t, "sources", sources)
	if err != nil {
		return nil, err
	}
	held, err := t.held(ctx)
	for _, s := range found {
		s.Paused = held[heldThing{outbox.OfSource, s.Name}]
	}
	return found, err
}
