package outbox

import (
	"context"
	"fmt"
)

const (
	// markDaysSQL notes what the tallies say when a day begins, some seconds late.
	markDaysSQL = `
INSERT INTO day_marks (tenant, day, accepted, delivered)
SELECT z.tenant, (now() AT TIME ZONE z.zone)::date, coalesce(sum(t.accepted) FILTER (WHERE t.destination = 0), 0), coalesce(sum(t.delivered), 0)
  FROM unnest($1::text[], $2::text[]) AS z(tenant, zone)
  LEFT JOIN tallies t ON t.tenant = z.tenant
 GROUP BY z.tenant, z.zone
ON CONFLICT (tenant) DO UPDATE SET day = excluded.day, accepted = excluded.accepted, delivered = excluded.delivered
 WHERE day_marks.day < excluded.day`

	// markPacesSQL: a pace is that of the last one to two minutes.
	markPacesSQL = `
INSERT INTO paces (destination, tenant, at, ended, before_at, before)
SELECT t.destination, t.tenant, now(), sum(t.delivered + t.skipped + t.superseded), now(), sum(t.delivered + t.skipped + t.superseded)
  FROM tallies t WHERE t.destination <> 0 GROUP BY t.destination, t.tenant
ON CONFLICT (destination) DO UPDATE SET before_at = paces.at, before = paces.ended, at = excluded.at, ended = excluded.ended
 WHERE paces.at < excluded.at - interval '1 minute'`
)

// Marks notes how things stood when each tenant's day began, and a minute ago. Zones are
// the time zones of tenants.
func (w *Sweeper) Marks(ctx context.Context, zones map[string]string) error {
	var tenants, names []string
	for tenant, zone := range zones {
		tenants, names = append(tenants, tenant), append(names, zone)
	}
	if _, err := w.pool.Exec(ctx, markDaysSQL, tenants, names); err != nil {
		return fmt.Errorf("note how the day began: %w", err)
	}
	if _, err := w.pool.Exec(ctx, markPacesSQL); err != nil {
		return fmt.Errorf("note how fast destinations get on: %w", err)
	}
	return nil
}

// Zone is the time zone by whose clock a tenant's days begin: that of most of its outlets,
// of equals the first; UTC where none has one.
func (c *Configuration) Zone() string {
	zone, most := "UTC", 0
	count := make(map[string]int)
	for _, o := range c.Outlets {
		if o.Timezone != "" {
			count[o.Timezone]++
		}
	}
	for _, o := range c.Outlets {
		if n := count[o.Timezone]; n > most {
			zone, most = o.Timezone, n
		}
	}
	return zone
}
