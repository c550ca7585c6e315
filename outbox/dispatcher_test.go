package outbox_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// dispatcher is a replica with the lanes that it holds.
type dispatcher struct {
	*outbox.Replica
	shop  *shop
	lanes map[int16]outbox.Lease
}

// join registers a replica that holds no lane.
func (s *shop) join() *dispatcher {
	s.t.Helper()
	r, err := s.Join(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Abandon)
	return &dispatcher{Replica: r, shop: s, lanes: make(map[int16]outbox.Lease)}
}

// dispatcher is a replica that holds every lane.
func (s *shop) dispatcher() *dispatcher {
	s.t.Helper()
	d := s.join()
	if d.spread(); len(d.lanes) != s.Lanes() {
		s.t.Fatalf("%d lanes are held, want all %d", len(d.lanes), s.Lanes())
	}
	return d
}

// spread takes and releases lanes as a dispatcher does, and tells whether any changed
// hands.
func (d *dispatcher) spread() bool {
	d.shop.t.Helper()
	taken, excess, err := d.Spread(d.shop.t.Context(), slices.AppendSeq([]int16{}, maps.Keys(d.lanes)))
	if err != nil {
		d.shop.t.Fatal(err)
	}
	for _, l := range taken {
		d.lanes[l.Lane] = l
	}
	if excess > 0 {
		back := d.leases()[:excess]
		if err := d.Release(d.shop.t.Context(), back); err != nil {
			d.shop.t.Fatal(err)
		}
		for _, l := range back {
			delete(d.lanes, l.Lane)
		}
	}
	return len(taken) > 0 || excess > 0
}

func (d *dispatcher) leases() []outbox.Lease {
	var all []outbox.Lease
	for _, l := range d.lanes {
		all = append(all, l)
	}
	return all
}

// leasesOf are those of the deliveries' lanes.
func (d *dispatcher) leasesOf(deliveries ...*outbox.Delivery) []outbox.Lease {
	var all []outbox.Lease
	for _, delivery := range deliveries {
		if l := d.lanes[delivery.Lane]; !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	return all
}

// open reads every open delivery to a destination, in the order of acceptance.
func (d *dispatcher) open(destination string) []*outbox.Delivery {
	d.shop.t.Helper()
	writers, err := d.Writers(d.shop.t.Context())
	if err != nil {
		d.shop.t.Fatal(err)
	}
	var ranges []outbox.Range
	for lane := range int16(d.shop.Lanes()) {
		for _, w := range writers {
			ranges = append(ranges, outbox.Range{Lane: lane, Destination: d.shop.destinations[destination], Writer: w.Writer, Limit: 1000})
		}
	}
	found, complete, err := d.Read(d.shop.t.Context(), writers, ranges)
	if err != nil || !complete {
		d.shop.t.Fatalf("complete %v, %v", complete, err)
	}
	var open []*outbox.Delivery
	for _, rows := range found {
		for i := range rows {
			open = append(open, &rows[i])
		}
	}
	slices.SortFunc(open, func(a, b *outbox.Delivery) int {
		if a.Before(b) {
			return -1
		}
		return 1
	})
	return open
}

// one appends an event of this id to a destination, and returns its delivery.
func (d *dispatcher) deliveryOf(id, key, destination string) *outbox.Delivery {
	d.shop.t.Helper()
	d.shop.append(d.shop.writer(), d.shop.entry(id, key, destination))
	seq := one[int64](d.shop, `SELECT seq FROM events WHERE id = $1`, id)
	for _, open := range d.open(destination) {
		if int64(open.Seq) == seq {
			return open
		}
	}
	d.shop.t.Fatalf("event %s has no delivery", id)
	return nil
}

// intend stores the intents of these deliveries.
func (d *dispatcher) intend(deliveries ...*outbox.Delivery) outbox.Batch {
	d.shop.t.Helper()
	b, err := d.Intend(d.shop.t.Context(), d.NextBatch(), d.leasesOf(deliveries...), deliveries)
	if err != nil {
		d.shop.t.Fatal(err)
	}
	return b
}

// finish stores transitions, and tells how many changed something.
func (d *dispatcher) finish(transitions ...outbox.Transition) int {
	d.shop.t.Helper()
	var deliveries []*outbox.Delivery
	for _, t := range transitions {
		deliveries = append(deliveries, t.Delivery)
	}
	stored, err := d.Finish(d.shop.t.Context(), d.leasesOf(deliveries...), transitions)
	if err != nil {
		d.shop.t.Fatal(err)
	}
	return len(stored)
}

func attempt(d *outbox.Delivery, to string) outbox.Transition {
	t := outbox.Transition{Delivery: d, Sent: true, StartedAt: time.Now(), Duration: time.Millisecond, To: to, Spent: d.Attempts + 1}
	switch to {
	case outbox.StateDelivered:
		t.Kind = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	case outbox.StateWaiting:
		t.Kind, t.Reason, t.Delay = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, "503 Service Unavailable", time.Hour
	case outbox.StateNeedsAction:
		t.Kind, t.Reason = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, "unknown SKU"
		t.Cause = outbox.Cause{Class: "VALIDATION", Rule: "status 422", Code: "unknown_sku", Field: "sku"}
	}
	return t
}

// deliveryID names a delivery for an operator.
func deliveryID(d *outbox.Delivery) outbox.DeliveryID {
	return outbox.DeliveryID{Event: outbox.EventID{AcceptedAt: d.EventAt, Seq: d.Event}, Destination: d.Destination, Replay: d.Replay}
}

// until waits for a condition of the database.
func (s *shop) until(sql string, arguments ...any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		err := s.db.QueryRow(ctx, sql, arguments...).Scan(&ok)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("never true within a minute (%v): %s", err, sql)
		case <-tick.C:
		}
	}
}

func (s *shop) exec(sql string, arguments ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), sql, arguments...); err != nil {
		s.t.Fatalf("%v\n%s", err, sql)
	}
}

// plainSession is one that goes by nobody's name.
func (s *shop) plainSession() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// answer calls f until Postgres answers: of a replica whose sessions were ended, the
// first calls fail on those.
func answer(f func() error) error {
	var pg *pgconn.PgError
	for range 20 {
		err := f()
		if err == nil || errors.Is(err, outbox.ErrLeaseLost) || errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" {
			return err
		}
	}
	return errors.New("no answer")
}

// changed makes the delivery another than was read.
func (s *shop) changed(d *outbox.Delivery) {
	s.t.Helper()
	s.exec(`UPDATE deliveries SET version = version + 1 WHERE lane = $1 AND destination = $2 AND seq = $3`, d.Lane, d.Destination, d.Seq)
}
