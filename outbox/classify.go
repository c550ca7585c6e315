package outbox

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/mutant"
)

const classifySQL = `
SELECT i.ord::integer - 1 AS index, e.hash, e.seq, e.accepted_at
  FROM unnest($1::text[], $2::integer[], $3::text[]) WITH ORDINALITY AS i(tenant, source, id, ord)
 CROSS JOIN LATERAL (SELECT * FROM event_ids e WHERE e.tenant = i.tenant AND e.source = i.source AND e.id = i.id LIMIT 1) AS e
 ORDER BY i.ord`

// classify tells duplicates from conflicts among the items that have no result yet.
// Items of one id stand together, the earliest first.
func (w *Writer) classify(ctx context.Context, byID []*item) error {
	var open []*item
	var tenants, ids []string
	var sources []int32
	for i, it := range byID {
		if it.result.Verdict != 0 {
			continue
		}
		if i > 0 && compareIDs(byID[i-1], it) == 0 && byID[i-1].result.Verdict == Refused {
			it.result = Result{Verdict: Refused, Reason: "an earlier event of this id in the same batch cannot be stored: " + byID[i-1].result.Reason}
			continue
		}
		open = append(open, it)
		tenants = append(tenants, it.entry.Event.Tenant)
		sources = append(sources, it.entry.Event.Source)
		ids = append(ids, it.entry.Event.ID)
	}
	if len(open) == 0 {
		return nil
	}
	type existing struct {
		Index      int32
		Hash       []byte
		Seq        Seq
		AcceptedAt time.Time
	}
	rows, err := w.conn.Query(ctx, classifySQL, tenants, sources, ids)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[existing])
	if err != nil {
		return err
	}
	if len(found) != len(open) {
		return fmt.Errorf("%d of %d ids are neither new nor known", len(open)-len(found), len(open))
	}
	duplicates := make(map[string]int64) // of each tenant that has anything not new; may be 0
	var conflicts []conflict
	for _, f := range found {
		it := open[f.Index]
		if bytes.Equal(f.Hash, it.hash[:]) {
			it.result = Result{Verdict: Duplicate}
			duplicates[it.entry.Event.Tenant]++
			continue
		}
		duplicates[it.entry.Event.Tenant] += 0
		conflicts = append(conflicts, conflict{item: it, firstSeq: f.Seq, firstAt: f.AcceptedAt})
	}
	if mutant.On(mutant.ConflictDropped) {
		for _, c := range conflicts {
			c.result = Result{Verdict: Conflicting}
		}
		conflicts = nil
	}
	if err := w.keepConflicts(ctx, conflicts); err != nil {
		return err
	}
	return w.countDuplicates(ctx, duplicates)
}
