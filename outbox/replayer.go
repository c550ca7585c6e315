package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Router tells by which route an event goes to a destination today, if any wants it.
type Router func(tenant string, destination int32, e *Event) (route string, wanted bool)

// Routes gives the router by what is in force when it is called: read from the database,
// since what a process works by may be a moment old.
type Routes func(context.Context) (Router, error)

// Bounds of one page of a replay.
const (
	replayEvents   = 128   // that match: their payloads are read
	replayExamined = 2_000 // rows of events
)

// Replayer makes the deliveries of replays, in the order in which their events were
// accepted, page by page: deliveries, entries and progress in one transaction, so that a
// crash repeats nothing and leaves nothing out. Any number of processes may run one; each
// page of a replay is made by one of them. One goroutine uses it.
type Replayer struct {
	store  *Store
	routes Routes
	shard  int64
	writer *Writer // opened for the first page: its deliveries have positions as ingest's
}

// OpenReplayer makes a replayer; it opens nothing before there is a replay.
func (s *Store) OpenReplayer(shard int64, routes Routes) *Replayer {
	return &Replayer{store: s, routes: routes, shard: shard}
}

// Close ends its session.
func (p *Replayer) Close(ctx context.Context) {
	if p.writer != nil {
		_ = p.writer.Close(ctx) // nothing is in flight
	}
}

const (
	replayDueSQL = `SELECT EXISTS (SELECT FROM replays WHERE state = 'RUNNING' AND next_at <= now())`

	// settledSQL: whatever was accepted before it is there, or never will be.
	settledSQL = `
SELECT least(now(), min(xact_start)) - interval '1 second'
  FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'raffsync%' AND pid <> pg_backend_pid()`

	claimReplaySQL = `
SELECT id, tenant, destination, after_at, after_seq, LEAST(until_at, $1), until_at <= $1, source, type, outlet, reference, unrouted, rate, actor, reason, event, route
  FROM replays WHERE state = 'RUNNING' AND next_at <= now() ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED`

	// replayEventsSQL examines so many events, and returns those that match; a row
	// without an id is the last one that was examined.
	replayEventsSQL = `
WITH examined AS MATERIALIZED (
  SELECT accepted_at, seq, source, type, outlet, unrouted FROM events
   WHERE tenant = $1 AND (accepted_at, seq) > ($2, $3) AND accepted_at >= $2 AND accepted_at < $4
   ORDER BY accepted_at, seq LIMIT $5
), matching AS MATERIALIZED (
  SELECT x.accepted_at, x.seq FROM examined x
   WHERE ($6 = 0 OR x.source = $6) AND ($7 = '' OR x.type = $7) AND ($8 = '' OR x.outlet = $8) AND (x.unrouted OR NOT $10) AND ($12::bigint = 0 OR x.seq = $12)
     AND ($9 = '' OR EXISTS (SELECT FROM event_references r WHERE r.tenant = $1 AND r.value = $9 AND r.accepted_at = x.accepted_at AND r.seq = x.seq))
   ORDER BY x.accepted_at, x.seq LIMIT $11
)
SELECT e.accepted_at, e.seq, e.id, e.lane, e.key_hash, e.source, e.type, e.ordering_key, e.occurred_at, e.outlet, e.content_type, e.refs, e.payload
  FROM matching m CROSS JOIN LATERAL (
    SELECT * FROM events e WHERE e.tenant = $1 AND e.accepted_at = m.accepted_at AND e.seq = m.seq LIMIT 1) AS e
UNION ALL
(SELECT accepted_at, seq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM examined ORDER BY accepted_at DESC, seq DESC LIMIT 1)
 ORDER BY 1, 2, 3 NULLS LAST`

	makeReplaySQL = `
WITH made AS (
  INSERT INTO deliveries (tenant, destination, replay, lane, seq, event, event_at, key_hash, route)
  SELECT $1, $2, $3, d.lane, d.seq, d.event, d.event_at, d.key_hash, d.route
    FROM unnest($4::smallint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::bigint[], $9::text[]) AS d(lane, seq, event, event_at, key_hash, route)
  RETURNING event, event_at
), audited AS (
  INSERT INTO timeline (tenant, event, event_at, destination, replay, what, state, reason, actor)
  SELECT $1, event, event_at, $2, $3, 'replay', 'PENDING', $10, $11 FROM made
)
INSERT INTO tallies (tenant, destination, shard, accepted) SELECT $1, $2, $12::smallint, count(*) FROM made
ON CONFLICT (tenant, destination, shard) DO UPDATE SET accepted = tallies.accepted + excluded.accepted`

	// advanceReplaySQL keeps the pace: what was made is paid for with time.
	advanceReplaySQL = `
UPDATE replays
   SET after_at = $2, after_seq = $3, made = made + $4, unwanted = unwanted + $5,
       next_at = GREATEST(next_at, now() - interval '1 second') + make_interval(secs => $6),
       state = CASE WHEN $7 THEN 'DONE' ELSE state END, ended_at = CASE WHEN $7 THEN now() END
 WHERE id = $1`
)

