package broker

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// COMMIT taken for done, on the wire: the standby never confirms it, and somebody gives
// up waiting on the broker's behalf, or ends its session. No acknowledgement goes out,
// neither for the event nor for its resend, until there is one standby less to wait for.
func TestPublish_AcknowledgesNoUnclearCommit(t *testing.T) {
	server := outboxtest.NewServer(t, outboxtest.ServerOptions{Settings: map[string]string{"max_wal_senders": "4", "wal_level": "replica"}})
	h := newHouseAt(t, server.NewDatabase(), oneCommitter)
	h.open() // keys are known from here on
	release := server.HoldCommits()
	admin := h.local()
	for _, giveUp := range []string{"pg_cancel_backend", "pg_terminate_backend", "pg_cancel_backend"} {
		s := h.open()
		s.batch(event("1", "order/1"))
		ended := make(chan error, 1)
		var acknowledged uint64
		go func() {
			var err error
			acknowledged, err = s.end()
			ended <- err
		}()
		err := giveUpUntil(t, admin, giveUp, ended)
		checkStatus(t, err, codes.Unavailable, "NOT_DURABLE", "with the same ids")
		if acknowledged != 0 {
			t.Fatalf("%s: acknowledged %d, and no standby has it", giveUp, acknowledged)
		}
		called := make(chan error, 1)
		go func() {
			_, err := raffsyncv1.NewIngestServiceClient(h.connect()).PublishBatch(withKey(context.Background(), h.keys["till"]),
				&raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("1", "order/1")}})
			called <- err
		}()
		checkStatus(t, giveUpUntil(t, admin, giveUp, called), codes.Unavailable, "NOT_DURABLE", "with the same ids")
	}
	release()
	s := h.open()
	s.batch(event("1", "order/1"))
	s.acked(1)
	if n := one[int](h, `SELECT count(*) FROM events`); n != 1 {
		t.Errorf("%d events, want one", n)
	}
}

// local is a session whose own COMMITs wait for no standby.
func (h *house) local() *pgx.Conn {
	h.t.Helper()
	conn, err := pgx.Connect(h.t.Context(), h.dsn)
	if err == nil {
		_, err = conn.Exec(h.t.Context(), `SET synchronous_commit = local`)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// giveUpUntil ends every wait of the broker for a standby until there is an answer.
func giveUpUntil(t *testing.T, admin *pgx.Conn, how string, answer <-chan error) error {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		select {
		case err := <-answer:
			return err
		case <-deadline:
			t.Fatal("there was no answer")
		case <-tick.C:
		}
		if _, err := admin.Exec(t.Context(), `SELECT `+how+`(pid) FROM pg_stat_activity WHERE application_name = 'raffsync ingest' AND wait_event = 'SyncRep'`); err != nil {
			t.Fatal(err)
		}
	}
}
