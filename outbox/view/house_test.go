package view

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// house is a database with rows of two tenants, and a view of it.
type house struct {
	view  *View
	owner *pgxpool.Pool // sees everything, to seed with
	base  time.Time     // of the clock of what is seeded: an hour ago, on the second
}

// openHouse makes an empty database. conns bounds the view's sessions.
func openHouse(t testing.TB, conns int32) *house {
	t.Helper()
	dsn := outboxtest.NewDatabase(t)
	h := &house{
		owner: openPool(t, dsn, "", 4),
		view:  New(openPool(t, dsn, "raffsync_api", conns)),
		base:  time.Now().Add(-time.Hour).Truncate(time.Second).UTC(),
	}
	return h
}

func openPool(t testing.TB, dsn, role string, conns int32) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = conns
	config.ConnConfig.RuntimeParams["application_name"] = "raffsync test"
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if role != "" {
		config.ConnConfig.RuntimeParams["role"] = role
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func (h *house) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := h.owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("seed: %v", err)
	}
}

// number runs SQL that returns one number.
func (h *house) number(t testing.TB, sql string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := h.owner.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("seed: %v", err)
	}
	return n
}

func (h *house) source(t testing.TB, tenant, name string) int32 {
	t.Helper()
	return int32(h.number(t, `INSERT INTO sources (tenant, name) VALUES ($1, $2)
		ON CONFLICT (tenant, name) DO UPDATE SET removed_at = NULL RETURNING id`, tenant, name))
}

func (h *house) destination(t testing.TB, tenant, name string) int32 {
	t.Helper()
	return int32(h.number(t, `INSERT INTO destinations (tenant, name) VALUES ($1, $2)
		ON CONFLICT (tenant, name) DO UPDATE SET removed_at = NULL RETURNING id`, tenant, name))
}

// seeded is an event to seed; what is zero gets a value.
type seeded struct {
	tenant, id, kind, key, outlet string
	seq                           int64
	at                            time.Time
	unrouted                      bool
	references                    map[string]string
}

func (h *house) event(t testing.TB, s seeded) outbox.EventID {
	t.Helper()
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&s.tenant, "kopi")
	set(&s.id, fmt.Sprintf("e%d", s.seq))
	set(&s.kind, "order.created")
	set(&s.key, "order/"+s.id)
	if s.at.IsZero() {
		s.at = h.base
	}
	hash := outbox.KeyHash(s.tenant, s.key)
	source := h.source(t, s.tenant, "till")
	h.exec(t, `INSERT INTO events (tenant, accepted_at, seq, key_hash, source, lane, unrouted, occurred_at, id, type, ordering_key, outlet, content_type, refs, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $2, $8, $9, $10, $11, 'application/json', $12, $13)`,
		s.tenant, s.at, s.seq, hash, source, outbox.LaneOf(hash, 64), s.unrouted, s.id, s.kind, s.key, s.outlet, s.references, []byte(`{"n":`+fmt.Sprint(s.seq)+`}`))
	h.exec(t, `INSERT INTO event_ids (tenant, source, id, hash, seq, accepted_at) VALUES ($1, $2, $3, '\x00', $4, $5)`, s.tenant, source, s.id, s.seq, s.at)
	for name, value := range s.references {
		h.exec(t, `INSERT INTO event_references (tenant, value, accepted_at, seq, name) VALUES ($1, $2, $3, $4, $5)`, s.tenant, value, s.at, s.seq, name)
	}
	return outbox.EventID{AcceptedAt: s.at.UTC(), Seq: outbox.Seq(s.seq)}
}

// deliver seeds an open delivery of a seeded event.
func (h *house) deliver(t testing.TB, tenant string, e outbox.EventID, destination int32) outbox.DeliveryID {
	t.Helper()
	h.exec(t, `INSERT INTO deliveries (tenant, seq, event, event_at, accepted_at, key_hash, lane, destination, route)
		SELECT tenant, seq, seq, accepted_at, accepted_at, key_hash, lane, $3, 'sales' FROM events WHERE tenant = $1 AND seq = $2`, tenant, e.Seq, destination)
	return outbox.DeliveryID{Event: e, Destination: destination}
}

// attempt seeds a timeline entry of an attempt.
func (h *house) attempt(t testing.TB, tenant string, d outbox.DeliveryID, at time.Time, number int, kind int, state string) {
	t.Helper()
	h.exec(t, `INSERT INTO timeline (tenant, at, event, event_at, destination, replay, attempt, step, kind, what, state, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, 'attempt', $9, 'because')`,
		tenant, at, d.Event.Seq, d.Event.AcceptedAt, d.Destination, d.Replay, number, kind, state)
}

// as runs f as the tenant and fails the test with it.
func (h *house) as(t testing.TB, tenant string, f func(context.Context, *Tx) error) {
	t.Helper()
	if err := h.view.As(t.Context(), tenant, func(tx *Tx) error { return f(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
}
