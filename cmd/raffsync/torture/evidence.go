package torture

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// evidence is everything that the checker looks at. The check itself is pure.
type evidence struct {
	sent      map[string]*sent
	seconds   map[[sha256.Size]byte]string // contents that were acknowledged as conflicts, and their ids
	protests  []string
	events    []storedEvent
	conflicts map[[sha256.Size]byte]bool // contents that are kept
	entries   map[delivery][]entry       // timeline of each delivery, in order
	accepted  map[int64]int              // accepted entries of each event
	open      map[delivery]openDelivery
	platforms []*platform
	passes    map[string]bool  // destinations where later events pass an exception
	mapped    string           // the destination whose mappings all come in the end
	changed   map[int64]string // timeline entries that are not what they were
	// miscounts are exceptions that count wrongly what they hold, trespasses what was stored
	// on lanes that another held.
	miscounts  []string
	trespasses []string
	replicas   int
	turns      map[string][]turn // of each destination's breaker, in order
	joins      []time.Time       // of replicas, anew after each start or lost lease
}

// delivery names one by its event's position and its destination.
type delivery struct {
	event       int64
	destination string
}

type storedEvent struct {
	ID   string
	Key  string
	Seq  int64
	Hash []byte
}

type entry struct {
	Entry       int64
	Event       int64
	Destination string
	What        string
	State       string
	Kind        int
	Attempt     int
	StartedAt   *time.Time
	At          time.Time
	Reason      string
	Rule        string
	Actor       string
	Step        int
}

type openDelivery struct {
	Event       int64
	Destination string
	State       int
	Requests    int
	Exception   *int64
	Sample      *string
	Class       string
	Step        int
}

const (
	openStateHeld = 2

	eventsSQL    = `SELECT id, ordering_key, seq, sha256(payload) FROM events`
	conflictsSQL = `SELECT sha256(payload) FROM conflicts`
	acceptedSQL  = `SELECT event, count(*)::integer FROM accepted GROUP BY event`
	entriesSQL   = `
SELECT t.entry, t.event, d.name, t.what, coalesce(t.state, ''), coalesce(t.kind, 0)::integer, coalesce(t.attempt, 0), t.started_at, t.at,
       coalesce(t.reason, ''), coalesce(t.detail->>'rule', ''), coalesce(t.actor, ''), coalesce(t.step, 0)::integer
  FROM timeline t JOIN destinations d ON d.id = t.destination
 WHERE t.event IS NOT NULL ORDER BY t.event, t.destination, t.at, t.entry`
	openSQL = `
SELECT o.event, d.name, o.state::integer, o.requests, o.exception, e.sample, coalesce(e.class, ''), o.step::integer
  FROM deliveries o JOIN destinations d ON d.id = o.destination LEFT JOIN exceptions e ON e.id = o.exception AND e.closed_at IS NULL`
	miscountsSQL = `
SELECT format('exception %s (%s) counts %s, and holds %s', x.id, x.class, x.held, n)
  FROM exceptions x CROSS JOIN LATERAL (SELECT count(*) AS n FROM holds h WHERE h.exception = x.id) AS h
 WHERE x.held <> n AND x.class NOT IN ('CONFLICT', 'LATE', 'QUARANTINED') -- which count contents, latecomers, webhooks`
)

// gather reads what the database holds.
func (e *evidence) gather(ctx context.Context, conn *pgx.Conn) error {
	var err error
	if e.events, err = collect[storedEvent](ctx, conn, eventsSQL); err != nil {
		return err
	}
	kept, err := collect[struct{ Hash []byte }](ctx, conn, conflictsSQL)
	if err != nil {
		return err
	}
	e.conflicts = make(map[[sha256.Size]byte]bool)
	for _, k := range kept {
		e.conflicts[[sha256.Size]byte(k.Hash)] = true
	}
	accepted, err := collect[struct {
		Event int64
		N     int
	}](ctx, conn, acceptedSQL)
	if err != nil {
		return err
	}
	e.accepted = make(map[int64]int)
	for _, a := range accepted {
		e.accepted[a.Event] = a.N
	}
	entries, err := collect[entry](ctx, conn, entriesSQL)
	if err != nil {
		return err
	}
	e.entries = make(map[delivery][]entry)
	for _, t := range entries {
		d := delivery{t.Event, t.Destination}
		e.entries[d] = append(e.entries[d], t)
	}
	open, err := collect[openDelivery](ctx, conn, openSQL)
	if err != nil {
		return err
	}
	e.open = make(map[delivery]openDelivery)
	for _, o := range open {
		e.open[delivery{o.Event, o.Destination}] = o
	}
	if e.miscounts, err = texts(ctx, conn, miscountsSQL); err != nil {
		return err
	}
	if e.trespasses, err = texts(ctx, conn, trespassesSQL); err != nil {
		return err
	}
	return e.gatherTurns(ctx, conn)
}

func texts(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func collect[T any](ctx context.Context, conn *pgx.Conn, sql string, arguments ...any) ([]T, error) {
	rows, err := conn.Query(ctx, sql, arguments...)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("%.60s…: %w", sql, err)
	}
	return found, nil
}

// watch looks into the database while the run goes on: it remembers timeline entries, to
// see afterwards whether they are still what they were, and how much is open.
type watch struct {
	postgres *postgres
	open     atomic.Int64 // deliveries that could go on, when it last looked
	seen     map[int64]string
}

type sealed struct {
	Entry int64
	Text  string
}

const (
	watchEvery  = 500 * time.Millisecond
	workSQL     = `SELECT count(*) FROM deliveries WHERE state <> 2`
	recentSQL   = `SELECT entry, md5(t::text) FROM timeline t WHERE at > now() - interval '2 seconds' ORDER BY at DESC LIMIT 200`
	stillSQL    = `SELECT entry, md5(t::text) FROM timeline t WHERE entry = ANY ($1)`
	sessionZone = `SET timezone = 'UTC'`
)

func (w *watch) keep(ctx context.Context) {
	for ctx.Err() == nil {
		w.look(ctx) // Postgres may be down: there is a next time
		pause(ctx, watchEvery)
	}
}

func (w *watch) look(ctx context.Context) {
	conn, err := w.postgres.connect(ctx)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, sessionZone); err != nil {
		return
	}
	var open int64
	if err := conn.QueryRow(ctx, workSQL).Scan(&open); err != nil {
		return
	}
	w.open.Store(open)
	recent, err := collect[sealed](ctx, conn, recentSQL)
	if err != nil {
		return
	}
	for _, s := range recent {
		if _, known := w.seen[s.Entry]; !known {
			w.seen[s.Entry] = s.Text
		}
	}
}

// changes tells which of the entries that were seen are gone or different.
func (w *watch) changes(ctx context.Context, conn *pgx.Conn) (map[int64]string, error) {
	if _, err := conn.Exec(ctx, sessionZone); err != nil {
		return nil, err
	}
	var entries []int64
	changed := make(map[int64]string)
	for entry := range w.seen {
		entries = append(entries, entry)
		changed[entry] = "is gone"
	}
	now, err := collect[sealed](ctx, conn, stillSQL, entries)
	if err != nil {
		return nil, err
	}
	for _, s := range now {
		if s.Text == w.seen[s.Entry] {
			delete(changed, s.Entry)
		} else {
			changed[s.Entry] = "was changed"
		}
	}
	return changed, nil
}
