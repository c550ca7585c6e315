package outbox

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox/mutant"
)

// Append makes a batch durable: events, which are their own entries of the timeline, and
// deliveries in one transaction, for every entry whose id is new. When it returns without error, each
// entry is as its result says, and stays so through any crash; results stand in the
// order of the batch. When it returns an error nothing of the batch may be
// acknowledged: some of it may or may not be durable, and sending it again, with
// the same ids, settles which.
//
// An entry that Postgres cannot hold is Refused and costs its neighbours nothing; a
// conflict that could not be kept now is Deferred, and its caller alone sends it again.
// On a Postgres that may lose what it commits nothing is taken; see [Config.AllowUnsafe].
func (w *Writer) Append(ctx context.Context, batch []Entry) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	results, err := w.append(ctx, batch)
	if mutant.On(mutant.UnclearIsDone) && err != nil && w.conn != nil && sqlState(err) == "" {
		results, err = make([]Result, len(batch)), nil
		w.abandon()
	}
	if err != nil {
		w.abandon()
	}
	return results, err
}

func (w *Writer) append(ctx context.Context, batch []Entry) ([]Result, error) {
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return nil, err
		}
	} else if err := w.recheck(ctx); err != nil {
		return nil, err
	}
	items := make([]item, len(batch))
	for i := range batch {
		items[i] = newItem(&batch[i], i, w.store.lanes)
	}
	events := make([]*item, 0, len(items))
	var quarantined []*item
	for i := range items {
		if batch[i].Quarantine != nil {
			quarantined = append(quarantined, &items[i])
			continue
		}
		events = append(events, &items[i])
	}
	byID := sortedByID(events)
	fresh := candidates{arrived: make([]*item, 0, len(events)), byID: make([]*item, 0, len(events))}
	for i, it := range byID {
		if i > 0 && compareIDs(byID[i-1], it) == 0 {
			continue // classified below, once the first is durable
		}
		it.candidate = true
		fresh.byID = append(fresh.byID, it)
	}
	for i := range items {
		if items[i].candidate {
			fresh.arrived = append(fresh.arrived, &items[i])
		}
	}
	if err := w.insert(ctx, fresh); err != nil {
		return nil, err
	}
	if err := w.classify(ctx, byID); err != nil {
		return nil, err
	}
	if len(quarantined) > 0 {
		if err := w.quarantine(ctx, quarantined); err != nil {
			return nil, err
		}
	}
	results := make([]Result, len(items))
	for i := range items {
		results[i] = items[i].result
		results[i].Lane = items[i].lane
	}
	return results, nil
}

// insert appends the items whose ids are new. One that Postgres refuses is found by halving,
// so that it alone is refused.
func (w *Writer) insert(ctx context.Context, items candidates) error {
	if len(items.arrived) == 0 {
		return nil
	}
	err := w.insertBest(ctx, items)
	if stateClass(err) == "40" {
		// A deadlock or a failed serialisation: rolled back as a whole, so it may be
		// repeated on the same session.
		err = w.insertBest(ctx, items)
	}
	refused, ok := refusal(err)
	if err == nil || !ok {
		return err
	}
	if len(items.arrived) == 1 {
		items.arrived[0].result = refused
		return nil
	}
	half := len(items.arrived) / 2
	if err := w.insert(ctx, candidatesOf(items.arrived[:half])); err != nil {
		return err
	}
	return w.insert(ctx, candidatesOf(items.arrived[half:]))
}

// insertBest takes COPY for a large batch of ids that are likely to be new, and the
// statement otherwise, and after COPY has failed by a value.
func (w *Writer) insertBest(ctx context.Context, items candidates) error {
	switch {
	case w.wary > 0:
		w.wary--
	case len(items.arrived) >= copyFrom:
		if err := w.copyOnce(ctx, items); !errors.Is(err, errNotCopied) {
			return err
		}
		w.wary = wary
	}
	return w.insertOnce(ctx, items)
}

func stateClass(err error) string {
	if state := sqlState(err); len(state) == 5 {
		return state[:2]
	}
	return ""
}

// refusal tells whether an error is about a value of one event: data that Postgres
// cannot hold (SQLSTATE class 22), or that is too large for an index (54000). A
// violated constraint is never an event's own fault here: what looks like one is a
// partition that is missing, and nothing may be thrown away for that.
func refusal(err error) (result Result, refused bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (stateClass(err) == "22" || pg.Code == "54000") {
		return Result{Verdict: Refused, Reason: pg.Message, State: pg.Code}, true
	}
	return Result{}, false
}

// appendedIDs are told apart by what is in their index.
const appendedIDs = `unnest($1::text[]), unnest($2::integer[]), unnest($3::text[]), unnest($4::bytea[]), unnest($5::bigint[])`

