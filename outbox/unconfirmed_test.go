package outbox_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"raffsync/outbox"
)

// The second of the ten bugs, its other half: COMMIT times out at the client while
// Postgres still waits for its standby, the client sends again, and only then the first
// COMMIT lands. The backend is stopped, so that it does not see that its client left.
func TestWriter_AppendTimesOutAndItsCommitLandsLate(t *testing.T) {
	t.Parallel()
	server := newPrivateShop(t, "books")
	s := server.shop
	w := s.writer()
	first, second := s.entry("first", "order/1", "books"), s.entry("second", "order/1", "books")
	s.append(w, s.entry("before", "order/1", "books"))
	release := server.server.HoldCommits()

	w.SetTimeout(5 * time.Second)
	done := make(chan error, 1)
	go func() {
		_, err := w.Append(t.Context(), []outbox.Entry{first})
		done <- err
	}()
	const waiting = `SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND `
	server.until(waiting + `wait_event = 'SyncRep'`)
	late := one[int](s, `SELECT pid FROM pg_stat_activity WHERE application_name = 'raffsync ingest'`)
	if err := syscall.Kill(late, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() { _ = syscall.Kill(late, syscall.SIGCONT) } // it may be gone
	t.Cleanup(goOn)
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("an append whose COMMIT is not confirmed ended with %v, want its time-out", err)
	}

	w.SetTimeout(outbox.AppendTimeout)
	var results []outbox.Result
	go func() {
		var err error
		results, err = w.Append(t.Context(), []outbox.Entry{first, second})
		done <- err
	}()
	release()
	server.until(waiting + `wait_event_type = 'Lock'`) // for the id, which the first holds still
	goOn()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if results[0].Verdict != outbox.Duplicate || results[1].Verdict != outbox.Appended {
		t.Errorf("verdicts of the resend %v and %v, want duplicate and appended", results[0].Verdict, results[1].Verdict)
	}
	if got, want := column[string](s, `SELECT id FROM events ORDER BY accepted_at, seq`), []string{"before", "first", "second"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if got, want := column[string](s, `SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event ORDER BY d.accepted_at, d.seq`), []string{"before", "first", "second"}; !slices.Equal(got, want) {
		t.Errorf("deliveries of the key %v, want %v", got, want)
	}
}
