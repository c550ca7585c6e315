package outbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
)

// balance lets every replica look for lanes until none changes hands.
func balance(replicas ...*dispatcher) []int {
	for changed := true; changed; {
		changed = false
		for _, r := range replicas {
			changed = r.spread() || changed
		}
	}
	var counts []int
	for _, r := range replicas {
		counts = append(counts, len(r.lanes))
	}
	return counts
}

func TestReplica_Spread(t *testing.T) {
	t.Parallel()
	shop := newShop(t)

	t.Run("SharesFairlyAsReplicasComeAndGo", func(t *testing.T) {
		s := shop.emptied(t)
		a, b := s.join(), s.join()
		if diff := cmp.Diff([]int{32, 32}, balance(a, b)); diff != "" {
			t.Errorf("two replicas (-want +got):\n%s", diff)
		}
		c := s.join()
		if diff := cmp.Diff([]int{22, 21, 21}, balance(a, b, c)); diff != "" {
			t.Errorf("a third joined (-want +got):\n%s", diff)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{32, 32}, balance(b, c)); diff != "" {
			t.Errorf("the first left (-want +got):\n%s", diff)
		}
		for _, r := range []*dispatcher{b, c} {
			held := column[int16](s, `SELECT lane FROM lanes WHERE replica = $1 ORDER BY lane`, r.ID())
			var known []int16
			for lane := range r.lanes {
				known = append(known, lane)
			}
			slices.Sort(known)
			if diff := cmp.Diff(held, known); diff != "" {
				t.Errorf("replica %d (-in the table +as it knows):\n%s", r.ID(), diff)
			}
		}
	})

	t.Run("TakesOverFromTheDead", func(t *testing.T) {
		s := shop.emptied(t)
		dead := s.dispatcher()
		heir := s.join()
		if heir.spread(); len(heir.lanes) != 0 {
			t.Fatalf("%d lanes were taken from a replica that lives", len(heir.lanes))
		}
		if err := dead.StoreBreaker(t.Context(), outbox.BreakerRow{Tenant: "kopi", Destination: 1, State: "OPEN", Reason: "down", ProbeIn: time.Second}); err != nil {
			t.Fatal(err)
		}
		s.expire(dead)
		heir.spread()
		if len(heir.lanes) != 64 {
			t.Fatalf("%d lanes were taken from a dead replica, want 64", len(heir.lanes))
		}
		for lane, l := range heir.lanes {
			if l.Epoch <= dead.lanes[lane].Epoch {
				t.Fatalf("lane %d: epoch %d after %d", lane, l.Epoch, dead.lanes[lane].Epoch)
			}
		}
		if n := one[int](s, `SELECT count(*) FROM replicas WHERE id = $1`, dead.ID()); n != 0 {
			t.Error("the dead replica is still registered")
		}
		if n := one[int](s, `SELECT count(*) FROM breakers`); n != 0 {
			t.Error("the dead replica's breakers are still there")
		}
		if err := answer(func() error { return dead.Renew(t.Context()) }); !errors.Is(err, outbox.ErrLeaseLost) {
			t.Errorf("the dead renew: %v", err)
		}
	})

	// A client that stalls in the middle of a transaction outlives every time-out.
	t.Run("EndsTheSessionsOfTheDead", func(t *testing.T) {
		s := shop.emptied(t)
		dead := s.dispatcher()
		stalled := s.sessionOf(dead)
		tx := s.fencedBy(stalled, dead)
		heir := s.join()
		s.expire(dead)
		heir.spread()
		if len(heir.lanes) != 64 {
			t.Errorf("%d lanes were taken, want 64", len(heir.lanes))
		}
		if _, err := tx.Exec(t.Context(), `SELECT 1`); err == nil {
			t.Error("the session of the dead replica is still there")
		}
	})

	// What a process that does not know yet stores on a session that it opened after the
	// others were ended counts, as long as its lane is not taken.
	t.Run("LeavesALaneWhereSomethingIsBeingStored", func(t *testing.T) {
		s := shop.emptied(t)
		dead := s.dispatcher()
		tx, err := s.plainSession().Begin(t.Context()) // not by its name, so it is not ended
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SELECT raffsync_fence($1, '{5}', ARRAY[$2::bigint])`, dead.ID(), dead.lanes[5].Epoch); err != nil {
			t.Fatal(err)
		}
		heir := s.join()
		s.expire(dead)
		heir.spread()
		if _, taken := heir.lanes[5]; taken || len(heir.lanes) != 63 {
			t.Errorf("%d lanes were taken, lane 5 among them: %v", len(heir.lanes), taken)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		heir.spread()
		if len(heir.lanes) != 64 {
			t.Errorf("%d lanes were taken in the end", len(heir.lanes))
		}
	})

	t.Run("LetsARenewalThatIsBeingCommittedWin", func(t *testing.T) {
		s := shop.emptied(t)
		slow := s.dispatcher()
		s.expire(slow)
		tx, err := s.db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.Background())
		// As Renew does, in the moment before the lease ran out.
		if _, err := tx.Exec(t.Context(), `UPDATE replicas SET lease_until = clock_timestamp() + interval '1 minute' WHERE id = $1`, slow.ID()); err != nil {
			t.Fatal(err)
		}
		heir := s.join()
		done := make(chan struct{})
		go func() { defer close(done); heir.spread() }()
		s.until(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE replicas%infinity%')`)
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-done
		if len(heir.lanes) != 0 {
			t.Errorf("%d lanes were taken from a replica that renewed in time", len(heir.lanes))
		}
		if err := slow.Renew(t.Context()); err != nil {
			t.Errorf("it cannot renew: %v", err)
		}
	})

	// Its last look at the lanes ended after it was forgotten.
	t.Run("TakesOverFromAGhost", func(t *testing.T) {
		s := shop.emptied(t)
		s.dispatcher()
		s.exec(`DELETE FROM replicas`)
		heir := s.join()
		if heir.spread(); len(heir.lanes) != 64 {
			t.Errorf("%d lanes were taken from a replica that nobody knows, want 64", len(heir.lanes))
		}
	})

	// The COMMIT went through, and the answer was lost: nobody else takes those lanes.
	t.Run("FindsWhatItTookUnknowingly", func(t *testing.T) {
		s := shop.emptied(t)
		d := s.join()
		lost, _, err := d.Spread(t.Context(), []int16{})
		if err != nil || len(lost) != s.Lanes() {
			t.Fatalf("took %d, %v", len(lost), err)
		}
		d.spread()
		if len(d.lanes) != s.Lanes() {
			t.Fatalf("knows %d lanes, want all %d", len(d.lanes), s.Lanes())
		}
		for _, l := range lost {
			if d.lanes[l.Lane].Epoch <= l.Epoch {
				t.Errorf("lane %d has epoch %d again", l.Lane, l.Epoch)
			}
		}
	})

	t.Run("TakesNothingWhenLateItself", func(t *testing.T) {
		s := shop.emptied(t)
		late := s.join()
		s.expire(late)
		if _, _, err := late.Spread(t.Context(), []int16{}); !errors.Is(err, outbox.ErrLeaseLost) {
			t.Errorf("error %v, want a lost lease", err)
		}
		if n := one[int](s, `SELECT count(*) FROM lanes WHERE replica IS NOT NULL`); n != 0 {
			t.Errorf("%d lanes are held", n)
		}
	})
}

