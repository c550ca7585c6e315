package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const pastEventsSQL = `
SELECT s.name, e.source, e.id, e.type, e.ordering_key, e.occurred_at, e.outlet, coalesce(e.refs, '{}'::jsonb), e.content_type, e.payload, e.lane, e.key_hash, e.accepted_at, e.seq
  FROM (SELECT * FROM events
         WHERE tenant = $1 AND accepted_at >= $2 AND (accepted_at, seq) < ($3, $4)
         ORDER BY accepted_at DESC, seq DESC LIMIT $5) AS e
  JOIN sources s ON s.id = e.source
 ORDER BY e.accepted_at DESC, e.seq DESC`

// Past returns a tenant's events since a time, the newest first, each as if it came now:
// without a destination yet, or a route. before is the last one of the page before; nil
// begins with the newest.
func (s *Store) Past(ctx context.Context, tenant string, since time.Time, before *EventID, most int) ([]*Previewed, error) {
	from := EventID{AcceptedAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), Seq: 1<<63 - 1}
	if before != nil {
		from = *before
	}
	rows, err := s.engine.Query(ctx, pastEventsSQL, tenant, since, from.AcceptedAt, from.Seq, most)
	if err != nil {
		return nil, fmt.Errorf("read past events: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Previewed, error) {
		p := &Previewed{Event: &LoadedEvent{}, Blank: true}
		e, d := &p.Event.Event, &p.Delivery
		var references []byte
		err := row.Scan(&p.Event.SourceName, &e.Source, &e.ID, &e.Type, &e.OrderingKey, &e.OccurredAt, &e.Outlet, &references, &e.ContentType,
			&e.Payload, &d.Lane, &d.KeyHash, &d.EventAt, &d.Event)
		if err != nil {
			return nil, err
		}
		e.Tenant, d.Tenant, p.Event.AcceptedAt = tenant, tenant, d.EventAt
		p.Anew()
		return p, json.Unmarshal(references, &e.References)
	})
}
