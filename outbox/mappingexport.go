package outbox

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

const (
	tableThereSQL = `SELECT destination FROM mapping_tables WHERE tenant = $1 AND name = $2 AND destination = coalesce((SELECT id FROM destinations WHERE tenant = $1 AND name = $3), 0)`

	exportTableSQL = `
SELECT '', '', value, target FROM mapping_entries
 WHERE tenant = $1 AND name = $2 AND destination = $3 AND value <> '' ORDER BY value`

	exportAllSQL = `
SELECT e.name, coalesce(d.name, ''), e.value, e.target
  FROM mapping_entries e LEFT JOIN destinations d ON d.id = e.destination
 WHERE e.tenant = $1 AND e.value <> '' AND d.removed_at IS NULL ORDER BY e.name, e.destination, e.value`
)

// ExportMappings writes the entries of a table as CSV that [Store.ImportMappings] takes
// back unchanged: with the columns value and target or, where no table is named, of all
// tables with the columns table and destination before them, but for those of destinations
// that are gone. Defaults are not among them.
// It returns how many there are, and [ErrNotFound] where there is no such table.
func (s *Store) ExportMappings(ctx context.Context, tenant string, table MappingTable, to io.Writer) (n int, err error) {
	out := bufio.NewWriterSize(to, 64<<10)
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, mappingPatienceSQL); err != nil {
			return err
		}
		sql, arguments := exportAllSQL, []any{tenant}
		if table.Name != "" {
			destination, err := tableThere(ctx, tx, tenant, table)
			if err != nil {
				return err
			}
			sql, arguments = exportTableSQL, []any{tenant, table.Name, destination}
		}
		rows, err := tx.Query(ctx, sql, arguments...)
		if err != nil {
			return err
		}
		head, before := "table,destination,value,target\n", 2
		if table.Name != "" {
			head, before = "value,target\n", 0
		}
		if _, err := out.WriteString(head); err != nil {
			return err
		}
		var fields [4]string
		var line []byte
		_, err = pgx.ForEachRow(rows, []any{&fields[0], &fields[1], &fields[2], &fields[3]}, func() error {
			n++
			line = appendCSV(line[:0], fields[2-before:])
			_, err := out.Write(line)
			return err
		})
		return err
	})
	if err != nil {
		return n, err
	}
	return n, out.Flush()
}

func tableThere(ctx context.Context, tx pgx.Tx, tenant string, t MappingTable) (destination int32, err error) {
	rows, err := tx.Query(ctx, tableThereSQL, tenant, t.Name, t.Destination)
	if err != nil {
		return 0, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err == nil && (len(found) == 0 || found[0] == 0 && t.Destination != "") {
		err = fmt.Errorf("%s: %w", t, ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	return found[0], nil
}