func TestReplica_Release(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	d := s.dispatcher()
	stale := d.lanes[3]
	stale.Epoch--
	if err := d.Release(t.Context(), []outbox.Lease{stale, d.lanes[7]}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int16{7}, column[int16](s, `SELECT lane FROM lanes WHERE replica IS NULL`)); diff != "" {
		t.Errorf("lanes released (-want +got):\n%s", diff)
	}
}

// expire makes the replica's lease run out.
func (s *shop) expire(d *dispatcher) {
	s.t.Helper()
	s.exec(`UPDATE replicas SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1`, d.ID())
}

// sessionOf is a session that goes by the replica's name.
func (s *shop) sessionOf(d *dispatcher) *pgx.Conn {
	s.t.Helper()
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = one[string](s, `SELECT application FROM replicas WHERE id = $1`, d.ID())
	conn, err := pgx.ConnectConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// fencedBy begins a transaction that holds every lane of the replica.
func (s *shop) fencedBy(conn *pgx.Conn, d *dispatcher) pgx.Tx {
	s.t.Helper()
	tx, err := conn.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var lanes []int16
	var epochs []int64
	for lane, l := range d.lanes {
		lanes, epochs = append(lanes, lane), append(epochs, l.Epoch)
	}
	if _, err := tx.Exec(s.t.Context(), `SELECT raffsync_fence($1, $2, $3)`, d.ID(), lanes, epochs); err != nil {
		s.t.Fatal(err)
	}
	return tx
}