type claimed struct {
	number                  int32
	tenant                  string
	destination             int32
	afterAt                 time.Time
	after                   Seq
	until                   time.Time
	whole                   bool // until is the replay's own end
	source                  int32
	typ, outlet, reference  string
	unrouted                bool
	rate                    int32
	actor, reason           string
	event                   Seq    // the only one; 0: all that match
	route                   string // settled already
	made, unwanted, matched int
	lanes                   []int16
	end                     bool
}

// Step makes one page of one replay, if any is due, and returns the lanes that have got
// deliveries. More tells whether to call again at once.
func (p *Replayer) Step(ctx context.Context) (lanes []int16, more bool, err error) {
	var due bool
	if err := p.store.engine.QueryRow(ctx, replayDueSQL).Scan(&due); err != nil || !due {
		return nil, false, wrapReplay(err)
	}
	var settled time.Time
	if err := p.store.admin.QueryRow(ctx, settledSQL).Scan(&settled); err != nil {
		return nil, false, wrapReplay(err)
	}
	if p.writer == nil {
		if p.writer, err = p.store.OpenWriter(ctx, p.shard); err != nil {
			return nil, false, wrapReplay(err)
		}
	}
	w := p.writer
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return nil, false, wrapReplay(err)
		}
	}
	w.warned.Store(false)
	var job *claimed
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if job, err = claimReplay(ctx, tx, settled); err != nil || job == nil {
			return err
		}
		return p.page(ctx, tx, job)
	})
	if err == nil && w.warned.Load() {
		err = errUnclear
	}
	if err != nil {
		// The transaction may commit yet; it is the last of its writer then.
		w.abandon()
		return nil, false, wrapReplay(err)
	}
	if job == nil {
		return nil, false, nil
	}
	return job.lanes, job.matched > 0 || !job.end, nil
}

func wrapReplay(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("replay: %w", err)
}

func claimReplay(ctx context.Context, tx pgx.Tx, settled time.Time) (*claimed, error) {
	var j claimed
	err := tx.QueryRow(ctx, claimReplaySQL, settled).Scan(&j.number, &j.tenant, &j.destination, &j.afterAt, &j.after, &j.until, &j.whole,
		&j.source, &j.typ, &j.outlet, &j.reference, &j.unrouted, &j.rate, &j.actor, &j.reason, &j.event, &j.route)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &j, err
}

// page makes the next deliveries of a replay that this transaction holds.
func (p *Replayer) page(ctx context.Context, tx pgx.Tx, j *claimed) error {
	// So few that the pace is even.
	limit := min(max(int(j.rate)/5, 1), replayEvents)
	found, err := p.store.readReplay(ctx, tx, j, limit)
	if err != nil {
		return err
	}
	// Only now: whoever asked for this replay had applied before what it is to go by.
	route, err := p.routes(ctx)
	if err != nil {
		return err
	}
	var c appendColumns
	var events []Seq
	var at []time.Time
	seen := make(map[int16]bool)
	for i := range found {
		e := &found[i]
		by, wanted := j.route, true
		if j.route == "" {
			by, wanted = route(j.tenant, j.destination, &e.Event)
		}
		if !wanted {
			j.unwanted++
			continue
		}
		p.writer.counter++
		c.toSeq = append(c.toSeq, newSeq(p.writer.number, p.writer.counter))
		c.toLane, c.toKeyHash, c.toRoute = append(c.toLane, e.lane), append(c.toKeyHash, e.keyHash), append(c.toRoute, by)
		events, at = append(events, e.seq), append(at, e.acceptedAt)
		if !seen[e.lane] {
			seen[e.lane] = true
			j.lanes = append(j.lanes, e.lane)
		}
	}
	j.made, j.matched = len(events), len(found)
	if j.made > 0 {
		if _, err := tx.Exec(ctx, makeReplaySQL, j.tenant, j.destination, j.number, c.toLane, c.toSeq, events, at, c.toKeyHash, c.toRoute, j.reason, j.actor, p.writer.shard); err != nil {
			return err
		}
	}
	pause := float64(j.made) / float64(j.rate)
	if j.end && !j.whole {
		pause = max(pause, 0.5) // what comes next is not settled yet
	}
	done := j.end && j.whole
	if _, err := tx.Exec(ctx, advanceReplaySQL, j.number, j.afterAt, j.after, j.made, j.unwanted, pause, done); err != nil {
		return err
	}
	if done {
		_, err = tx.Exec(ctx, auditReplaySQL, j.number, "all of it is made", nil)
	}
	return err
}

