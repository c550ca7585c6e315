package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// LockTimeout is how long a statement of a migration waits for a table's lock.
const LockTimeout = 10 * time.Second

var (
	// ErrDirty: a migration that runs outside a transaction was interrupted.
	ErrDirty = errors.New("the database is marked dirty")
	// ErrNewer: the database has a migration that these files do not.
	ErrNewer = errors.New("the database is newer than this program")
	// ErrUnreachable: no session with Postgres came about.
	ErrUnreachable = errors.New("no session with Postgres")
)

// Result says what Up did.
type Result struct {
	From, To uint     // versions; 0 is an empty database
	Applied  []string // files, in order
}

// Up brings the database to the newest embedded migration, as the user of the
// connection string, who comes to own the tables. Beside ErrDirty, ErrNewer and
// ErrUnreachable, the error of a migration that failed names its file and line
// and wraps the *pgconn.PgError. The context bounds the wait for other replicas
// and the work; a migration that it ends is rolled back.
//
// ErrNewer comes back before anything is changed: a program of the version
// before, which may run beside newer ones, can take it for good.
func Up(ctx context.Context, dsn string) (Result, error) {
	return up(ctx, dsn, embedded)
}

// Version is the database's version, 0 for an empty one.
func Version(ctx context.Context, dsn string) (uint, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	known, err := list(embedded)
	if err != nil {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	version, err := current(ctx, conn, known)
	if err != nil {
		return version, fmt.Errorf("migrations: %w", err)
	}
	return version, nil
}

func up(ctx context.Context, dsn string, files fs.FS) (Result, error) {
	result, err := migrateTo(ctx, dsn, files)
	if err != nil {
		return result, fmt.Errorf("migrations: %w", err)
	}
	return result, nil
}

func migrateTo(ctx context.Context, dsn string, files fs.FS) (Result, error) {
	known, err := list(files)
	if err != nil {
		return Result{}, err
	}
	conn, err := connect(ctx, dsn)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // gives the lock back as well

	// A database that is up to date is not locked: it may be a busy one. Without the lock,
	// a migration that another replica is in the middle of looks as if it was interrupted.
	from, err := checked(ctx, conn, known)
	if !errors.Is(err, ErrDirty) && (err != nil || from == known.latest()) {
		return Result{From: from, To: from}, err
	}
	if err := lock(ctx, conn); err != nil {
		return Result{From: from, To: from}, err
	}
	if from, err = checked(ctx, conn, known); err != nil || from == known.latest() {
		return Result{From: from, To: from}, err
	}

	src, err := iofs.New(files, ".")
	if err != nil {
		return Result{From: from, To: from}, err
	}
	driver, err := newDriver(ctx, conn, known)
	if err != nil {
		return Result{From: from, To: from}, err
	}
	m, err := migrate.NewWithInstance("files", src, "postgres", driver)
	if err != nil {
		return Result{From: from, To: from}, err
	}
	err = m.Up()
	sourceErr, driverErr := m.Close()
	to := driver.done(from)
	return Result{From: from, To: to, Applied: known.between(from, to)}, errors.Join(err, sourceErr, driverErr)
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err // without the password
	}
	for name, value := range map[string]string{
		"application_name":  "raffsync migrate",
		"lock_timeout":      fmt.Sprint(LockTimeout.Milliseconds()),
		"statement_timeout": "0", // whatever the role's default is
	} {
		config.RuntimeParams[name] = value
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && errors.As(err, &pg):
		return nil, fmt.Errorf("%w: it refuses the session: %s (SQLSTATE %s): check the user and the database of DATABASE_URL", ErrUnreachable, pg.Message, pg.Code)
	default:
		return nil, fmt.Errorf("%w: %w: see whether it runs and DATABASE_URL names it", ErrUnreachable, err)
	}
}

// checked is the database's version, if these files can go on from it.
func checked(ctx context.Context, conn *pgx.Conn, known versions) (uint, error) {
	version, err := current(ctx, conn, known)
	if err != nil {
		return version, err
	}
	if version != 0 && known.file(version) == "" {
		return version, fmt.Errorf("%w: it is at migration %d, this program knows up to %d: run the newer program", ErrNewer, version, known.latest())
	}
	return version, nil
}

const currentSQL = `SELECT version, dirty FROM schema_migrations LIMIT 1`

func current(ctx context.Context, conn *pgx.Conn, known versions) (uint, error) {
	var version uint
	var dirty bool
	err := conn.QueryRow(ctx, currentSQL).Scan(&version, &dirty)
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &pg) && pg.Code == undefinedTable:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading the database's version: %w", err)
	case dirty:
		return version, fmt.Errorf("%w: migration %d (%s) was interrupted. See what it left, drop that (an index half built is dropped with DROP INDEX), run UPDATE schema_migrations SET version = %d, dirty = false, and start again",
			ErrDirty, version, orUnknown(known.file(version)), known.before(version))
	}
	return version, nil
}

func orUnknown(file string) string {
	if file == "" {
		return "of a newer program"
	}
	return file
}

// lockKey is the advisory lock's number; "raffsync" in ASCII.
const lockKey = 0x72616666_73796e63

// lockPoll is how often a replica asks whether another has finished.
const lockPoll = 50 * time.Millisecond

// lock takes the session's advisory lock without ever waiting inside Postgres.
func lock(ctx context.Context, conn *pgx.Conn) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		var got bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockKey)).Scan(&got); err != nil {
			return fmt.Errorf("locking the database for the migration: %w", err)
		}
		if got {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another session is migrating this database (application raffsync migrate in pg_stat_activity) and was not done in time: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
