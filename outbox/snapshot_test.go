package outbox_test

import (
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

func TestVersionOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	inOrder := [][]any{
		{int64(-1 << 63), int64(-1), int64(0), int64(7), int64(1<<63 - 1)},
		{"2026-11-23T10:00:00Z", "a", "aa", "b", "ß", "日"},
		{time.Time{}, at.Add(-time.Microsecond), at, at.In(time.FixedZone("WIB", 7*3600)).Add(time.Microsecond), at.AddDate(7000, 0, 0)},
	}
	for i, values := range inOrder {
		for j := range values {
			for k := range values {
				v, w := version(t, values[j]), version(t, values[k])
				if got := v.OlderThan(w); got != (j < k) {
					t.Errorf("%v older than %v: %v", values[j], values[k], got)
				}
			}
			for other := range inOrder {
				if other != i && version(t, values[j]).OlderThan(version(t, inOrder[other][0])) {
					t.Errorf("%v is older than %v, of another kind", values[j], inOrder[other][0])
				}
			}
		}
	}
	for _, value := range []any{nil, 1.5, true, "", "a\x00b", "a\xff", strings.Repeat("x", 201), []byte("x")} {
		if v, err := outbox.VersionOf(value); err == nil {
			t.Errorf("%#v became %s", value, v)
		}
	}
	for value, want := range map[any]string{int64(-7): "-7", "a b": "a b", at.Add(time.Millisecond): "2026-11-23T10:00:00.001Z"} {
		if got := version(t, value).String(); got != want {
			t.Errorf("%v reads %q", value, got)
		}
	}
}

func version(t *testing.T, value any) outbox.SnapshotVersion {
	t.Helper()
	v, err := outbox.VersionOf(value)
	if err != nil {
		t.Fatalf("%v: %v", value, err)
	}
	return v
}

func TestReplica_Snapshots(t *testing.T) {
	t.Parallel()
	shop := newShop(t, "books")
	d := shop.dispatcher()
	first, second := d.deliveryOf("a", "order/1", "books"), d.deliveryOf("b", "order/1", "books")
	applied := func() *outbox.Snapshot {
		t.Helper()
		found, err := d.Applied(t.Context(), []*outbox.Delivery{second, second}, []string{"order/2", "order/1"})
		if err != nil || len(found) != 2 || found[0] != nil {
			t.Fatalf("found %+v, %v", found, err)
		}
		return found[1]
	}
	if s := applied(); s != nil {
		t.Fatalf("before anything is applied: %+v", s)
	}
	d.intend(first)
	done := attempt(first, outbox.StateDelivered)
	done.Snapshot = &outbox.Snapshot{OrderingKey: "order/1", Event: "a", Version: version(t, int64(7))}
	stale := *first
	stale.Version++
	never := attempt(&stale, outbox.StateDelivered)
	never.Snapshot = &outbox.Snapshot{OrderingKey: "order/1", Event: "never", Version: version(t, int64(9))}
	if n := d.finish(never); n != 0 || applied() != nil {
		t.Fatal("a transition that was not made left a snapshot")
	}
	d.finish(done)
	if s := applied(); s == nil || s.Event != "a" || s.OrderingKey != "order/1" || s.Version != version(t, int64(7)) {
		t.Errorf("applied is %+v", s)
	}

	over := attempt(second, outbox.StateSuperseded)
	over.Reason, over.Detail = "it is older", outbox.Detail{SupersededBy: "a"}
	for range 2 { // a repeat is harmless
		d.finish(over)
	}
	if n := one[int](shop, `SELECT count(*) FROM timeline WHERE what = 'supersede' AND state = 'SUPERSEDED' AND event = $1 AND attempt IS NULL AND kind IS NULL AND reason = 'it is older' AND detail = '{"supersededBy": "a"}'`, second.Event); n != 1 {
		t.Errorf("%d entries tell of it, want 1", n)
	}
	if n := one[int](shop, `SELECT sum(superseded)::int FROM tallies`); n != 1 {
		t.Errorf("the tallies count %d", n)
	}
	if n := len(d.open("books")); n != 0 {
		t.Errorf("%d are open", n)
	}
}
