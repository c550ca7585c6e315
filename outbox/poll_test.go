package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"raffsync/outbox"
)

func seqs(deliveries []outbox.Delivery) (all []int64) {
	for _, d := range deliveries {
		all = append(all, int64(d.Seq))
	}
	return all
}

func TestReplica_Read(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	w := s.writer()
	for i := range 5 {
		s.append(w, s.entry(fmt.Sprint("e", i), "order/1", "books"))
	}
	writers, err := d.Writers(t.Context())
	if err != nil || len(writers) != 1 || writers[0].Closed {
		t.Fatalf("writers %v, %v; want one that is open", writers, err)
	}
	lane := one[int16](s, `SELECT DISTINCT lane FROM deliveries`)
	all := column[int64](s, `SELECT seq FROM deliveries ORDER BY seq`)
	read := func(known []outbox.WriterState, r outbox.Range) ([]int64, bool) {
		t.Helper()
		r.Lane, r.Destination, r.Writer = lane, s.destinations["books"], writers[0].Writer
		found, complete, err := d.Read(t.Context(), known, []outbox.Range{{Lane: lane ^ 1, Destination: r.Destination, Writer: r.Writer, Limit: 9}, r})
		if err != nil || len(found[0]) != 0 {
			t.Fatalf("another lane's are %v, %v", found[0], err)
		}
		return seqs(found[1]), complete
	}
	got, complete := read(writers, outbox.Range{Limit: 2})
	if diff := cmp.Diff(all[:2], got); diff != "" || !complete {
		t.Errorf("the first two, complete %v (-want +got):\n%s", complete, diff)
	}
	got, _ = read(writers, outbox.Range{After: outbox.Seq(all[1]), Limit: 9})
	if diff := cmp.Diff(all[2:], got); diff != "" {
		t.Errorf("those after (-want +got):\n%s", diff)
	}

	// Another writer may have accepted something earlier, which nobody has asked for.
	s.writer()
	if _, complete := read(writers, outbox.Range{Limit: 9}); complete {
		t.Error("it is said to be complete, and a writer is not known")
	}
	if writers, err = d.Writers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, complete := read(writers, outbox.Range{Limit: 9}); !complete {
		t.Error("it is said to be incomplete, and every writer is known")
	}
}

func TestReplica_ReadLines(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	w := s.writer()
	for i := range 6 {
		s.append(w, s.entry(fmt.Sprint("e", i), fmt.Sprint("order/", i%2), "books"))
	}
	var lines []outbox.Line
	var want [][]int64
	for _, key := range []string{"order/0", "order/1", "order/2"} {
		hash := outbox.KeyHash("kopi", key)
		lines = append(lines, outbox.Line{Lane: outbox.LaneOf(hash, 64), Destination: s.destinations["books"], KeyHash: hash})
		want = append(want, column[int64](s, `SELECT seq FROM deliveries WHERE key_hash = $1 ORDER BY seq`, hash))
	}
	found, err := d.ReadLines(t.Context(), lines, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		if diff := cmp.Diff(want[i][:min(2, len(want[i]))], seqs(found[i]), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("line %d (-want +got):\n%s", i, diff)
		}
	}
	lines[0].AfterAt, lines[0].After = found[0][1].AcceptedAt, found[0][1].Seq
	if found, err = d.ReadLines(t.Context(), lines[:1], 2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[0][2:], seqs(found[0])); diff != "" {
		t.Errorf("those after (-want +got):\n%s", diff)
	}
}

