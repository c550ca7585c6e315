package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	// copyFrom is the number of entries from which COPY pays: it takes a transaction of
	// two round trips and several commands where the statement takes one of each.
	copyFrom = 16
	// wary is how many batches go by the statement after COPY met an id that is there
	// already: who sends again sends a lot.
	wary = 16
)

// The large tables take their rows by COPY, which takes half of what INSERT does. It
// knows no ON CONFLICT: an id that is there already fails it as a whole.
const (
	copyIDsSQL        = `COPY event_ids (tenant, source, id, hash, seq, accepted_at) FROM STDIN BINARY`
	copyEventsSQL     = `COPY events (tenant, source, id, seq, key_hash, lane, unrouted, accepted_at, occurred_at, type, ordering_key, outlet, content_type, refs, payload) FROM STDIN BINARY`
	copyReferencesSQL = `COPY event_references (tenant, value, accepted_at, seq, name) FROM STDIN BINARY`
	copyDeliveriesSQL = `COPY deliveries (tenant, lane, destination, seq, event, event_at, accepted_at, key_hash, route) FROM STDIN BINARY`

	copyBeginSQL  = `BEGIN`
	copyNowSQL    = `SELECT (extract(epoch FROM now()) * 1000000)::bigint`
	copyCommitSQL = `COMMIT`
	copyAbortSQL  = `ROLLBACK`

	countAppendedSQL = `
INSERT INTO tallies (tenant, destination, shard, accepted, unrouted)
SELECT tenant, destination, $1::smallint, accepted, unrouted
  FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[]) AS n(tenant, destination, accepted, unrouted)
 ORDER BY tenant, destination
ON CONFLICT (tenant, destination, shard) DO UPDATE
  SET accepted = tallies.accepted + excluded.accepted, unrouted = tallies.unrouted + excluded.unrouted`
)

// errNotCopied: COPY does not take the batch, by one of its values or for want of a partition,
// and nothing of it is stored. The statement finds out what is wrong.
var errNotCopied = errors.New("not by COPY")

// copyOnce appends items whose ids are all new, in one transaction. The acknowledgement
// may go out when it has returned without an error. After [errNotCopied] the session
// is as before.
func (w *Writer) copyOnce(ctx context.Context, items candidates) error {
	w.count(items.arrived)
	conn := w.conn.PgConn()
	w.warned.Store(false)
	at, err := w.beginCopy(ctx)
	if err != nil {
		return err
	}
	w.store.recent.keep(items.arrived) // before anybody sees their deliveries
	tag, err := pipelined(ctx, conn, &w.rows, func(p *pipeline) error { return w.copyTables(p, items, at) })
	switch state := stateClass(err); state {
	case "22", "23", "42", "54":
		if _, err := conn.Exec(ctx, copyAbortSQL).ReadAll(); err != nil {
			return err
		}
		return errNotCopied
	case "40":
		_, abortErr := conn.Exec(ctx, copyAbortSQL).ReadAll()
		return cmp.Or(abortErr, err)
	}
	switch {
	case err != nil:
		return err // the session is given up
	case w.warned.Load() || tag != copyCommitSQL:
		return errUnclear
	}
	for _, it := range items.arrived {
		it.result = Result{Verdict: Appended}
	}
	return nil
}

// beginCopy begins a transaction, and returns its time.
func (w *Writer) beginCopy(ctx context.Context) (at time.Time, err error) {
	results, err := w.conn.PgConn().Exec(ctx, copyBeginSQL+`; `+copyNowSQL).ReadAll()
	if err != nil {
		return at, err
	}
	if len(results) != 2 || len(results[1].Rows) != 1 {
		return at, fmt.Errorf("a transaction begins with %d results, want two", len(results))
	}
	µs, err := strconv.ParseInt(string(results[1].Rows[0][0]), 10, 64)
	return time.UnixMicro(µs), err
}

