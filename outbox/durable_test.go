package outbox_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

func TestStore_OpenRefusesAnUnsafePostgres(t *testing.T) {
	t.Parallel()
	s := newShop(t) // the tests' server runs with fsync off
	_, err := outbox.Open(t.Context(), outbox.Config{DSN: s.dsn})
	if err == nil || !strings.Contains(err.Error(), "fsync") {
		t.Errorf("error %v, want one that names fsync", err)
	}
}

// What was safe at the start is switched off while everything runs.
func TestStore_NothingIsTakenOnceItsPostgresIsUnsafe(t *testing.T) {
	t.Parallel()
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Fsync: true})
	dsn := server.NewDatabase()
	private := &privateShop{shop: newShopAt(t, dsn, outbox.Config{}, "books"), server: server}
	var err error
	if private.admin, err = pgx.Connect(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	defer private.admin.Close(context.Background())
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: dsn, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	private.Store = store // the one that insists
	w := private.writer()
	replica, err := store.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Abandon()

	n := 0
	append := func() error {
		n++
		_, err := w.Append(t.Context(), []outbox.Entry{private.entry(fmt.Sprint("e", n), "order/1", "books")})
		return err
	}
	refuses := func(setting string) {
		t.Helper()
		for patience := time.Now().Add(time.Minute); ; { // a writer asks once a second
			if err := append(); err != nil {
				if !strings.Contains(err.Error(), "may lose what it has committed: "+setting) {
					t.Errorf("error %v, want one that names %s", err, setting)
				}
				break
			}
			if time.Now().After(patience) {
				t.Fatalf("it still takes events with %s off", setting)
			}
		}
		if err := append(); err == nil { // on a session of its own
			t.Errorf("a new session takes events with %s off", setting)
		}
	}
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		private.set(setting, "off")
		refuses(setting)
		if err := replica.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: the lease was renewed: %v", setting, err)
		}
		if _, err := store.Join(t.Context()); err == nil {
			t.Errorf("%s: a replica joined", setting)
		}
		private.set(setting, "on")
		if err := append(); err != nil {
			t.Errorf("%s is on again: %v", setting, err)
		}
		if err := replica.Renew(t.Context()); err != nil {
			t.Errorf("%s is on again: %v", setting, err)
		}
	}

	// Of the database alone: only new sessions have it.
	private.exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
	one[bool](private.shop, `SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'raffsync ingest'`)
	if err := append(); err == nil {
		t.Error("an append on a dead session reported success")
	}
	refuses("synchronous_commit")
}
