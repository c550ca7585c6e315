package view

import (
	"context"
	"time"
)

// MappingTable is a table of a destination, or one that all of them share.
type MappingTable struct {
	Name        string
	Destination *string // name; nil: shared
	Entries     int32   // without the default
	Default     *string // what values without an entry are called
	// The last change: the version of the tenant's mappings that it made, when, by whom and
	// why.
	Version int64
	At      time.Time
	Actor   string
	Reason  string
}

// An emptied table is one no more; its history stays.
const mappingTableColumns = `
SELECT t.name, d.name AS destination, t.entries, e.target AS "default", t.version, c.at, c.actor, c.reason
  FROM mapping_tables t
  LEFT JOIN destinations d ON d.id = t.destination
  LEFT JOIN mapping_entries e ON e.tenant = t.tenant AND e.name = t.name AND e.destination = t.destination AND e.value = ''
  JOIN mapping_changes c ON c.tenant = t.tenant AND c.version = t.version
 WHERE (t.entries > 0 OR e.target IS NOT NULL)`

var (
	mappingTables = register("mapping tables", mappingTableColumns+` ORDER BY t.name, d.name NULLS FIRST`)
	mappingTable  = register("mapping table", mappingTableColumns+` AND t.name = $1 AND t.destination = `+destinationOrShared("$2"))
)

// destinationOrShared is SQL for the number of a destination by the name in a parameter;
// empty is what all of them share.
func destinationOrShared(parameter string) string {
	return `CASE WHEN ` + parameter + ` = '' THEN 0 ELSE (SELECT id FROM destinations WHERE name = ` + parameter + `) END`
}

// MappingTables lists the tables, by name, shared ones before those of destinations. There
// are at most [outbox.MaxMappingTables].
func (t *Tx) MappingTables(ctx context.Context) ([]*MappingTable, error) {
	return collect[MappingTable](ctx, t, "mapping tables", mappingTables)
}

// MappingTable returns a table, or nil where nothing is in it; no destination: the shared
// one.
func (t *Tx) MappingTable(ctx context.Context, name, destination string) (*MappingTable, error) {
	if err := t.checkDestination(ctx, destination); err != nil {
		return nil, err
	}
	found, err := collect[MappingTable](ctx, t, "a mapping table", mappingTable, name, destination)
	if len(found) == 0 {
		return nil, err
	}
	return found[0], err
}

var mappingVersion = register("mapping version", `SELECT coalesce(max(version), 0) AS version FROM mapping_versions`)

// MappingVersion is the version that the tenant's mappings are at; 0 where there never
// were any.
func (t *Tx) MappingVersion(ctx context.Context) (int64, error) {
	type row struct{ Version int64 }
	found, err := collect[row](ctx, t, "the version of the mappings", mappingVersion)
	if err != nil {
		return 0, err
	}
	return found[0].Version, nil
}

// MappingEntry is an entry, with the change that made it what it is.
type MappingEntry struct {
	Value, Target string
	Version       int64
	At            time.Time
	Actor, Reason string
}

// MappingFilter says which entries.
type MappingFilter struct {
	Table       string
	Destination string // empty: the shared table
	// Search is part of a value or target, ASCII letters in either case; empty does not
	// narrow.
	Search string
}

var (
	walkEntries = ` FROM mapping_entries WHERE name = $1 AND destination = ` + destinationOrShared("$2") + ` AND value > $3 ORDER BY value`

	mappingEntries = register("mapping entries", `
SELECT e.value, e.target, e.version, c.at, c.actor, c.reason
  FROM (SELECT * FROM (SELECT *`+walkEntries+` LIMIT $4) AS examined
         WHERE $5 = '' OR strpos(lower(value), lower($5)) > 0 OR strpos(lower(target), lower($5)) > 0
         LIMIT $6) AS e
  JOIN mapping_changes c ON c.tenant = e.tenant AND c.version = e.version
 ORDER BY e.value`)

	mappingEntriesLast = register("mapping entries, last examined", `SELECT value`+walkEntries+` OFFSET $4::bigint - 1 LIMIT 1`)
)

