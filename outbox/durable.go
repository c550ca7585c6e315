package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// durabilitySQL asks a session of its own settings: a database or a role may have
// others than the server.
const durabilitySQL = `
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit, current_setting('transaction_read_only') AS read_only`

// querier is a session or a pool of them.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// durable tells whether what a session commits survives a crash; the error says what
// to do. All of the settings may change while a session is open, by a reload.
func (s *Store) durable(ctx context.Context, session querier) error {
	rows, err := session.Query(ctx, durabilitySQL)
	if err != nil {
		return err
	}
	set, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[durability])
	if err != nil {
		return err
	}
	return set.problem(s.config.AllowUnsafe)
}

// durability are the settings that decide what a commit is worth.
type durability struct {
	Fsync             string
	FullPageWrites    string
	SynchronousCommit string
	ReadOnly          string
}

func (d durability) problem(allowUnsafe bool) error {
	if d.ReadOnly == "on" {
		return errors.New("this Postgres is read-only (a standby?); connect to the primary, for example with target_session_attrs=read-write in the database URL")
	}
	if allowUnsafe {
		return nil
	}
	var off []string
	for _, setting := range [][2]string{{"fsync", d.Fsync}, {"full_page_writes", d.FullPageWrites}, {"synchronous_commit", d.SynchronousCommit}} {
		if setting[1] == "off" {
			off = append(off, setting[0])
		}
	}
	if len(off) == 0 {
		return nil
	}
	return fmt.Errorf("this Postgres may lose what it has committed: %s is off; turn it on, since every acknowledgement relies on it", strings.Join(off, ", "))
}
