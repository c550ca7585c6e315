package outbox_test

import (
	"errors"
	"testing"
	"time"

	"raffsync/outbox"
)

func TestReplica_Renew(t *testing.T) {
	t.Parallel()
	shop := newShop(t)

	t.Run("ProlongsTheLease", func(t *testing.T) {
		s := shop.emptied(t)
		r := s.join()
		before, deadline := one[time.Time](s, `SELECT lease_until FROM replicas`), r.Deadline()
		if err := r.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := one[time.Time](s, `SELECT lease_until FROM replicas`); !after.After(before) {
			t.Errorf("the lease ends at %s, before it was %s", after, before)
		}
		if !r.Deadline().After(deadline) {
			t.Error("the deadline stays")
		}
		if r.Deadline().After(time.Now().Add(outbox.DefaultLease)) {
			t.Error("the deadline is after the lease")
		}
	})

	t.Run("ALateOneNeverRenews", func(t *testing.T) {
		s := shop.emptied(t)
		r := s.join()
		s.expire(r)
		for range 2 {
			if err := r.Renew(t.Context()); !errors.Is(err, outbox.ErrLeaseLost) {
				t.Fatalf("error %v, want a lost lease", err)
			}
		}
	})

	t.Run("OnePronouncedDeadNeverRenews", func(t *testing.T) {
		s := shop.emptied(t)
		r := s.dispatcher()
		s.expire(r)
		heir := s.join()
		tx := s.fencedBy(s.plainSession(), r) // so that its row stays
		heir.spread()
		if err := answer(func() error { return r.Renew(t.Context()) }); !errors.Is(err, outbox.ErrLeaseLost) {
			t.Errorf("error %v, want a lost lease", err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("ExpireEndsItAtOnce", func(t *testing.T) {
		s := shop.emptied(t)
		r := s.dispatcher()
		if err := r.Expire(t.Context()); err != nil {
			t.Fatal(err)
		}
		heir := s.join()
		if heir.spread(); len(heir.lanes) != 64 {
			t.Errorf("%d lanes were taken, want 64", len(heir.lanes))
		}
	})
}

func TestReplica_NowIsTheDatabases(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	r := s.join()
	// A renewal that waits: the moment that it tells of is not when it was asked for.
	tx, err := s.plainSession().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM replicas FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	renewed := make(chan error, 1)
	go func() { renewed <- r.Renew(t.Context()) }()
	s.until(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE replicas%')`)
	if err := errors.Join(tx.Rollback(t.Context()), <-renewed); err != nil {
		t.Fatal(err)
	}
	before := one[time.Time](s, `SELECT clock_timestamp()`)
	now, latest := r.Now(), r.Latest()
	after := one[time.Time](s, `SELECT clock_timestamp()`)
	if now.After(after) || after.Sub(now) > time.Minute {
		t.Errorf("it is %s, when the database said %s", now, after)
	}
	if latest.Before(before) || latest.Sub(before) > time.Minute {
		t.Errorf("it is %s at the latest, when the database said %s", latest, before)
	}
}

func TestReplica_Leave(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	d := s.dispatcher()
	if err := d.StoreBreaker(t.Context(), outbox.BreakerRow{Tenant: "kopi", Destination: 1, State: "OPEN", Reason: "down"}); err != nil {
		t.Fatal(err)
	}
	epoch := d.lanes[9].Epoch
	if err := d.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := one[int](s, `SELECT (SELECT count(*) FROM replicas) + (SELECT count(*) FROM breakers) + (SELECT count(*) FROM lanes WHERE replica IS NOT NULL)`); n != 0 {
		t.Errorf("%d rows of it are left", n)
	}
	if now := one[int64](s, `SELECT epoch FROM lanes WHERE lane = 9`); now <= epoch {
		t.Errorf("epoch %d after %d", now, epoch)
	}
	if _, err := d.Writers(t.Context()); err == nil {
		t.Error("its sessions go on")
	}
}

// Nothing of a lost lease is ever stored.
func TestReplica_IsFenced(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	late := s.dispatcher()
	d := late.deliveryOf("e1", "order/1", "books")
	late.intend(d)
	s.expire(late)
	heir := s.join()
	heir.spread()
	before := one[string](s, snapshotSQL)

	refused := func(what string, f func() error) {
		t.Helper()
		if err := answer(f); !errors.Is(err, outbox.ErrLeaseLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("Intend", func() error {
		_, err := late.Intend(t.Context(), late.NextBatch(), late.leasesOf(d), []*outbox.Delivery{d})
		return err
	})
	for _, to := range []string{outbox.StateDelivered, outbox.StateWaiting, outbox.StateNeedsAction} {
		refused("Finish to "+to, func() error {
			_, err := late.Finish(t.Context(), late.leasesOf(d), []outbox.Transition{attempt(d, to)})
			return err
		})
	}
	s.exec(`INSERT INTO due (lane, destination, at, seq, key_hash) VALUES ($1, $2, now(), $3, $4)`, d.Lane, d.Destination, d.Seq, d.KeyHash)
	refused("TakeDue", func() error {
		_, err := late.TakeDue(t.Context(), late.lanes, []outbox.LaneDestination{{Lane: d.Lane, Destination: d.Destination}}, 10)
		return err
	})
	if n := one[int](s, `SELECT count(*) FROM due`); n != 1 {
		t.Error("what is due was taken")
	}
	if after := one[string](s, snapshotSQL); after != before {
		t.Errorf("something was stored: %s, before %s", after, before)
	}
	// One lane of several is enough.
	refused("Intend with one stale epoch of two", func() error {
		_, err := heir.Intend(t.Context(), heir.NextBatch(), append(heir.leasesOf(d), outbox.Lease{Lane: d.Lane ^ 1, Epoch: 1}), []*outbox.Delivery{d})
		return err
	})
}

// snapshotSQL tells whether anything was stored.
const snapshotSQL = `
SELECT concat_ws(' ', (SELECT count(*) FROM intents), (SELECT count(*) FROM timeline), (SELECT count(*) FROM exceptions),
                 (SELECT string_agg(format('%s:%s:%s', seq, version, state), ',' ORDER BY seq) FROM deliveries))`
