package outbox

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Names are the numbers that stand for names in every row.
type Names struct {
	Sources      map[string]int32
	Destinations map[string]int32
}

const (
	sourceIDSQL = `
INSERT INTO sources (tenant, name) VALUES ($1, $2) ON CONFLICT (tenant, name) DO UPDATE SET removed_at = NULL RETURNING id`
	destinationIDSQL = `
INSERT INTO destinations (tenant, name) VALUES ($1, $2) ON CONFLICT (tenant, name) DO UPDATE SET removed_at = NULL RETURNING id`

	retireSourcesSQL      = `UPDATE sources SET removed_at = now(), silent_after = NULL, watched_since = NULL WHERE tenant = $1 AND NOT name = ANY($2) AND removed_at IS NULL`
	retireDestinationsSQL = `UPDATE destinations SET removed_at = now() WHERE tenant = $1 AND NOT name = ANY($2) AND removed_at IS NULL`

	sourceNamesSQL      = `SELECT name, id FROM sources WHERE tenant = $1 AND removed_at IS NULL`
	destinationNamesSQL = `SELECT name, id FROM destinations WHERE tenant = $1 AND removed_at IS NULL`

	// busyDestinationsSQL tells how much is open by the tallies, which are a few rows.
	busyDestinationsSQL = `
SELECT d.name, (SELECT coalesce(sum(t.accepted - t.delivered - t.skipped), 0)::bigint FROM tallies t WHERE t.tenant = d.tenant AND t.destination = d.id)
  FROM destinations d
 WHERE d.tenant = $1 AND NOT d.name = ANY($2) AND d.removed_at IS NULL AND EXISTS (
   SELECT FROM lanes l CROSS JOIN LATERAL (SELECT FROM deliveries o WHERE o.lane = l.lane AND o.destination = d.id LIMIT 1) AS any_open)
 ORDER BY d.name`
)

// nameID finds the number of a name, and gives it one where it has none.
func nameID(ctx context.Context, tx pgx.Tx, sql, tenant, name string) (id int32, err error) {
	err = tx.QueryRow(ctx, sql, tenant, name).Scan(&id)
	return id, err
}

// syncNames gives every name of a configuration a number, and retires those that are
// gone. It refuses to retire a destination that has open deliveries.
func syncNames(ctx context.Context, tx pgx.Tx, c *Configuration) error {
	sources, destinations := []string{}, []string{} // never NULL
	for _, v := range c.Sources {
		sources = append(sources, v.Name)
	}
	for _, v := range c.Destinations {
		destinations = append(destinations, v.Name)
	}
	for _, v := range c.Draining {
		destinations = append(destinations, v.Destination.Name)
	}
	if notices, _ := c.Notices(); len(notices) > 0 {
		sources = append(sources, NoticeSource)
		for _, v := range notices {
			destinations = append(destinations, v.Name)
		}
	}
	if err := refuseBusy(ctx, tx, c.Tenant, destinations); err != nil {
		return err
	}
	for _, kind := range []struct {
		names         []string
		idSQL, retire string
	}{{sources, sourceIDSQL, retireSourcesSQL}, {destinations, destinationIDSQL, retireDestinationsSQL}} {
		for _, name := range kind.names {
			if _, err := nameID(ctx, tx, kind.idSQL, c.Tenant, name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, kind.retire, c.Tenant, kind.names); err != nil {
			return err
		}
	}
	return watchSources(ctx, tx, c)
}

// namesOf are the names in force.
func namesOf(ctx context.Context, tx pgx.Tx, tenant string) (n Names, err error) {
	if n.Sources, err = numbered(ctx, tx, sourceNamesSQL, tenant); err != nil {
		return Names{}, err
	}
	n.Destinations, err = numbered(ctx, tx, destinationNamesSQL, tenant)
	return n, err
}

func numbered(ctx context.Context, tx pgx.Tx, sql, tenant string) (map[string]int32, error) {
	rows, err := tx.Query(ctx, sql, tenant)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]int32)
	var name string
	var id int32
	_, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error { ids[name] = id; return nil })
	return ids, err
}