// MappingEntries lists the entries of a table, by value.
func (t *Tx) MappingEntries(ctx context.Context, f MappingFilter, first int, after string) (Page[*MappingEntry], error) {
	var page Page[*MappingEntry]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := parseMappingValue(after)
	if err != nil {
		return page, err
	}
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return page, err
	}
	args := []any{f.Table, f.Destination, string(from), Budget}
	page.Nodes, err = collect[MappingEntry](ctx, t, "mapping entries", mappingEntries, append(args, f.Search, first+1)...)
	if err != nil {
		return page, err
	}
	page.cut(first, func(e *MappingEntry) string { return mappingValue(e.Value).cursor() })
	if page.HasNext || f.Search == "" {
		return page, nil
	}
	type row struct{ Value string }
	end, err := collect[row](ctx, t, "mapping entries", mappingEntriesLast, args...)
	if len(end) > 0 {
		page.HasNext, page.EndCursor = true, mappingValue(end[0].Value).cursor()
	}
	return page, err
}

// MappingRevision is what a change did to one entry.
type MappingRevision struct {
	Version       int64
	At            time.Time
	Actor, Reason string
	Table         string `db:"name"`
	Destination   *string
	Number        int32   // of the destination; 0: shared
	Value         string  // empty: the default
	From          *string `db:"was"`
	To            *string `db:"becomes"`
}

// HistoryFilter narrows the history of mappings; what is zero does not.
type HistoryFilter struct {
	Table       string
	Destination string // with Table: empty is the shared table
	Value       string // with Table
}

const (
	revisionColumns = `
SELECT h.version, c.at, c.actor, c.reason, h.name, d.name AS destination, h.destination AS number, h.value, h.was, h.becomes
  FROM `
	revisionNames = ` AS h
  JOIN mapping_changes c ON c.tenant = h.tenant AND c.version = h.version
  LEFT JOIN destinations d ON d.id = h.destination
 ORDER BY h.version DESC, h.name DESC, h.destination DESC, h.value DESC`
	revisionWalk = ` FROM mapping_history WHERE (version, name, destination, value) < ($1, $2, $3, $4)
         ORDER BY version DESC, name DESC, destination DESC, value DESC`
)

var (
	mappingHistory = register("mapping history", revisionColumns+`(
        SELECT * FROM (SELECT *`+revisionWalk+` LIMIT $5) AS examined
         WHERE $6 = '' OR name = $6 AND destination = `+destinationOrShared("$7")+`
         LIMIT $8)`+revisionNames)

	mappingHistoryLast = register("mapping history, last examined", `
SELECT version, name, destination AS number, value`+revisionWalk+` OFFSET $5::bigint - 1 LIMIT 1`)

	historyOfValue = register("mapping history of a value", revisionColumns+`(
        SELECT * FROM mapping_history
         WHERE name = $1 AND destination = `+destinationOrShared("$2")+` AND value = $3 AND version < $4
         ORDER BY version DESC LIMIT $5)`+revisionNames)
)

// MappingHistory lists what became of entries, the newest first: of a value, of a table, or
// of all.
func (t *Tx) MappingHistory(ctx context.Context, f HistoryFilter, first int, after string) (Page[*MappingRevision], error) {
	var page Page[*MappingRevision]
	if err := checkFirst(first); err != nil {
		return page, err
	}
	from, err := parseRevision(after)
	if err != nil {
		return page, err
	}
	if err := t.checkDestination(ctx, f.Destination); err != nil {
		return page, err
	}
	cursor := func(r *MappingRevision) string { return revision{r.Version, r.Number, r.Table, r.Value}.cursor() }
	if f.Table != "" && f.Value != "" {
		page.Nodes, err = collect[MappingRevision](ctx, t, "the history of a value", historyOfValue, f.Table, f.Destination, f.Value, from.version, first+1)
		page.cut(first, cursor)
		return page, err
	}
	args := []any{from.version, from.table, from.destination, from.value, Budget}
	page.Nodes, err = collect[MappingRevision](ctx, t, "the history of mappings", mappingHistory, append(args, f.Table, f.Destination, first+1)...)
	if err != nil {
		return page, err
	}
	page.cut(first, cursor)
	if page.HasNext || f.Table == "" {
		return page, nil
	}
	type row struct {
		Version int64
		Name    string
		Number  int32
		Value   string
	}
	end, err := collect[row](ctx, t, "the history of mappings", mappingHistoryLast, args...)
	if len(end) > 0 {
		page.HasNext, page.EndCursor = true, revision{end[0].Version, end[0].Number, end[0].Name, end[0].Value}.cursor()
	}
	return page, err
}
