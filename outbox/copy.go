package outbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// copyFrom is the number of entries from which COPY pays: it takes a transaction of
	// several round trips where the statement takes one.
	copyFrom = 128
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
	copyNowSQL    = `SELECT now()`
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
	if _, err := conn.Exec(ctx, copyBeginSQL).ReadAll(); err != nil {
		return err
	}
	err := w.copyTables(ctx, conn, items)
	if state := stateClass(err); state == "22" || state == "23" || state == "42" || state == "54" {
		if _, err := conn.Exec(ctx, copyAbortSQL).ReadAll(); err != nil {
			return err
		}
		return errNotCopied
	}
	if err != nil {
		if stateClass(err) != "40" {
			return err // the session is given up
		}
		_, abortErr := conn.Exec(ctx, copyAbortSQL).ReadAll()
		return cmp.Or(abortErr, err)
	}
	w.store.recent.keep(items.arrived) // before anybody sees their deliveries
	results, err := conn.Exec(ctx, copyCommitSQL).ReadAll()
	switch {
	case err != nil:
		return err
	case w.warned.Load() || len(results) != 1 || results[0].CommandTag.String() != copyCommitSQL:
		return errUnclear
	}
	for _, it := range items.arrived {
		it.result = Result{Verdict: Appended}
	}
	return nil
}

func (w *Writer) copyTables(ctx context.Context, conn *pgconn.PgConn, items candidates) error {
	var at time.Time
	if err := w.conn.QueryRow(ctx, copyNowSQL).Scan(&at); err != nil {
		return err
	}
	// Ids first, in the order that all batches keep, so that no two wait in a circle;
	// the others in the order of their indexes.
	sorted := items.byID
	tables := []struct {
		sql string
		add func(*binaryRows, *item) error
	}{
		{copyIDsSQL, func(r *binaryRows, it *item) error { r.addID(it, at); return nil }},
		// Into the partition itself: to find it for each row is a tenth of what events cost.
		{strings.Replace(copyEventsSQL, "events", partitionOf("events", at), 1), func(r *binaryRows, it *item) error { return r.addEvent(it, at) }},
		{copyReferencesSQL, func(r *binaryRows, it *item) error { r.addReferences(it, at); return nil }},
		{copyDeliveriesSQL, func(r *binaryRows, it *item) error { r.addDeliveries(it, at); return nil }},
	}
	for i, table := range tables {
		rows := &w.rows
		rows.begin()
		for _, it := range sorted {
			if err := table.add(rows, it); err != nil {
				return err
			}
		}
		if len(rows.bytes) > len(binaryHeader) {
			rows.end()
			if _, err := conn.CopyFrom(ctx, bytes.NewReader(rows.bytes), table.sql); err != nil {
				return err
			}
		}
		if i == 0 {
			sorted = items.byLane(w.store.lanes)
		}
	}
	return w.countAppended(ctx, items.arrived)
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

// countAppended adds to the tallies: events under destination 0, deliveries under
// their own.
func (w *Writer) countAppended(ctx context.Context, items []*item) error {
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
	_, err := w.conn.Exec(ctx, countAppendedSQL, w.shard, tenants, destinations, counts, without)
	return err
}
