package outbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgtype"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// What is as it is of nearly all is not sent; whatever is not, is read as it stands.
func TestReplica_ReadTellsEveryColumn(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	fresh := d.deliveryOf("fresh", "order/1", "books")
	other := d.deliveryOf("other", "order/2", "books")
	third := d.deliveryOf("third", "order/3", "books")

	at := one[time.Time](s, `SELECT accepted_at FROM events WHERE id = 'fresh'`)
	want := outbox.Delivery{
		Lane: outbox.LaneOf(fresh.KeyHash, s.Lanes()), Destination: s.destinations["books"], Seq: outbox.Seq(one[int64](s, `SELECT seq FROM events WHERE id = 'fresh'`)),
		KeyHash: outbox.KeyHash("kopi", "order/1"), Tenant: "kopi", Route: "sales", Version: 1, EventAt: at, AcceptedAt: at,
	}
	want.Event = want.Seq
	same := []cmp.Option{cmpopts.IgnoreFields(outbox.Delivery{}, "Row"), cmpopts.EquateApproxTime(0)}
	if diff := cmp.Diff(&want, fresh, same...); diff != "" {
		t.Errorf("one that is fresh (-want +got):\n%s", diff)
	}
	if row := one[pgtype.TID](s, `SELECT ctid FROM deliveries WHERE seq = $1`, int64(fresh.Seq)); row != fresh.Row {
		t.Errorf("it lies at %v, and is said to at %v", row, fresh.Row)
	}

	// Each value is another, so that none stands for its neighbour.
	times := make([]time.Time, 4)
	for i := range times {
		times[i] = time.Date(2026, 1, 2, 3, 4, 5, 6000+1000*i, time.UTC)
	}
	s.exec(`
UPDATE deliveries SET event = 11, event_at = $2, accepted_at = $3, route = 'returns', replay = 12, step = 13, revision = 14, state = 2, exception = 1,
       requests = 15, attempts = 16, version = 17, unknown_at = $4, tried_at = $5, kind = 7, claimed = true, edited = true
 WHERE seq = $1`, int64(other.Seq), times[0], times[1], times[2], times[3])
	changed := outbox.Delivery{
		Lane: other.Lane, Destination: other.Destination, Seq: other.Seq, KeyHash: other.KeyHash, Tenant: "kopi",
		Event: 11, EventAt: times[0], AcceptedAt: times[1], Route: "returns", Replay: 12, Step: 13, Revision: 14, State: outbox.NeedsAction,
		Requests: 15, Attempts: 16, Version: 17, UnknownAt: &times[2], TriedAt: &times[3],
		Last: raffsyncv1.OutcomeKind(7), Claimed: true, Edited: true,
	}
	for _, got := range d.open("books") {
		switch got.Seq {
		case other.Seq:
			if diff := cmp.Diff(&changed, got, same...); diff != "" {
				t.Errorf("one that is not (-want +got):\n%s", diff)
			}
		case fresh.Seq, third.Seq:
			if got.UnknownAt != nil || got.TriedAt != nil || got.Requests != 0 || got.Claimed || got.Edited || got.Route != "sales" {
				t.Errorf("its neighbour has something of it: %+v", got)
			}
		}
	}

	// By the key it reads the same.
	lines, err := d.ReadLines(t.Context(), []outbox.Line{{Lane: other.Lane, Destination: other.Destination, KeyHash: other.KeyHash}}, 10)
	if err != nil || len(lines[0]) != 1 {
		t.Fatalf("lines %v, %v", lines, err)
	}
	if diff := cmp.Diff(&changed, &lines[0][0], same...); diff != "" {
		t.Errorf("by its key (-want +got):\n%s", diff)
	}
}

// A time that no clock shows cannot be read, and is not taken for another.
func TestReplica_ReadRefusesAnInfiniteTime(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	delivery := d.deliveryOf("e1", "order/1", "books")
	s.exec(`ALTER TABLE deliveries DROP CONSTRAINT deliveries_readable`)
	s.exec(`UPDATE deliveries SET unknown_at = 'infinity'`)
	_, err := d.ReadLines(t.Context(), []outbox.Line{{Lane: delivery.Lane, Destination: delivery.Destination, KeyHash: delivery.KeyHash}}, 10)
	if err == nil || !strings.Contains(err.Error(), "infinite") {
		t.Errorf("read: %v", err)
	}
}
