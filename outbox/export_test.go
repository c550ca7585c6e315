package outbox

import (
	"io"
	"time"
)

// DispatchSettings are those of a replica's sessions.
var DispatchSettings = dispatchSettings

// WriterSettings are those of a writer's session.
var WriterSettings = writerSettings

// SetTimeout bounds the writer's transactions, COMMIT included.
func (w *Writer) SetTimeout(d time.Duration) { w.timeout = d }

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
