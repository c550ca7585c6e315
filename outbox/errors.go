package outbox

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrNotFound: there is no such row, or it belongs to another tenant.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row has changed since the caller read it. Read it again.
	ErrConflict = errors.New("it has changed meanwhile")
	// ErrLeaseLost: the lane belongs to another replica by now; nothing was stored.
	ErrLeaseLost = errors.New("lease lost")
)

// SQLSTATEs that our own functions raise (migrations).
const (
	stateLeaseLost = "RS001"
)

// SQLSTATEs of Postgres.
const (
	stateUnique      = "23505"
	stateLockTimeout = "55P03"
)

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
