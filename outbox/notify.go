package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Notifier makes transactions that append events of our own beside whatever else is
// decided in them: so that who is told, and that it was decided, are there together or
// not at all. One goroutine uses it; any number of processes may have one.
type Notifier struct {
	store  *Store
	shard  int64
	writer *Writer // opened for the first transaction: its events have positions as ingest's
}

// OpenNotifier makes a notifier; it opens nothing yet. Shards are those of
// [Store.OpenWriter].
func (s *Store) OpenNotifier(shard int64) *Notifier { return &Notifier{store: s, shard: shard} }

// Close ends its session.
func (n *Notifier) Close(ctx context.Context) {
	if n.writer != nil {
		_ = n.writer.Close(ctx) // nothing is in flight
	}
}

// NoticeTx is a transaction of a notifier, or a savepoint in one.
type NoticeTx struct {
	pgx.Tx
	writer *Writer
	lanes  *[]int16
}

// Transact runs f in one transaction as the engine, which sees every tenant, and returns
// the lanes that have got deliveries by it. Where it returns an error nothing of it may be
// taken for done: it may or may not be.
func (n *Notifier) Transact(ctx context.Context, f func(NoticeTx) error) (lanes []int16, err error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if n.writer == nil {
		if n.writer, err = n.store.OpenWriter(ctx, n.shard); err != nil {
			return nil, err
		}
	}
	w := n.writer
	if w.conn == nil {
		err = w.open(ctx)
	} else {
		err = w.recheck(ctx)
	}
	if err != nil {
		w.abandon()
		return nil, err
	}
	w.warned.Store(false)
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error { return f(NoticeTx{tx, w, &lanes}) })
	if err == nil && w.warned.Load() {
		err = errUnclear
	}
	if err != nil {
		// The transaction may commit yet; it is the last of its writer then.
		w.abandon()
		return nil, err
	}
	return lanes, nil
}

// Try runs f in a savepoint: what fails in it is taken back, and the transaction goes on.
func (t NoticeTx) Try(ctx context.Context, f func(NoticeTx) error) error {
	return pgx.BeginFunc(ctx, t.Tx, func(tx pgx.Tx) error { return f(NoticeTx{tx, t.writer, t.lanes}) })
}

// Notify appends events with their deliveries. Their ids are new.
func (t NoticeTx) Notify(ctx context.Context, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	items := make([]*item, len(entries))
	for i := range entries {
		it := newItem(&entries[i], i, t.writer.store.lanes)
		items[i] = &it
		*t.lanes = append(*t.lanes, it.lane)
	}
	fresh, err := t.writer.insertStatement(ctx, t.Tx, candidatesOf(items))
	if err == nil && len(fresh) != len(items) {
		err = fmt.Errorf("%d of %d events have an id that is taken", len(items)-len(fresh), len(items))
	}
	return err
}

// escalationDueSQL looks at the next one alone. EXISTS would not do: of a time that it does
// not know the planner expects a third of all rows before it, and looks for one of them
// through all that is past.
const escalationDueSQL = `
SELECT coalesce((SELECT next_at FROM escalations WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1) <= coalesce($1::timestamptz, now()), false)`

// EscalationDue tells whether any exception is to be looked at by [raffsync/outbox/escalate],
// at a time that nil leaves to the database.
func (s *Store) EscalationDue(ctx context.Context, at *time.Time) (due bool, err error) {
	return due, s.engine.QueryRow(ctx, escalationDueSQL, at).Scan(&due)
}