func TestReplica_TakeDue(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	waits := func(id string, delay time.Duration) *outbox.Delivery {
		t.Helper()
		a := d.deliveryOf(id, "order/"+id, "books")
		w := attempt(a, outbox.StateWaiting)
		w.Delay = delay
		d.finish(w)
		a.Version++
		return a
	}
	take := func(a *outbox.Delivery) []outbox.Due {
		t.Helper()
		due, err := d.TakeDue(t.Context(), d.lanes, []outbox.LaneDestination{{Lane: a.Lane, Destination: a.Destination}}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	state := func(a *outbox.Delivery) outbox.State {
		t.Helper()
		for _, o := range d.open("books") {
			if o.Seq == a.Seq {
				return o.State
			}
		}
		t.Fatal("it is not open")
		return 0
	}

	now, later := waits("now", 0), waits("later", time.Hour)
	if due := take(later); len(due) != 0 {
		t.Errorf("%d are due before their time", len(due))
	}
	if got := state(later); got != outbox.Retry {
		t.Errorf("it reads as state %d before its time, want %d", got, outbox.Retry)
	}
	if due := take(now); len(due) != 1 || due[0].Seq != now.Seq || due[0].Delivery.State != outbox.Pending || due[0].Delivery.Version != now.Version {
		t.Errorf("due are %+v, want the one whose time has come", due)
	}
	if got := state(now); got != outbox.Pending {
		t.Errorf("taken, it reads as state %d, want %d", got, outbox.Pending)
	}
	if due := take(now); len(due) != 0 {
		t.Errorf("%d are due a second time", len(due))
	}

	// An operator's retry, another failure, another time: the first time says nothing any
	// more when it comes.
	s.retry(later, "request 1")
	if due := take(later); len(due) != 1 {
		t.Fatalf("%d are due after an operator's retry, want 1", len(due))
	}
	later.Version++
	again := attempt(later, outbox.StateWaiting)
	again.Delay = 2 * time.Hour
	d.finish(again)
	s.exec(`UPDATE due SET at = now() - interval '1 second' WHERE seq = $1 AND at < now() + interval '90 minutes'`, later.Seq)
	if due := take(later); len(due) != 0 {
		t.Errorf("%+v is due by a time that is not its own", due)
	}
	if n := one[int](s, `SELECT count(*) FROM due WHERE seq = $1`, later.Seq); n != 1 {
		t.Errorf("%d rows would wake it, want 1", n)
	}

	// Whatever became of the row that would wake it: a new reader does.
	s.exec(`DELETE FROM due WHERE seq = $1`, later.Seq)
	if got := state(later); got != outbox.Pending {
		t.Errorf("with nothing to wake it, it reads as state %d, want %d", got, outbox.Pending)
	}
}

func TestReplica_Load(t *testing.T) {
	t.Parallel()
	s := newShop(t, "books")
	d := s.dispatcher()
	w := s.writer()
	const n = 20
	var entries []outbox.Entry
	for i := range n {
		e := s.entry(fmt.Sprintf("e%02d", i), fmt.Sprint("order/", i), "books")
		e.Event.References = map[string]string{"order": fmt.Sprint(i)}
		e.Event.Outlet = "mall"
		if i == 3 {
			e.Event.Payload = noise(200_000) // kept apart from its row
		}
		if i == 4 {
			e.Event.References, e.Event.Payload = nil, nil
		}
		entries = append(entries, e)
	}
	s.append(w, entries...)
	open := d.open("books")
	load := func() []*outbox.LoadedEvent {
		t.Helper()
		events, err := d.Load(t.Context(), open)
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	for i, e := range load() {
		want := entries[i].Event
		if want.Payload == nil {
			want.Payload = []byte{}
		}
		if want.References == nil {
			want.References = map[string]string{}
		}
		got := e.Event
		got.Source = want.Source // by its name
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" || e.SourceName != "till" {
			t.Errorf("event %d of %s (-want +got):\n%s", i, e.SourceName, diff)
		}
	}

	// Two that are gone, one of another shape, one with a time that is none.
	s.exec(`DROP TRIGGER events_is_append_only ON events`) // it would refuse
	s.exec(`DELETE FROM events WHERE id = 'e01'`)
	s.exec(`UPDATE events SET refs = '[1, 2]' WHERE id = 'e02'`)
	s.exec(`DELETE FROM events WHERE id = 'e03'`)
	s.exec(`UPDATE events SET occurred_at = 'infinity' WHERE id = 'e04'`)
	for i, e := range load() {
		if bad := i >= 1 && i <= 4; bad != (e == nil) {
			t.Errorf("event %d is %v", i, e)
		}
	}
}
