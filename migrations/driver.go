package migrations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/golang-migrate/migrate/v4/database"
	pgxdriver "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// SQLSTATEs, from Postgres' appendix A.
const (
	undefinedTable      = "42P01"
	deadlock            = "40P01"
	serialization       = "40001"
	uniqueViolation     = "23505"
	duplicateObject     = "42710"
	internalError       = "XX000"
	lockNotAvailable    = "55P03"
	readOnlyTransaction = "25006"
)

// driver is golang-migrate's driver for pgx, save that a migration and its
// version commit together. (The original writes "dirty", the migration and
// "clean" in three transactions: a process killed between them leaves a database
// that only a person can mend.) It runs in the session that holds the lock, so
// that losing the lock ends the migration.
type driver struct {
	database.Driver // the version table
	ctx             context.Context
	conn            *pgx.Conn
	known           versions
	next            uint // the version being applied
	applied         uint // the last that committed, 0 for none
}

func newDriver(ctx context.Context, conn *pgx.Conn, known versions) (*driver, error) {
	db := stdlib.OpenDB(*conn.Config())
	db.SetMaxOpenConns(1)
	original, err := pgxdriver.WithInstance(db, &pgxdriver.Config{})
	if err != nil {
		_ = db.Close()
		return nil, explain("the version table schema_migrations", "", err)
	}
	return &driver{Driver: original, ctx: ctx, conn: conn, known: known}, nil
}

// Lock and Unlock: ours is held around all of it.
func (d *driver) Lock() error   { return nil }
func (d *driver) Unlock() error { return nil }

// SetVersion is called with dirty set before Run and without after it; Run
// writes the version itself.
func (d *driver) SetVersion(version int, dirty bool) error {
	if dirty {
		d.next = uint(version)
	} else {
		d.applied = uint(version)
	}
	return nil
}

func (d *driver) done(from uint) uint { return max(from, d.applied) }

const noTransaction = "-- no-transaction\n"

// attempts bounds the repeats of a migration that met another database of the
// cluster at a shared catalogue, such as that of the roles.
const attempts = 10

// Run applies one file.
func (d *driver) Run(migration io.Reader) error {
	read, err := io.ReadAll(migration)
	if err != nil {
		return err
	}
	text, file := string(read), d.known.file(d.next)
	if strings.HasPrefix(text, noTransaction) {
		return explain(file, text, d.runBare(text))
	}
	for range attempts {
		if err = d.runWhole(text); err == nil || !collision(err) {
			break
		}
	}
	return explain(file, text, err)
}

func (d *driver) runWhole(text string) error {
	err := pgx.BeginFunc(d.ctx, d.conn, func(tx pgx.Tx) error {
		// DELETE and not TRUNCATE: other replicas read the version meanwhile.
		if _, err := tx.Exec(d.ctx, `DELETE FROM schema_migrations`); err != nil {
			return err
		}
		if _, err := tx.Exec(d.ctx, `INSERT INTO schema_migrations (version, dirty) VALUES ($1, false)`, d.next); err != nil {
			return err
		}
		return d.exec(text)
	})
	if err != nil {
		return err
	}
	// What a migration SET for its session is not for the next one.
	return d.exec(`RESET SESSION AUTHORIZATION; RESET ALL`)
}

// runBare lets CREATE INDEX CONCURRENTLY wait as long as it has to: it holds
// nobody up, and giving up would leave an invalid index.
func (d *driver) runBare(text string) error {
	if err := d.exec(`SET lock_timeout = 0`); err != nil {
		return err
	}
	if err := d.Driver.SetVersion(int(d.next), true); err != nil {
		return err
	}
	if err := d.exec(text); err != nil {
		return err
	}
	var invalid string
	err := d.conn.QueryRow(d.ctx, invalidIndexesSQL).Scan(&invalid)
	if err != nil {
		return err
	}
	if invalid != "" {
		return fmt.Errorf("an earlier build left these indexes invalid, remove them with DROP INDEX: %s", invalid)
	}
	if err := d.exec(`RESET lock_timeout`); err != nil {
		return err
	}
	return d.Driver.SetVersion(int(d.next), false)
}

// IF NOT EXISTS is content with an index that a failed build left invalid. An
// index of a partitioned table (relkind I) is invalid until its parts are
// attached, which is in order.
const invalidIndexesSQL = `
SELECT coalesce(string_agg(i.indexrelid::regclass::text, ', '), '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relpersistence <> 't'`

func (d *driver) exec(text string) error {
	_, err := d.conn.PgConn().Exec(d.ctx, text).ReadAll()
	return err
}

// collision tells errors by which two databases of one cluster meet at a catalogue
// that they share. The transaction is undone, so it can run again.
func collision(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case deadlock, serialization:
		return true
	case duplicateObject:
		return pg.Routine == "CreateRole"
	case uniqueViolation:
		return pg.SchemaName == "pg_catalog"
	case internalError:
		return strings.Contains(pg.Message, "tuple concurrently")
	}
	return false
}

// explain says which file failed where, and what is to be done.
func explain(file, text string, err error) error {
	var pg *pgconn.PgError
	if err == nil || !errors.As(err, &pg) {
		if err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return err
	}
	where := file
	if read := []rune(text); pg.Position > 0 && int(pg.Position) <= len(read) { // counted in characters, from 1
		where = fmt.Sprintf("%s:%d", file, 1+strings.Count(string(read[:pg.Position-1]), "\n"))
	}
	hint := pg.Hint
	switch pg.Code {
	case lockNotAvailable:
		hint = fmt.Sprintf("Another session kept a lock for more than %s. Nothing was changed: end that session or wait for it, and start again.", LockTimeout)
	case readOnlyTransaction:
		hint = "Migrations need the primary: check DATABASE_URL."
	}
	if hint != "" {
		hint = "\n" + hint
	}
	return fmt.Errorf("%s: %w%s", where, err, hint)
}
