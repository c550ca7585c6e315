package outbox_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

func (s *shop) afterRestore() []outbox.Restored {
	s.t.Helper()
	restored, err := s.AfterRestore(s.t.Context(), "ayu")
	if err != nil {
		s.t.Fatal(err)
	}
	return restored
}

// leave ends a dispatcher as a stop does.
func (d *dispatcher) leave() {
	d.shop.t.Helper()
	if err := d.Leave(d.shop.t.Context()); err != nil {
		d.shop.t.Fatal(err)
	}
}

func TestStore_AfterRestore(t *testing.T) {
	t.Parallel()
	fresh := newShop(t, "books", "stock")

	t.Run("EveryOpenDeliveryMayHaveBeenSent", func(t *testing.T) {
		s := fresh.emptied(t)
		d := s.dispatcher()
		pending := d.deliveryOf("pending", "order/1", "books")
		failed := d.deliveryOf("failed", "order/2", "books")
		d.finish(attempt(failed, outbox.StateWaiting))
		answeredBadly := d.deliveryOf("answered badly", "order/3", "books")
		unproven := attempt(answeredBadly, outbox.StateWaiting)
		unproven.UnknownAt = &answeredBadly.AcceptedAt
		d.finish(unproven)
		held := d.deliveryOf("held", "order/4", "books")
		d.finish(attempt(held, outbox.StateNeedsAction))
		waits := d.deliveryOf("unknown already", "order/5", "books")
		unknown := attempt(waits, outbox.StateWaiting)
		unknown.Kind, unknown.UnknownAt = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, &waits.AcceptedAt
		d.finish(unknown)
		sending := d.deliveryOf("on the wire", "order/6", "books")
		d.intend(sending)
		d.leave()

		want := []outbox.Restored{{Tenant: "kopi", Paused: []string{"books", "stock"}, Unknown: 4}}
		if diff := cmp.Diff(want, s.afterRestore()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n := one[int](s, `SELECT count(*) FROM deliveries WHERE unknown_at IS DISTINCT FROM accepted_at`); n != 0 {
			t.Errorf("%d open deliveries are not of unknown outcome since their acceptance", n)
		}
		for sql, n := range map[string]int{
			`SELECT count(*) FROM controls WHERE kind = 'destination' AND state = 'PAUSED' AND actor = 'ayu' AND reason = 'restored from a backup'`: 2,
			`SELECT count(*) FROM timeline WHERE what = 'pause' AND actor = 'ayu' AND reason = 'restored from a backup'`:                            2,
			`SELECT count(*) FROM timeline WHERE what = 'restore' AND actor = 'ayu' AND detail = '{"destinations": 2, "replays": 0, "unknown": 4}'`: 1,
		} {
			if got := one[int](s, sql); got != n {
				t.Errorf("%d, want %d: %s", got, n, sql)
			}
		}

		heir := s.dispatcher()
		var lanes []int16
		for lane := range heir.lanes {
			lanes = append(lanes, lane)
		}
		orphans, next, err := heir.Orphans(t.Context(), lanes, outbox.IntentRow{})
		if err != nil || next != nil {
			t.Fatal(next, err)
		}
		restored := make(map[outbox.Position]bool)
		for i := range orphans {
			restored[orphans[i].Position()] = orphans[i].Restored
		}
		wanted := map[outbox.Position]bool{pending.Position(): true, failed.Position(): true, answeredBadly.Position(): true, sending.Position(): false}
		if diff := cmp.Diff(wanted, restored); diff != "" {
			t.Errorf("to be settled, and whether for the restore (-want +got)\n%s", diff)
		}

		// Once they are settled there is nothing more to do.
		for i := range orphans {
			o := &orphans[i].Delivery
			settled := attempt(o, outbox.StateWaiting)
			settled.Kind, settled.UnknownAt = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME, o.UnknownAt
			heir.finish(settled)
		}
		heir.leave()
		want[0].Unknown = 0
		if diff := cmp.Diff(want, s.afterRestore()); diff != "" {
			t.Errorf("the second time (-want +got)\n%s", diff)
		}
		if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'pause'`); n != 2 {
			t.Errorf("%d entries of pauses after the second time, want 2", n)
		}
	})

	t.Run("OfManyEachOnce", func(t *testing.T) {
		s := fresh.emptied(t)
		w := s.writer()
		const events = 1200 // of one lane: more than a page, and two of them
		for from := 0; from < events; from += 400 {
			var entries []outbox.Entry
			for i := range 400 {
				entries = append(entries, s.entry(fmt.Sprintf("e%04d", from+i), "order/1", "books", "stock"))
			}
			s.append(w, entries...)
		}
		s.afterRestore()
		s.afterRestore() // as after a crash in between: nothing of it is settled
		heir := s.dispatcher()
		var lanes []int16
		for lane := range heir.lanes {
			lanes = append(lanes, lane)
		}
		orphans, _, err := heir.Orphans(t.Context(), lanes, outbox.IntentRow{})
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[outbox.Position]bool)
		for i := range orphans {
			seen[orphans[i].Position()] = true
		}
		if len(orphans) != 2*events || len(seen) != 2*events {
			t.Errorf("%d orphans of %d deliveries, want %d", len(orphans), len(seen), 2*events)
		}
	})

	t.Run("PausesReplaysThatRun", func(t *testing.T) {
		s := fresh.emptied(t)
		replay, err := s.StartReplay(t.Context(), clerk, outbox.ReplayRequest{
			RequestID: "1", Destination: "books", Rate: 20, Reason: "again", Filter: outbox.ReplayFilter{From: time.Now().Add(-time.Hour)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if restored := s.afterRestore(); restored[0].Replays != 1 {
			t.Errorf("%+v, want one replay", restored)
		}
		if state := one[string](s, `SELECT state FROM replays WHERE id = $1`, replay.Number); state != outbox.ReplayPaused {
			t.Errorf("the replay is %s", state)
		}
	})

	// The number of a replay is in its idempotency keys: a platform would take one that
	// recurs for what it has.
	t.Run("NoReplayHasANumberThatTheBackupDoesNotKnowOf", func(t *testing.T) {
		s := fresh.emptied(t)
		asked := 0
		start := func() int32 {
			t.Helper()
			asked++
			replay, err := s.StartReplay(t.Context(), clerk, outbox.ReplayRequest{
				RequestID: fmt.Sprint(asked), Destination: "books", Rate: 20, Reason: "again", Filter: outbox.ReplayFilter{From: time.Now().Add(-time.Hour)},
			})
			if err != nil {
				t.Fatal(err)
			}
			return replay.Number
		}
		known := start()
		lost := start()
		s.exec(`DELETE FROM replays WHERE id > $1`, known)
		s.exec(`SELECT setval('replays_id_seq', $1)`, known)
		clock := one[int64](s, `SELECT extract(epoch FROM now() - timestamptz '2026-01-01 00:00:00+00')::bigint`)
		s.afterRestore()
		// Whoever puts the same backup back later is beyond this one too, by the clock.
		if n := start(); n <= lost || int64(n) <= clock {
			t.Errorf("number %d after %d, at second %d", n, lost, clock)
		}
		// Where replays have outrun the clock.
		s.exec(`SELECT setval('replays_id_seq', 1000000000)`)
		s.afterRestore()
		if n := start(); n <= 1_001_000_000 {
			t.Errorf("number %d is not beyond what may have been used", n)
		}
	})

	t.Run("IsRefusedInCompany", func(t *testing.T) {
		s := fresh.emptied(t)
		var refusal *outbox.Refusal
		d := s.dispatcher()
		if _, err := s.AfterRestore(t.Context(), "ayu"); !errors.As(err, &refusal) {
			t.Errorf("beside a replica: %v, want a refusal", err)
		}
		d.leave()
		p, err := s.NewProcess(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Report(t.Context(), nil, true); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AfterRestore(t.Context(), "ayu"); !errors.As(err, &refusal) {
			t.Errorf("beside a process: %v, want a refusal", err)
		}
		if n := one[int](s, `SELECT count(*) FROM controls`); n != 0 {
			t.Errorf("%d controls, though it was refused", n)
		}
	})
}
