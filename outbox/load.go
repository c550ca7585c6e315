package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The hash of the key tells an event from no other, and makes the index over keys as
// good as the primary one, whichever the planner takes.
const loadSQL = `
SELECT p.ord::integer - 1, s.name, e.id, e.type, e.ordering_key, e.occurred_at, e.outlet, coalesce(e.refs, '{}'::jsonb), e.content_type, e.payload
  FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS p(tenant, accepted_at, seq, key_hash, ord)
  JOIN events e ON e.tenant = p.tenant AND e.accepted_at = p.accepted_at AND e.seq = p.seq AND e.key_hash = p.key_hash
  JOIN sources s ON s.id = e.source`

// LoadedEvent is an event with the name of its source.
type LoadedEvent struct {
	Event
	SourceName string
	AcceptedAt time.Time
}

// Load returns the events of these deliveries, in their order, as they were edited for
// each; nil where there is
// none, or where it cannot be read: one damaged row stops no other.
func (r *Replica) Load(ctx context.Context, deliveries []*Delivery) ([]*LoadedEvent, error) {
	events := make([]*LoadedEvent, len(deliveries))
	var missing []*Delivery
	var places []int
	for i, d := range deliveries {
		if events[i] = r.store.recent.take(d); events[i] == nil {
			missing, places = append(missing, d), append(places, i)
		}
	}
	if len(missing) > 0 {
		stored, err := r.loadStored(ctx, missing)
		if err != nil {
			return nil, err
		}
		for i, place := range places {
			events[place] = stored[i]
		}
	}
	return events, r.applyEdits(ctx, deliveries, events)
}

// loadStored reads events from the table.
func (r *Replica) loadStored(ctx context.Context, deliveries []*Delivery) ([]*LoadedEvent, error) {
	events, err := r.load(ctx, deliveries)
	if !damaged(err) {
		return events, err
	}
	if len(deliveries) == 1 {
		return []*LoadedEvent{nil}, nil
	}
	half := len(deliveries) / 2
	first, err := r.loadStored(ctx, deliveries[:half])
	if err != nil {
		return nil, err
	}
	second, err := r.loadStored(ctx, deliveries[half:])
	return append(first, second...), err
}

// damaged tells whether an error is about a row that cannot be read, by Postgres
// (SQLSTATE classes 22 and XX) or by us, so that asking for fewer rows may help.
func damaged(err error) bool {
	var ours pgx.ScanArgError
	class := stateClass(err)
	return class == "22" || class == "XX" || errors.As(err, &ours)
}

func (r *Replica) load(ctx context.Context, deliveries []*Delivery) ([]*LoadedEvent, error) {
	var tenants []string
	var times []time.Time
	var seqs []Seq
	var keyHashes []int64
	for _, d := range deliveries {
		tenants = append(tenants, d.Tenant)
		times = append(times, d.EventAt)
		seqs = append(seqs, d.Event)
		keyHashes = append(keyHashes, d.KeyHash)
	}
	rows, err := r.pool.Query(ctx, loadSQL, tenants, times, seqs, keyHashes)
	if err != nil {
		return nil, fmt.Errorf("load events: %w", err)
	}
	defer rows.Close()
	events := make([]*LoadedEvent, len(deliveries))
	for rows.Next() {
		var ord int32
		var references []byte
		e := &LoadedEvent{}
		err := rows.Scan(&ord, &e.SourceName, &e.ID, &e.Type, &e.OrderingKey, &e.OccurredAt, &e.Outlet, &references, &e.ContentType, &e.Payload)
		if err != nil {
			return nil, fmt.Errorf("load events: %w", err)
		}
		if json.Unmarshal(references, &e.References) != nil {
			continue // not what any writer of ours stores
		}
		e.Tenant, e.AcceptedAt = deliveries[ord].Tenant, deliveries[ord].EventAt
		events[ord] = e
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("load events: %w", err)
	}
	return events, nil
}
