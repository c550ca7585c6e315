package outbox

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox/mutant"
)

const (
	// shareMappingVersionsSQL leaves out a version that is just being raised: nobody waits here
	// for whoever changes the mappings of a tenant. Those it returns stay until the
	// transaction ends.
	shareMappingVersionsSQL = `SELECT tenant, version FROM mapping_versions WHERE tenant = ANY ($1) ORDER BY tenant FOR SHARE SKIP LOCKED`

	// makeMappingVersionsSQL is for tenants that never had a mapping: there must be a row
	// to lock, or the very first one could be missed.
	makeMappingVersionsSQL = `INSERT INTO mapping_versions (tenant) SELECT * FROM unnest($1::text[]) ORDER BY 1 ON CONFLICT (tenant) DO NOTHING`
)

// upToDate leaves out the deliveries that look-ups would hold whose tenant's mappings
// have changed since they were asked, or are just being changed. For the others nobody
// changes them before the transaction ends, and who does so after it finds the exceptions
// that it has raised: so no release is lost, whenever a mapping comes.
func upToDate(ctx context.Context, tx pgx.Tx, held []Transition) ([]Transition, error) {
	var tenants []string
	for i := range held {
		if held[i].Missed != nil {
			tenants = append(tenants, held[i].Tenant)
		}
	}
	if len(tenants) == 0 || mutant.On(mutant.MissedMapping) {
		return held, nil
	}
	slices.Sort(tenants)
	tenants = slices.Compact(tenants)
	versions, err := shareMappingVersions(ctx, tx, tenants)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(held, func(t Transition) bool {
		if t.Missed == nil {
			return false
		}
		version, still := versions[t.Tenant]
		return !still || version > t.Missed.Version
	}), nil
}

func shareMappingVersions(ctx context.Context, tx pgx.Tx, tenants []string) (map[string]int64, error) {
	versions := make(map[string]int64, len(tenants))
	read := func() error {
		rows, err := tx.Query(ctx, shareMappingVersionsSQL, tenants)
		if err != nil {
			return err
		}
		var tenant string
		var version int64
		_, err = pgx.ForEachRow(rows, []any{&tenant, &version}, func() error {
			versions[tenant] = version
			return nil
		})
		return err
	}
	if err := read(); err != nil || len(versions) == len(tenants) {
		return versions, err
	}
	if _, err := tx.Exec(ctx, makeMappingVersionsSQL, tenants); err != nil {
		return nil, err
	}
	return versions, read()
}
