package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Writer appends events on a session of its own. One goroutine uses it; all events
// of a lane that a process appends go through one writer, so that within a lane
// its counter rises in commit order and readers can keep a cursor.
type Writer struct {
	store *Store
	shard int16 // its row of the tallies
	// timeout bounds one transaction, COMMIT included.
	timeout time.Duration

	conn    *pgx.Conn
	checked time.Time   // when the session was last found durable
	warned  atomic.Bool // a notice of severity WARNING arrived since it was cleared
	number  int64
	counter int64

	counting *pgconn.StatementDescription // of [countAppendedName]

	rows binaryRows // what is copied, kept for the next batch
	wary int        // batches for which COPY is not tried
}

// appendTimeout is long enough for a slow disk, and short enough that a client
// whose acknowledgement hangs learns that it must send again.
const appendTimeout = 20 * time.Second

// OpenWriter makes a writer. Shards spread the writers of all replicas over the
// rows of the tallies: any number will do, equal ones only wait for each other.
func (s *Store) OpenWriter(ctx context.Context, shard int64) (*Writer, error) {
	// Even rows; the replicas' are odd, so that ingest and dispatch wait for none of
	// each other's.
	w := &Writer{store: s, shard: int16(shard * 2 & 63), timeout: appendTimeout}
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// Close ends the session, and with it the writer.
func (w *Writer) Close(ctx context.Context) error {
	if w.conn == nil {
		return nil
	}
	conn := w.conn
	w.conn = nil
	return conn.Close(ctx)
}

// writerSettings: big batches must not spill their arrays to disk. Planning a small one
// takes longer than running it, and a plan that is kept must be right for a table that
// was empty when it was made.
var writerSettings = map[string]string{
	"work_mem": "64MB", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_mergejoin": "off",
}

const (
	openWriterSQL = `
INSERT INTO writers (writer, backend_pid, backend_start)
SELECT nextval('writer_ids'), pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())
RETURNING writer`
	becomeEngineSQL = `SET ROLE raffsync_engine`
)

func (w *Writer) open(ctx context.Context) error {
	conn, err := w.store.connect(ctx, sessionConfig{application: "raffsync ingest", settings: writerSettings}, func(severity string) {
		if severity == "WARNING" {
			w.warned.Store(true)
		}
	})
	if err != nil {
		return fmt.Errorf("open a writer: %w", err)
	}
	var number int64
	checked := time.Now()
	err = w.store.durable(ctx, conn)
	if err == nil {
		err = conn.QueryRow(ctx, openWriterSQL).Scan(&number)
	}
	if err == nil {
		// Only now: the engine's role may not see whose session this is.
		_, err = conn.Exec(ctx, becomeEngineSQL)
	}
	if err == nil {
		w.counting, err = prepareCopy(ctx, conn)
	}
	if err != nil {
		conn.Close(ctx)
		return fmt.Errorf("open a writer: %w", err)
	}
	w.conn, w.checked, w.number, w.counter = conn, checked, number, 0
	return nil
}

// recheckEvery is for how long a writer relies on what it knows of the settings that
// its commits rely on.
const recheckEvery = time.Second

// recheck asks again whether what this session commits survives a crash.
func (w *Writer) recheck(ctx context.Context) error {
	now := time.Now()
	if now.Sub(w.checked) < recheckEvery {
		return nil
	}
	if err := w.store.durable(ctx, w.conn); err != nil {
		return err
	}
	w.checked = now
	return nil
}

// errUnclear: Postgres warned while it committed, for example that it no longer
// waits for a standby. What it committed may be lost with the primary.
var errUnclear = errors.New("the outcome of COMMIT is unclear")

// abandon gives the session up. A transaction that still runs there may commit
// later; it is the last of its writer, so no cursor has passed it.
func (w *Writer) abandon() {
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.conn.Close(ctx)
		w.conn = nil
	}
}

func noticeSeverity(f func(string)) func(*pgconn.PgConn, *pgconn.Notice) {
	return func(_ *pgconn.PgConn, n *pgconn.Notice) { f(n.SeverityUnlocalized) }
}