const appendSQL = `
WITH fresh AS (
  INSERT INTO event_ids (tenant, source, id, hash, seq)
  SELECT ` + appendedIDs + `
  ON CONFLICT DO NOTHING
  RETURNING seq
), kept AS (
  INSERT INTO events (tenant, source, id, seq, key_hash, lane, unrouted, occurred_at, type, ordering_key, outlet, content_type, refs, payload)
  SELECT i.tenant, i.source, i.id, i.seq, i.key_hash, i.lane, i.unrouted, coalesce(i.occurred_at, now()), i.type, i.ordering_key, i.outlet, i.content_type, i.refs::jsonb, i.payload
    FROM (SELECT unnest($1::text[]) AS tenant, unnest($2::integer[]) AS source, unnest($3::text[]) AS id, unnest($5::bigint[]) AS seq, unnest($6::bigint[]) AS key_hash,
                 unnest($7::smallint[]) AS lane, unnest($8::boolean[]) AS unrouted, unnest($9::timestamptz[]) AS occurred_at, unnest($10::text[]) AS type, unnest($11::text[]) AS ordering_key,
                 unnest($12::text[]) AS outlet, unnest($13::text[]) AS content_type, unnest($14::text[]) AS refs, unnest($15::bytea[]) AS payload) AS i
    JOIN fresh USING (seq)
  RETURNING tenant, unrouted
), referred AS (
  INSERT INTO event_references (tenant, value, seq, name)
  SELECT r.tenant, r.value, r.seq, r.name
    FROM (SELECT unnest($16::text[]) AS tenant, unnest($17::text[]) AS value, unnest($18::bigint[]) AS seq, unnest($19::text[]) AS name) AS r
    JOIN fresh USING (seq)
), made AS (
  INSERT INTO deliveries (tenant, lane, destination, seq, event, key_hash, route)
  SELECT d.tenant, d.lane, d.destination, d.seq, d.seq, d.key_hash, d.route
    FROM (SELECT unnest($20::text[]) AS tenant, unnest($21::smallint[]) AS lane, unnest($22::integer[]) AS destination, unnest($23::bigint[]) AS seq,
                 unnest($24::bigint[]) AS key_hash, unnest($25::text[]) AS route) AS d
    JOIN fresh USING (seq)
  RETURNING tenant, destination
), counted AS (
  INSERT INTO tallies (tenant, destination, shard, accepted, unrouted)
  SELECT tenant, destination, $26::smallint, sum(accepted), sum(unrouted) FROM (
    SELECT tenant, 0 AS destination, count(*) AS accepted, count(*) FILTER (WHERE unrouted) AS unrouted FROM kept GROUP BY tenant
    UNION ALL
    SELECT tenant, destination, count(*), 0 FROM made GROUP BY tenant, destination) AS n
  GROUP BY tenant, destination ORDER BY tenant, destination
  ON CONFLICT (tenant, destination, shard) DO UPDATE
    SET accepted = tallies.accepted + excluded.accepted, unrouted = tallies.unrouted + excluded.unrouted
)
SELECT seq FROM fresh`

// count gives the items their positions. Counters follow the order of arrival, which
// is the order within a key.
func (w *Writer) count(items []*item) {
	for _, it := range items {
		w.counter++
		it.seq = newSeq(w.number, w.counter)
	}
}

// insertOnce runs one autocommit statement: the acknowledgement may go out when it
// has returned without an error and without a warning.
func (w *Writer) insertOnce(ctx context.Context, items candidates) error {
	w.warned.Store(false)
	fresh, err := w.insertStatement(ctx, w.conn, items)
	if err != nil {
		return err
	}
	if w.warned.Load() {
		return errUnclear
	}
	bySeq := make(map[Seq]*item, len(items.arrived))
	for _, it := range items.arrived {
		bySeq[it.seq] = it
	}
	appended := make([]*item, len(fresh))
	for i, seq := range fresh {
		appended[i] = bySeq[seq]
		appended[i].result = Result{Verdict: Appended}
	}
	w.store.recent.keep(appended)
	return nil
}

// insertStatement gives the items their positions, inserts them on the writer's session,
// and returns the positions of those whose ids are new.
func (w *Writer) insertStatement(ctx context.Context, on interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, items candidates,
) ([]Seq, error) {
	w.count(items.arrived)
	var c appendColumns
	// Two batches that share ids wait for each other row by row; one order for all
	// keeps them from waiting in a circle.
	for _, it := range items.byID {
		if err := c.add(it); err != nil {
			return nil, err
		}
	}
	statement := appendSQL
	if mutant.On(mutant.NoDeduplication) || mutant.On(mutant.LaneInKey) {
		statement = deduplicatedWrongly(statement)
	}
	rows, err := on.Query(ctx, statement, c.tenant, c.source, c.id, c.hash, c.seq, c.keyHash, c.lane, c.unrouted, c.occurredAt,
		c.typ, c.orderingKey, c.outlet, c.contentType, c.refs, c.payload,
		c.refTenant, c.refValue, c.refSeq, c.refName,
		c.toTenant, c.toLane, c.toDestination, c.toSeq, c.toKeyHash, c.toRoute, w.shard)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[Seq])
}
