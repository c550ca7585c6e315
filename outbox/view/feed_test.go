package view

import (
	"context"
	"testing"
	"time"
)

// Until a transaction of ours that has begun is over, the horizon stays behind its
// beginning, since what it adds bears that time. A stranger's holds nothing up.
func TestView_HorizonStaysBehindOurTransactions(t *testing.T) {
	h := openHouse(t, 2)
	begin := func(application string) (started time.Time, end func()) {
		tx, err := h.owner.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `SELECT set_config('application_name', $1, true)`, application); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), `SELECT now()`).Scan(&started); err != nil {
			t.Fatal(err)
		}
		return started, func() {
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	horizon := func() time.Time {
		at, err := h.view.Horizon(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	databaseTime := func() (at time.Time) {
		if err := h.owner.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	ours, end := begin("raffsync ingest")
	for stop := databaseTime().Add(1500 * time.Millisecond); databaseTime().Before(stop); {
		if at := horizon(); !at.Before(ours) {
			t.Fatalf("the horizon is %s while a transaction of %s is open", at, ours)
		}
	}
	end()
	if at := horizon(); !at.After(ours) {
		t.Errorf("the horizon is still %s after the transaction of %s is over", at, ours)
	}
	stranger, end := begin("psql")
	defer end()
	for stop := stranger.Add(3 * time.Second); ; {
		if horizon().After(stranger) {
			break
		}
		if databaseTime().After(stop) {
			t.Fatal("a stranger's open transaction holds the horizon up")
		}
	}
	// The session is the API's again: without a tenant it sees no row.
	h.event(t, seeded{seq: 1})
	if setting := settingOf(t, h); setting != "" {
		t.Errorf("the session names the tenant %q", setting)
	}
}

func TestTx_EntriesSince(t *testing.T) {
	h := openHouse(t, 1)
	for i := range 5 {
		h.event(t, seeded{seq: int64(1 + i), at: h.base.Add(time.Duration(i/2) * time.Second)})
	}
	h.as(t, "kopi", func(ctx context.Context, tx *Tx) error {
		ids, err := tx.EntryIDsSince(ctx, FirstEntryAt(h.base), 3)
		if err != nil || len(ids) != 3 {
			t.Fatalf("%d ids, %v; want 3", len(ids), err)
		}
		rest, err := tx.EntryIDsSince(ctx, ids[2], 100)
		if err != nil || len(rest) != 2 {
			t.Fatalf("%d more ids, %v; want 2", len(rest), err)
		}
		entries, err := tx.Entries(ctx, append(ids, rest...))
		if err != nil {
			return err
		}
		for i, e := range entries {
			if int(*e.EventSeq) != i+1 || e.What != "accepted" {
				t.Errorf("entry %d is about event %d", i, *e.EventSeq)
			}
		}
		return nil
	})
}
