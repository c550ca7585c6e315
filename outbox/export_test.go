package outbox

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

// RecordUses keeps uses as if all of them had just been intended.
func (r *Replica) RecordUses(ctx context.Context, at time.Time, uses []Using) error {
	batch := &pgx.Batch{}
	queueUses(batch, Batch{At: at, Size: len(uses)}, uses)
	return r.pool.SendBatch(ctx, batch).Close()
}

// DispatchSettings are those of a replica's sessions.
var DispatchSettings = dispatchSettings

// WriterSettings are those of a writer's session.
var WriterSettings = writerSettings

// SetTimeout bounds the writer's transactions, COMMIT included.
func (w *Writer) SetTimeout(d time.Duration) { w.timeout = d }

// Wary tells whether it has met a batch that COPY did not take.
func (w *Writer) Wary() bool { return w.wary > 0 }

// AppendTimeout is how long they take at most where nobody says otherwise.
const (
	AppendTimeout = appendTimeout
	// CopyFrom is the number of entries from which a batch goes by COPY.
	CopyFrom = copyFrom
)

// ReadMappingFile reads a file as an import does, for the shared table sku.
func ReadMappingFile(file io.Reader) (pairs []MappingPair, err error) {
	q := ImportMappings{Table: MappingTable{Name: "sku"}, Source: file}
	rows := q.change(nil).source
	if err := rows.open(map[string]int32{"": 0}); err != nil {
		return nil, err
	}
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, MappingPair{row[3].(string), row[4].(string)})
	}
	return pairs, rows.Err()
}

// WriteMappingFile writes a file as an export does.
func WriteMappingFile(pairs []MappingPair) string {
	text := []byte("value,target\n")
	for _, p := range pairs {
		text = appendCSV(text, []string{p.Value, p.Target})
	}
	return string(text)
}

// All is what a snapshot holds: by table, destination and value, the target and version.
func (s *MappingSnapshot) All() map[string]string {
	all := make(map[string]string)
	for table, layers := range s.tables {
		for _, layer := range []map[string]mapped{layers.base, layers.newer} {
			for value := range layer {
				if e, ok := layers.at(value); ok {
					all[fmt.Sprintf("%s\t%d\t%s", table.name, table.destination, value)] = fmt.Sprintf("%s\t%d", e.target, e.version)
				}
			}
		}
	}
	return all
}
