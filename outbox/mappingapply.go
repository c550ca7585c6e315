package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// MappingDifference is what a change does to one entry.
type MappingDifference struct {
	Table MappingTable
	Value string
	// From and To are targets; empty: no entry.
	From, To string
}

const (
	dropEntriesSQL = `
DELETE FROM mapping_entries e USING mapping_diff d
 WHERE e.tenant = $1 AND e.name = d.name AND e.destination = d.destination AND e.value = d.value AND d.becomes IS NULL`

	putEntriesSQL = `
INSERT INTO mapping_entries (tenant, name, destination, value, target, version)
SELECT $1, name, destination, value, becomes, $2 FROM mapping_diff WHERE becomes IS NOT NULL ORDER BY name, destination, value
ON CONFLICT (tenant, name, destination, value) DO UPDATE SET target = excluded.target, version = excluded.version`

	recordEntriesSQL = `
INSERT INTO mapping_history (tenant, name, destination, value, version, was, becomes)
SELECT $1, name, destination, value, $2, was, becomes FROM mapping_diff ORDER BY name, destination, value`

	makeTablesSQL = `
INSERT INTO mapping_tables (tenant, name, destination, version)
SELECT DISTINCT $1, name, destination, $2::bigint FROM mapping_diff
ON CONFLICT (tenant, name, destination) DO NOTHING`

	countTablesSQL = `
UPDATE mapping_tables t SET entries = t.entries + d.more, version = $2
  FROM (SELECT name, destination, (count(*) FILTER (WHERE was IS NULL AND value <> '') - count(*) FILTER (WHERE becomes IS NULL AND value <> ''))::integer AS more
          FROM mapping_diff GROUP BY name, destination) AS d
 WHERE t.tenant = $1 AND t.name = d.name AND t.destination = d.destination`

	mappingSizeSQL = `SELECT coalesce(sum(entries), 0), count(*) FROM mapping_tables WHERE tenant = $1`

	recordChangeSQL = `INSERT INTO mapping_changes (tenant, version, actor, reason) VALUES ($1, $2, $3, $4)`

	// changedTablesSQL: a few are named in the timeline's entry, the rest counted.
	changedTablesSQL = `
SELECT c.name, c.destination, coalesce(d.name, '')
  FROM (SELECT DISTINCT name, destination FROM mapping_diff) AS c LEFT JOIN destinations d ON d.id = c.destination
 ORDER BY c.name, d.name NULLS FIRST LIMIT 20`

	// answeredEntriesSQL: where a great many have changed, all that is open is looked at instead.
	answeredEntriesSQL = `SELECT array_agg(DISTINCT name), CASE WHEN count(*) <= 1000 THEN array_agg(DISTINCT value) END FROM mapping_diff WHERE becomes IS NOT NULL`

	auditMappingSQL = `INSERT INTO timeline (tenant, destination, what, reason, actor, detail) VALUES ($1, $2, 'mapping', $3, $4, $5)`

	// raiseMappingVersionSQL comes last: whoever share-locks the row waits for the commit only.
	raiseMappingVersionSQL = `
INSERT INTO mapping_versions (tenant, version) VALUES ($1, $2)
ON CONFLICT (tenant) DO UPDATE SET version = excluded.version`

	differencesSQL = `
SELECT c.name, coalesce(d.name, ''), c.value, coalesce(c.was, ''), coalesce(c.becomes, '')
  FROM mapping_diff c LEFT JOIN destinations d ON d.id = c.destination
 ORDER BY c.name, d.name NULLS FIRST, c.value`

	onlyDifferenceSQL = `SELECT value, coalesce(was, ''), coalesce(becomes, '') FROM mapping_diff`
)

// apply stores what compare found, as done.Version.
func (c *mappingChange) apply(ctx context.Context, tx pgx.Tx, actor Actor, done *MappingChange) error {
	for _, sql := range []string{putEntriesSQL, recordEntriesSQL, makeTablesSQL, countTablesSQL} {
		if _, err := tx.Exec(ctx, sql, actor.Tenant, done.Version); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, dropEntriesSQL, actor.Tenant); err != nil {
		return err
	}
	var entries, tables int
	if err := tx.QueryRow(ctx, mappingSizeSQL, actor.Tenant).Scan(&entries, &tables); err != nil {
		return err
	}
	if done.Added > 0 && (entries > MaxMappingEntries || tables > MaxMappingTables) {
		return &Refusal{Field: c.field, Message: fmt.Sprintf("this would make %d entries in %d tables, and a tenant may have %d in %d; remove what is not used any more",
			entries, tables, MaxMappingEntries, MaxMappingTables)}
	}
	reason := strings.TrimSpace(c.Reason)
	if _, err := tx.Exec(ctx, recordChangeSQL, actor.Tenant, done.Version, actor.Name, reason); err != nil {
		return err
	}
	if err := auditMapping(ctx, tx, actor, reason, done); err != nil {
		return err
	}
	if err := releaseMapped(ctx, tx, actor, reason, done); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, raiseMappingVersionSQL, actor.Tenant, done.Version)
	return err
}

// releaseMapped resolves what waited for the entries that there are now.
func releaseMapped(ctx context.Context, tx pgx.Tx, actor Actor, reason string, done *MappingChange) error {
	a := Answer{Tenant: actor.Tenant, Version: done.Version, Actor: actor.Name, Reason: reason}
	if err := tx.QueryRow(ctx, answeredEntriesSQL).Scan(&a.Tables, &a.Values); err != nil || len(a.Tables) == 0 {
		return err
	}
	released, err := ReleaseAnswered(ctx, tx, a)
	done.Released = released.Deliveries
	return err
}

// auditMapping writes the change's one timeline entry.
func auditMapping(ctx context.Context, tx pgx.Tx, actor Actor, reason string, done *MappingChange) error {
	rows, err := tx.Query(ctx, changedTablesSQL)
	if err != nil {
		return err
	}
	var of []*int32
	var names []MappingTable
	var id int32
	var t MappingTable
	_, err = pgx.ForEachRow(rows, []any{&t.Name, &id, &t.Destination}, func() error {
		number := id
		of, names = append(of, &number), append(names, t)
		return nil
	})
	if err != nil {
		return err
	}
	detail := map[string]any{"version": done.Version, "added": done.Added, "changed": done.Changed, "removed": done.Removed}
	var destination *int32
	if len(names) == 1 {
		detail["table"] = names[0].Name
		if names[0].Destination != "" {
			detail["destination"], destination = names[0].Destination, of[0]
		}
	} else {
		var tables []string
		for _, t := range names {
			tables = append(tables, t.String())
		}
		detail["tables"] = tables
	}
	if done.Added+done.Changed+done.Removed == 1 {
		var value, from, to string
		if err := tx.QueryRow(ctx, onlyDifferenceSQL).Scan(&value, &from, &to); err != nil {
			return err
		}
		if detail["from"], detail["to"] = orNull(from), orNull(to); value == "" {
			detail["default"] = true
		} else {
			detail["value"] = value
		}
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, auditMappingSQL, actor.Tenant, destination, reason, actor.Name, text)
	return err
}

// tellDifferences tells of what a rehearsal would change, in the order of tables and
// values.
func tellDifferences(ctx context.Context, tx pgx.Tx, tell func(MappingDifference) error) error {
	rows, err := tx.Query(ctx, differencesSQL)
	if err != nil {
		return err
	}
	var d MappingDifference
	_, err = pgx.ForEachRow(rows, []any{&d.Table.Name, &d.Table.Destination, &d.Value, &d.From, &d.To}, func() error { return tell(d) })
	return err
}