// replayed is an event with its place.
type replayed struct {
	Event
	seq        Seq
	acceptedAt time.Time
	lane       int16
	keyHash    int64
}

// readReplay reads the next events that match, and moves the job's cursor behind them.
func (s *Store) readReplay(ctx context.Context, tx pgx.Tx, j *claimed, limit int) ([]replayed, error) {
	rows, err := tx.Query(ctx, replayEventsSQL, j.tenant, j.afterAt, j.after, j.until, replayExamined, j.source, j.typ, j.outlet, j.reference, j.unrouted, limit, j.event)
	if err != nil {
		return nil, err
	}
	var found []replayed
	last := struct {
		at  time.Time
		seq Seq
	}{j.afterAt, j.after}
	examined := false
	for rows.Next() {
		var e replayed
		var id, typ, key, outlet, contentType *string
		var lane *int16
		var keyHash *int64
		var source *int32
		var occurredAt *time.Time
		var refs, payload []byte
		if err := rows.Scan(&e.acceptedAt, &e.seq, &id, &lane, &keyHash, &source, &typ, &key, &occurredAt, &outlet, &contentType, &refs, &payload); err != nil {
			rows.Close()
			return nil, err
		}
		if id == nil {
			examined, last.at, last.seq = true, e.acceptedAt, e.seq
			continue
		}
		e.lane, e.keyHash = *lane, *keyHash
		e.Event = Event{Tenant: j.tenant, Source: *source, ID: *id, Type: *typ, OrderingKey: *key, OccurredAt: *occurredAt, Outlet: *outlet, ContentType: *contentType, Payload: payload}
		if len(refs) > 0 {
			_ = json.Unmarshal(refs, &e.References) // what any writer of ours stores
		}
		found = append(found, e)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	j.end = !examined
	j.afterAt, j.after = last.at, last.seq
	if len(found) == limit { // there may be more among those that were examined
		j.afterAt, j.after = found[limit-1].acceptedAt, found[limit-1].seq
	}
	return found, nil
}

// ReplayPreview is what a replay would do.
type ReplayPreview struct {
	Matching int64 // deliveries that would be made
	Unwanted int64 // events that match, and that no route to the destination wants
	// First and Last of the events, by acceptance; nil where there is none.
	First, Last *time.Time
	// Complete is false where as many events as it may were looked at, and there are
	// more: the counts are then of those up to Last.
	Complete bool
}

// PreviewReplay looks through the events that a replay would take, at most so many of
// those that match, and stores nothing.
func (s *Store) PreviewReplay(ctx context.Context, tenant, destination string, f ReplayFilter, most int, route Router) (v ReplayPreview, err error) {
	if err := f.validate(); err != nil {
		return v, err
	}
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		to, from, err := f.numbered(ctx, tx, destination)
		if err != nil {
			return err
		}
		var now time.Time
		if err := tx.QueryRow(ctx, nowSQL).Scan(&now); err != nil {
			return err
		}
		if f.Until.IsZero() || f.Until.After(now) {
			f.Until = now
		}
		j := &claimed{
			tenant: tenant, destination: to, afterAt: f.From, until: f.Until,
			source: from, typ: f.Type, outlet: f.Outlet, reference: f.Reference, unrouted: f.Unrouted,
		}
		for examined := 0; !j.end && examined < most; examined += replayEvents {
			found, err := s.readReplay(ctx, tx, j, replayEvents)
			if err != nil {
				return err
			}
			for i := range found {
				if _, wanted := route(tenant, to, &found[i].Event); !wanted {
					v.Unwanted++
					continue
				}
				v.Matching++
				if v.First == nil {
					v.First = &found[i].acceptedAt
				}
				v.Last = &found[i].acceptedAt
			}
		}
		v.Complete = j.end
		return nil
	})
	return v, err
}