// copyTables sends the rows of every table, and what commits them.
func (w *Writer) copyTables(p *pipeline, items candidates, at time.Time) error {
	// Ids first, in the order that all batches keep, so that no two wait in a circle.
	p.copy(copyIDsSQL)
	for _, it := range items.byID {
		p.rows.addID(it, at)
		p.row()
	}
	p.done()
	// Into the partition itself: to find it for each row is a tenth of what events cost. As
	// they arrived, which is the order of one of their indexes, and no worse for the other.
	p.copy(strings.Replace(copyEventsSQL, "events", partitionOf("events", at), 1))
	referring := false
	for _, it := range items.arrived {
		if err := p.rows.addEvent(it, at); err != nil {
			return err
		}
		p.row()
		referring = referring || len(it.entry.Event.References) > 0
	}
	p.done()
	if referring {
		p.copy(copyReferencesSQL)
		for _, it := range items.arrived {
			p.rows.addReferences(it, at)
			p.row()
		}
		p.done()
	}
	p.copy(copyDeliveriesSQL)
	for _, it := range items.byLane(w.store.lanes) { // the order of their indexes
		p.rows.addDeliveries(it, at)
		p.row()
	}
	p.done()
	arguments, err := w.countArguments(items.arrived)
	if err != nil {
		return err
	}
	p.execute(countAppendedName, arguments...)
	p.execute(copyCommitName)
	p.sync()
	return nil
}

// partitionOf is the table with the rows of that time; see raffsync_ensure_partitions.
func partitionOf(table string, at time.Time) string { return table + at.UTC().Format("_200601") }

func (r *binaryRows) addID(it *item, at time.Time) {
	e := &it.entry.Event
	r.row(6)
	r.text(e.Tenant)
	r.int32(e.Source)
	r.text(e.ID)
	r.binary(it.hash[:])
	r.int64(int64(it.seq))
	r.time(at)
}

func (r *binaryRows) addEvent(it *item, at time.Time) error {
	e := &it.entry.Event
	refs, err := referencesJSON(e.References)
	if err != nil {
		return err
	}
	occurred := at
	if !e.OccurredAt.IsZero() {
		occurred = e.OccurredAt
	}
	r.row(15)
	r.text(e.Tenant)
	r.int32(e.Source)
	r.text(e.ID)
	r.int64(int64(it.seq))
	r.int64(it.keyHash)
	r.int16(it.lane)
	r.bool(len(it.entry.Targets) == 0)
	r.time(at)
	r.time(occurred)
	r.text(e.Type)
	r.text(e.OrderingKey)
	r.text(e.Outlet)
	r.text(e.ContentType)
	r.jsonb(refs)
	r.binary(e.Payload)
	return nil
}

func (r *binaryRows) addReferences(it *item, at time.Time) {
	for name, value := range it.entry.Event.References {
		r.row(5)
		r.text(it.entry.Event.Tenant)
		r.text(value)
		r.time(at)
		r.int64(int64(it.seq))
		r.text(name)
	}
}

func (r *binaryRows) addDeliveries(it *item, at time.Time) {
	for _, t := range it.entry.Targets {
		r.row(9)
		r.text(it.entry.Event.Tenant)
		r.int16(it.lane)
		r.int32(t.Destination)
		r.int64(int64(it.seq))
		r.int64(int64(it.seq))
		r.time(at)
		r.time(at)
		r.int64(it.keyHash)
		r.text(t.Route)
	}
}

// countArguments are what a batch adds to the tallies: events under destination 0,
// deliveries under their own.
func (w *Writer) countArguments(items []*item) (arguments [][]byte, err error) {
	type place struct {
		tenant      string
		destination int32
	}
	accepted, unrouted := make(map[place]int64), make(map[place]int64)
	for _, it := range items {
		of := place{tenant: it.entry.Event.Tenant}
		accepted[of]++
		if len(it.entry.Targets) == 0 {
			unrouted[of]++
		}
		for _, t := range it.entry.Targets {
			accepted[place{of.tenant, t.Destination}]++
		}
	}
	var tenants []string
	var destinations []int32
	var counts, without []int64
	for at, n := range accepted {
		tenants, destinations = append(tenants, at.tenant), append(destinations, at.destination)
		counts, without = append(counts, n), append(without, unrouted[at])
	}
	for i, value := range []any{w.shard, tenants, destinations, counts, without} {
		argument, err := w.conn.TypeMap().Encode(w.counting.ParamOIDs[i], pgtype.BinaryFormatCode, value, nil)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, argument)
	}
	return arguments, nil
}

// The statements that end a copying transaction are prepared on the writer's session.
const (
	countAppendedName = "raffsync_count_appended"
	copyCommitName    = "raffsync_commit"
)

// prepareCopy returns what the tallies' statement takes.
func prepareCopy(ctx context.Context, conn *pgx.Conn) (counting *pgconn.StatementDescription, err error) {
	if _, err := conn.PgConn().Prepare(ctx, copyCommitName, copyCommitSQL, nil); err != nil {
		return nil, err
	}
	return conn.PgConn().Prepare(ctx, countAppendedName, countAppendedSQL, nil)
}
