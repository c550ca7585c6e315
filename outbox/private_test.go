package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

// privateShop is a shop on a Postgres of its own, whose settings a test may change.
type privateShop struct {
	*shop
	server *outboxtest.Server
	admin  *pgx.Conn
}

func newPrivateShop(t *testing.T, destinations ...string) *privateShop {
	t.Helper()
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Settings: map[string]string{"max_wal_senders": "4", "wal_level": "replica"}})
	s := newShopAt(t, server.NewDatabase(), outbox.Config{}, destinations...)
	admin, err := pgx.Connect(t.Context(), s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	// Its own statements must not wait for the standby that the test makes up.
	if _, err := admin.Exec(t.Context(), `SET synchronous_commit = local`); err != nil {
		t.Fatal(err)
	}
	return &privateShop{shop: s, server: server, admin: admin}
}

// set changes a setting of the server, and returns once sessions have it. What works by
// another process, as a standby's name does, may take longer.
func (p *privateShop) set(name, value string) {
	p.t.Helper()
	if _, err := p.admin.Exec(p.t.Context(), `ALTER SYSTEM SET `+pgx.Identifier{name}.Sanitize()+` = '`+value+`'`); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.admin.Exec(p.t.Context(), `SELECT pg_reload_conf()`); err != nil {
		p.t.Fatal(err)
	}
	p.until(`SELECT current_setting($1) = $2`, name, value)
}

// giveUpWaitingForStandby cancels every ingest statement that waits for a standby,
// until the append has ended.
func (p *privateShop) giveUpWaitingForStandby(ended <-chan error) error {
	p.t.Helper()
	_, err := p.giveUpWaiting("raffsync ingest", ended)
	return err
}

// giveUpWaiting cancels the statements of an application that wait for a standby, until
// what ends has ended, and tells whether one waited.
func (p *privateShop) giveUpWaiting(application string, ended <-chan error) (waited bool, err error) {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return waited, err
		case <-tick.C:
		}
		cancelled, err := p.admin.Exec(p.t.Context(), `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'`, application)
		if err != nil {
			p.t.Fatal(err)
		}
		waited = waited || cancelled.RowsAffected() > 0
	}
}

// until waits for a condition of the database.
func (p *privateShop) until(sql string, arguments ...any) {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		if err := p.admin.QueryRow(p.t.Context(), sql, arguments...).Scan(&ok); err != nil {
			p.t.Fatal(err)
		}
		if ok {
			return
		}
		select {
		case <-p.t.Context().Done():
			p.t.Fatalf("never true: %s", sql)
		case <-tick.C:
		}
	}
}
