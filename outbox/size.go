package outbox

import (
	"context"
	"fmt"
)

const databaseSizeSQL = `SELECT pg_database_size(current_database())`

// Size of the database on disk, in bytes, without its share of the write-ahead log.
func (s *Store) Size(ctx context.Context) (bytes int64, err error) {
	if err := s.engine.QueryRow(ctx, databaseSizeSQL).Scan(&bytes); err != nil {
		return 0, fmt.Errorf("ask for the size of the database: %w", err)
	}
	return bytes, nil
}
