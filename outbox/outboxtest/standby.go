package outboxtest

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// HoldCommits lets every COMMIT of the server wait for a standby that does not exist.
// It returns once that is so, in every session: the setting shows in sessions earlier
// than COMMITs wait, which the checkpointer lets them do. What waits when release is
// called, and whatever comes after, is committed as if there had been no standby.
func (s *Server) HoldCommits() (release func()) {
	s.t.Helper()
	admin := s.admin()
	s.alter(admin, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	for !s.commitWaits(admin) {
	}
	return func() {
		s.t.Helper()
		s.alter(admin, `ALTER SYSTEM RESET synchronous_standby_names`)
	}
}

// admin is a session whose own COMMITs wait for no standby.
func (s *Server) admin() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	if err == nil {
		_, err = conn.Exec(s.t.Context(), `SET synchronous_commit = local`)
	}
	if err != nil {
		s.t.Fatalf("outboxtest: %v", err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *Server) alter(admin *pgx.Conn, sql string) {
	s.t.Helper()
	for _, sql := range []string{sql, `SELECT pg_reload_conf()`} {
		if _, err := admin.Exec(s.t.Context(), sql); err != nil {
			s.t.Fatalf("outboxtest: %s: %v", sql, err)
		}
	}
}

// probeTimeout is how long a COMMIT may take that is not seen to wait.
const probeTimeout = 10 * time.Second

// commitWaits commits something small in another session, and tells whether that waited
// for a standby. It gives up on our behalf where it did.
func (s *Server) commitWaits(admin *pgx.Conn) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), probeTimeout)
	defer cancel()
	probe, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		s.t.Fatalf("outboxtest: %v", err)
	}
	defer probe.Close(context.WithoutCancel(ctx))
	committed := make(chan error, 1)
	go func() {
		_, err := probe.Exec(ctx, `SELECT pg_logical_emit_message(true, 'probe', '')`)
		committed <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	waited := false
	for {
		select {
		case err := <-committed:
			var pg *pgconn.PgError
			if err != nil && !errors.As(err, &pg) {
				s.t.Fatalf("outboxtest: a commit that shall wait for a standby: %v", err)
			}
			return waited
		case <-tick.C:
		}
		var now bool
		err := admin.QueryRow(s.t.Context(), `
SELECT coalesce(bool_or(pg_cancel_backend(pid)), false) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'`, probe.PgConn().PID()).Scan(&now)
		if err != nil {
			s.t.Fatalf("outboxtest: %v", err)
		}
		waited = waited || now
	}
}
