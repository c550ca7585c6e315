package outbox_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
)

func keys(t testing.TB, text ...string) *outbox.Keys {
	t.Helper()
	k, err := outbox.ParseKeys(strings.Join(text, ","))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sealing is a shop with a destination, whose store has these keys.
func sealing(t testing.TB, k *outbox.Keys) (*shop, *outbox.Connections) {
	t.Helper()
	base := newShop(t, "books")
	s := newShopAt(t, base.dsn, outbox.Config{Keys: k}, "books")
	return s, s.Connections("kopi", s.destinations["books"])
}

var given = outbox.Connection{Secret: []byte("refresh-token-of-kopi"), ExpiresAt: time.Date(2026, 11, 25, 10, 30, 0, 0, time.UTC)}

func (s *shop) renewed(c *outbox.Connections, version int64, k outbox.Connection) int64 {
	s.t.Helper()
	claim, err := c.Claim(s.t.Context(), version, time.Minute)
	if err != nil || !claim.Granted {
		s.t.Fatalf("claim of version %d: %+v, %v", version, claim, err)
	}
	version, err = c.Save(s.t.Context(), claim, k)
	if err != nil {
		s.t.Fatal(err)
	}
	return version
}

func TestConnections_SealedAtRest(t *testing.T) {
	t.Parallel()
	old := outbox.NewKey()
	s, c := sealing(t, keys(t, old))
	if k, err := c.Load(t.Context()); err != nil || k.Version != 0 {
		t.Fatalf("before anything: %+v, %v", k, err)
	}
	s.renewed(c, 0, given)
	got, err := c.Load(t.Context())
	if err != nil || got.Version != 1 || !bytes.Equal(got.Secret, given.Secret) || !got.ExpiresAt.Equal(given.ExpiresAt) {
		t.Fatalf("%+v, %v", got, err)
	}
	sealed := one[[]byte](s, `SELECT sealed FROM connections`)
	if bytes.Contains(sealed, []byte("refresh")) || len(sealed) < len(given.Secret)+12+16 {
		t.Errorf("it is not sealed: %q", sealed)
	}

	// A new key opens what the old one sealed, as long as that is there too; sealed again,
	// it is the new one's.
	newer := outbox.NewKey()
	again := newShopAt(t, s.dsn, outbox.Config{Keys: keys(t, newer, old)}, "books")
	rotated := again.Connections("kopi", s.destinations["books"])
	if k, err := rotated.Load(t.Context()); err != nil || !bytes.Equal(k.Secret, given.Secret) {
		t.Fatalf("%+v, %v", k, err)
	}
	again.renewed(rotated, 1, given)
	if k, err := c.Load(t.Context()); err != nil || k.Secret != nil || !strings.Contains(k.Lost, "connect again") || k.Version != 2 {
		t.Errorf("without its key: %+v, %v", k, err)
	}

	// Copied to another destination's row it does not open.
	s.configure("books", "stock")
	s.exec(`INSERT INTO connections (tenant, destination, version, key_id, sealed) SELECT tenant, $1, 1, key_id, sealed FROM connections`, s.destinations["stock"])
	if k, err := again.Connections("kopi", s.destinations["stock"]).Load(t.Context()); err != nil || k.Secret != nil || k.Lost == "" {
		t.Errorf("in another row: %+v, %v", k, err)
	}

	if _, err := newShopAt(t, s.dsn, outbox.Config{}, "books").Connections("kopi", 1).Load(t.Context()); !errors.Is(err, outbox.ErrNoKey) {
		t.Errorf("without any key: %v", err)
	}
}

// However many ask at once, over two processes, one gets the claim; the others see what it
// brought. One that died leaves word of it.
func TestConnections_OneClaim(t *testing.T) {
	t.Parallel()
	k := keys(t, outbox.NewKey())
	s, c := sealing(t, k)
	other := newShopAt(t, s.dsn, outbox.Config{Keys: k}, "books").Connections("kopi", s.destinations["books"])
	for version := range int64(3) {
		var granted atomic.Int64
		var claim outbox.ConnectionClaim
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				from := []*outbox.Connections{c, other}[i%2]
				got, err := from.Claim(t.Context(), version, time.Minute)
				if err != nil {
					t.Error(err)
				}
				if got.Granted {
					granted.Add(1)
					claim = got
				}
			})
		}
		all.Wait()
		if granted.Load() != 1 || !claim.Interrupted.IsZero() {
			t.Fatalf("version %d: granted %d times, %+v", version, granted.Load(), claim)
		}
		if _, err := c.Save(t.Context(), claim, given); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Claim(t.Context(), 3, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	var next outbox.ConnectionClaim
	for !next.Granted {
		var err error
		if next, err = other.Claim(t.Context(), 3, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if next.Interrupted.IsZero() {
		t.Error("the next one does not hear of it")
	}
	// The one that was taken for dead comes back, too late.
	if _, err := c.Save(t.Context(), outbox.ConnectionClaim{Granted: true, Version: 3, ID: "gone"}, given); !errors.Is(err, outbox.ErrClaimLost) {
		t.Errorf("saved by a lost claim: %v", err)
	}
	// What surely brought nothing keeps the word of the one before, and its problem.
	if err := other.Release(t.Context(), next, outbox.ConnectionFailure{Problem: "invalid_grant", Revoked: true}); err != nil {
		t.Fatal(err)
	}
	if k, _ := c.Load(t.Context()); k.Problem != "invalid_grant" || !k.Revoked {
		t.Errorf("%+v", k)
	}
	if third, err := c.Claim(t.Context(), 3, time.Minute); err != nil || !third.Interrupted.Equal(next.Interrupted) {
		t.Errorf("%+v after %+v, %v", third, next, err)
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'connection' AND reason = 'invalid_grant'`); n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestConnections_WhatPeopleDo(t *testing.T) {
	t.Parallel()
	s, c := sealing(t, keys(t, outbox.NewKey()))
	books := s.destinations["books"]
	// A renewal is under way while somebody connects again: what it brings is of the old
	// agreement, and is not kept.
	claim, err := c.Claim(t.Context(), 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if version, err := s.Connect(t.Context(), clerk, books, given); err != nil || version != 1 {
		t.Fatalf("version %d, %v", version, err)
	}
	if _, err := c.Save(t.Context(), claim, outbox.Connection{Secret: []byte("old")}); !errors.Is(err, outbox.ErrClaimLost) {
		t.Errorf("the old agreement was kept: %v", err)
	}
	all, err := s.ConnectionsOf(t.Context(), "kopi")
	if err != nil || len(all) != 1 || !all[0].Connected || *all[0].ConnectedBy != clerk.Name || all[0].Destination != "books" {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := s.Disconnect(t.Context(), clerk, books, "wrong account"); err != nil {
		t.Fatal(err)
	}
	if k, err := c.Load(t.Context()); err != nil || k.Secret != nil || k.Version != 2 {
		t.Errorf("%+v, %v", k, err)
	}
	if err := s.Disconnect(t.Context(), clerk, books, "again"); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
	entries := column[string](s, `SELECT reason || ' by ' || actor FROM timeline WHERE what = 'connection' ORDER BY entry`)
	if strings.Join(entries, "; ") != "connected by ayu; disconnected: wrong account by ayu" {
		t.Errorf("%q", entries)
	}
}

// The API sees how it stands, of its tenant only, and never what is kept.
func TestConnections_TheAPINeverSeesSecrets(t *testing.T) {
	t.Parallel()
	s, c := sealing(t, keys(t, outbox.NewKey()))
	s.renewed(c, 0, given)
	for tenant, want := range map[string]int{"kopi": 1, "teh": 0} {
		for _, query := range []struct {
			sql    string
			denied bool
		}{
			{`SELECT count(expires_at) FROM connections`, false},
			{`SELECT count(sealed) FROM connections`, true},
			{`SELECT count(*) FROM (SELECT * FROM connections) AS c`, true},
			{`SELECT count(claim) FROM connections`, true},
		} {
			err := pgx.BeginFunc(t.Context(), s.API(), func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `SELECT set_config('raffsync.tenant', $1, true)`, tenant); err != nil {
					return err
				}
				var n int
				err := tx.QueryRow(t.Context(), query.sql).Scan(&n)
				if err == nil && n != want {
					t.Errorf("%s sees %d of %s, want %d", tenant, n, query.sql, want)
				}
				return err
			})
			if (err != nil) != query.denied {
				t.Errorf("%s: %v", query.sql, err)
			}
		}
	}
}

func TestSweeper_Expiring(t *testing.T) {
	t.Parallel()
	s, c := sealing(t, keys(t, outbox.NewKey()))
	w, err := s.OpenSweeper(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	sweep := func() string {
		t.Helper()
		for range 2 { // twice changes nothing
			if err := w.Expiring(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return strings.Join(column[string](s, `SELECT status || ' ' || held FROM exceptions WHERE class = 'AUTH_EXPIRING' AND destination = $1 ORDER BY id`, s.destinations["books"]), ", ")
	}
	soon := given
	soon.RenewBy, soon.WarnAt = time.Now().Add(48*time.Hour), time.Now().Add(-time.Hour)
	later := given
	later.RenewBy, later.WarnAt = time.Now().Add(1440*time.Hour), time.Now().Add(1272*time.Hour)
	s.renewed(c, 0, later)
	if got := sweep(); got != "" {
		t.Errorf("with two months to go: %s", got)
	}
	s.renewed(c, 1, soon)
	if got := sweep(); got != "NEEDS_ACTION 0" {
		t.Errorf("with two days to go: %s", got)
	}
	s.renewed(c, 2, later)
	if got := sweep(); got != "RESOLVED 0" {
		t.Errorf("renewed: %s", got)
	}
	s.renewed(c, 3, soon)
	sweep()
	if err := s.Disconnect(t.Context(), clerk, s.destinations["books"], "not needed"); err != nil {
		t.Fatal(err)
	}
	if got := sweep(); got != "RESOLVED 0, RESOLVED 0" {
		t.Errorf("disconnected: %s", got)
	}
	if got := strings.Join(column[string](s, `SELECT reason FROM timeline WHERE what = 'resolved' ORDER BY entry`), ", "); got != "the connection was renewed, it was disconnected" {
		t.Errorf("%s", got)
	}
}

// A store that is closed waits for a platform's answer that is on its way.
func TestStore_CloseWaitsForClaims(t *testing.T) {
	t.Parallel()
	k := keys(t, outbox.NewKey())
	base := newShop(t, "books")
	store, err := outbox.Open(t.Context(), outbox.Config{DSN: base.dsn, AllowUnsafe: true, Keys: k})
	if err != nil {
		t.Fatal(err)
	}
	c := store.Connections("kopi", base.destinations["books"])
	claim, err := c.Claim(t.Context(), 0, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { store.Close(); close(closed) }()
	for { // no other is begun from then on
		late, err := c.Claim(t.Context(), 7, time.Minute)
		if err != nil {
			break
		}
		if late.Granted {
			t.Fatal("a claim of a version that is not there")
		}
	}
	if version, err := c.Save(t.Context(), claim, given); err != nil || version != 1 {
		t.Errorf("version %d, %v", version, err)
	}
	<-closed
}

func TestParseKeys_Wrong(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " , ", "c2hvcnQ=", "hush-9f8e7d6c5b4a", outbox.NewKey() + ",x"} {
		if _, err := outbox.ParseKeys(text); err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "c2hv") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
