package outbox_test

import (
	"errors"
	"testing"

	"raffsync/outbox"
)

// Whoever comes while a lane is being taken waits for that, and is then held against the
// epoch that there is, not the one that there was.
func TestReplica_IsFencedWhileItsLaneIsTaken(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	late := s.dispatcher()
	d := late.deliveryOf("e1", "order/1", "books")
	taking, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer taking.Rollback(t.Context())
	for _, sql := range []string{`SELECT FROM lanes WHERE lane = $1 FOR UPDATE`, `UPDATE lanes SET epoch = epoch + 1 WHERE lane = $1`} {
		if _, err := taking.Exec(t.Context(), sql, d.Lane); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan error, 1)
	go func() {
		_, err := late.Intend(t.Context(), late.NextBatch(), late.leases(), []*outbox.Delivery{d})
		answered <- err
	}()
	s.until(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'raffsync replica%')`)
	if err := taking.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; !errors.Is(err, outbox.ErrLeaseLost) {
		t.Errorf("intend: %v, want that the lease is lost", err)
	}
	if n := one[int](s, `SELECT count(*) FROM intents`); n != 0 {
		t.Errorf("%d rows of intents of a lost lease", n)
	}
}
