package outbox_test

import (
	"testing"
	"time"

	"raffsync/outbox"
)

func TestStore_Gauges(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books", "stock", "gone")
	read := func() map[string]outbox.Gauge {
		t.Helper()
		all, err := s.Gauges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		by := make(map[string]outbox.Gauge)
		for _, g := range all {
			if g.Tenant != "kopi" {
				t.Errorf("a gauge of tenant %q", g.Tenant)
			}
			by[g.Destination] = g
		}
		return by
	}
	if got := read()["stock"]; got != (outbox.Gauge{Tenant: "kopi", Destination: "stock", Breaker: "CLOSED"}) {
		t.Errorf("nothing happened, and stock stands at %+v", got)
	}
	// Two writers, one of which accepted the oldest.
	first, second := s.writer(), s.writer()
	s.append(second, s.entry("e1", "order/1", "books"))
	s.exec(`UPDATE deliveries SET accepted_at = now() - interval '2 hours'`)
	s.append(first, s.entry("e2", "order/1", "books", "stock"), s.entry("e3", "order/2", "books"))
	s.exec(`INSERT INTO breakers (destination, replica, tenant, state, reason) VALUES ($1, 1, 'kopi', 'OPEN', 'it failed'), ($1, 2, 'kopi', 'HALF_OPEN', 'it failed')`, s.destinations["books"])
	s.exec(`UPDATE destinations SET removed_at = now() WHERE name IN ('gone', 'stock')`)
	got := read()
	if books := got["books"]; books.Open != 3 || books.Breaker != "OPEN" || books.OldestAge < 2*time.Hour || books.OldestAge > 3*time.Hour {
		t.Errorf("books stands at %+v", books)
	}
	if stock := got["stock"]; stock.Open != 1 || stock.OldestAge <= 0 || stock.OldestAge > time.Hour {
		t.Errorf("stock stands at %+v: it was removed, and has something open", stock)
	}
	if _, there := got["gone"]; there {
		t.Error("a destination that was removed and has nothing open is still told of")
	}
}

func TestStore_Condition(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	c, err := s.Condition(t.Context())
	if err != nil || !c.Writable || c.Version == 0 || c.Lanes != 64 || c.Held != 0 || c.Replicas != 0 {
		t.Errorf("nobody is there: %+v, %v", c, err)
	}
	r := s.dispatcher()
	if c, err = s.Condition(t.Context()); err != nil || c.Held != 64 || c.Replicas != 1 {
		t.Errorf("one replica holds all: %+v, %v", c, err)
	}
	if err := r.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Condition(t.Context()); err != nil || c.Held != 0 || c.Replicas != 0 {
		t.Errorf("its lease has ended: %+v, %v", c, err)
	}
	s.exec(`UPDATE schema_migrations SET version = version + 1`)
	if again, err := s.Condition(t.Context()); err != nil || again.Version != c.Version+1 {
		t.Errorf("a migration more, and the version is %d, %v; it was %d", again.Version, err, c.Version)
	}
	if pools := s.Pools(); pools["engine"].AcquireCount() == 0 || len(pools) != 3 {
		t.Errorf("pools %v", pools)
	}
}
