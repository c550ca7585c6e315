package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// versionInID reads "v7/…" as version 7, and "panic/…", "bad/…" as what they say. Other
// ids have no version.
func versionInID(e *outbox.Event) (outbox.SnapshotVersion, bool, error) {
	head, _, _ := strings.Cut(e.ID, "/")
	switch head {
	case "panic":
		panic("a version's bug")
	case "bad":
		return outbox.SnapshotVersion{}, false, errors.New("it gave double")
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(head, "v"), 10, 64)
	if err != nil {
		return outbox.SnapshotVersion{}, false, nil
	}
	v, err := outbox.VersionOf(n)
	return v, true, err
}

func (b *bench) versioned(routes ...string) {
	for _, name := range routes {
		key := dispatch.RouteKey{Tenant: "kopi", Name: name}
		route := b.plan.Routes[key]
		route.Version = versionInID
		b.plan.Routes[key] = route
	}
}

const statesSQL = `SELECT concat_ws(' ', t.what, t.state, t.reason, t.detail ->> 'supersededBy') FROM timeline t JOIN events e ON e.seq = t.event WHERE e.id = $1 AND t.what <> 'accepted' ORDER BY t.at, t.entry`

func TestDispatcher_SupersedesOlderSnapshots(t *testing.T) {
	t.Parallel()
	books, stock := newPlatform(nil), newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": books, "stock": stock})
	b.versioned("sales")
	_, stop := b.start()
	send := func(key string, ids ...string) {
		for _, id := range ids {
			b.append(b.entry("sales", id, key, "books", "stock"))
		}
	}
	send("order/1", "v3/a", "v1/b", "v4/c", "none/d", "v4/e", "v2/f", "v5/g")
	send("order/2", "v1/h")
	b.append(b.entry("pass", "v1/other route", "order/1", "books"))
	b.untilDrained()
	stop()
	// What was applied is known to whoever comes next.
	b.start()
	send("order/1", "v4/i", "v6/j")
	b.untilDrained()
	want := []string{"v3/a", "v4/c", "none/d", "v4/e", "v5/g", "v1/other route", "v6/j"}
	if diff := cmp.Diff(want, books.orderOf("order/1")); diff != "" {
		t.Errorf("books got (-want +got):\n%s", diff)
	}
	want = slices.DeleteFunc(want, func(id string) bool { return id == "v1/other route" })
	if diff := cmp.Diff(want, stock.orderOf("order/1")); diff != "" {
		t.Errorf("stock got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"v1/h"}, books.orderOf("order/2")); diff != "" {
		t.Errorf("another key got (-want +got):\n%s", diff)
	}
	entry := "supersede SUPERSEDED version 1 is older than 3, which event v3/a has brought v3/a"
	if diff := cmp.Diff([]string{entry, entry}, values[string](b, statesSQL, "v1/b")); diff != "" {
		t.Errorf("the timeline tells (-want +got):\n%s", diff)
	}
	if n := value[int](b, `SELECT sum(superseded)::int FROM tallies`); n != 6 {
		t.Errorf("the tallies count %d, want 6", n)
	}
	if n := value[int](b, `SELECT count(*) FROM snapshots`); n != 4 {
		t.Errorf("%d snapshots are kept, want one a destination, route and key", n)
	}
	if n := value[int](b, `SELECT count(*) FROM intents i, unnest(i.seqs) s JOIN events e ON e.seq = s WHERE e.id = 'v1/b'`); n != 0 {
		t.Error("a request of what is superseded was intended")
	}
}

// One that is held lets newer ones pass. When an operator releases it, it is too late.
func TestDispatcher_SupersedesWhatWasHeld(t *testing.T) {
	t.Parallel()
	books := newPlatform(func(_ context.Context, s sent) connectors.Outcome {
		if s.ID == "v1/a" {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Rule: "status 422", Status: 422, Reason: "no"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.versioned("pass")
	b.append(b.entry("pass", "v1/a", "order/1", "books"), b.entry("pass", "v2/b", "order/1", "books"))
	b.start()
	b.until("the second has passed the first", `SELECT count(*) = 1 AND bool_and(state = 2) FROM deliveries`)
	b.until("and is applied", `SELECT count(*) = 1 FROM snapshots`)
	b.retry()
	b.untilDrained()
	if n := len(books.seen()); n != 2 {
		t.Errorf("%d requests, want 2: what is superseded is not sent", n)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions WHERE status = 'RESOLVED'`); n != 1 {
		t.Error("the exception is not resolved")
	}
}

// A version that cannot be told is an exception of its own, and stops nothing else.
func TestDispatcher_HoldsWhatHasNoTellableVersion(t *testing.T) {
	t.Parallel()
	var sends atomic.Int32
	books := newPlatform(func(context.Context, sent) connectors.Outcome {
		sends.Add(1)
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.versioned("sales")
	var batch []outbox.Entry
	for i := range 100 {
		id := fmt.Sprintf("v1/%d", i)
		switch i {
		case 30:
			id = "bad/30"
		case 60:
			id = "panic/60"
		}
		batch = append(batch, b.entry("sales", id, fmt.Sprintf("order/%d", i), "books"))
	}
	b.append(batch...)
	b.start()
	b.until("two are held", `SELECT count(*) = 2 AND bool_and(state = 2) FROM deliveries`)
	if n := sends.Load(); n != 98 {
		t.Errorf("%d are sent, want 98", n)
	}
	classes := values[string](b, `SELECT class || ' ' || rule || ' ' || code || ': ' || sample FROM exceptions ORDER BY class`)
	want := []string{"POISON version : the version of its route panicked", `VALIDATION version sales: the version of route "sales" cannot be told: it gave double`}
	if diff := cmp.Diff(want, classes); diff != "" {
		t.Errorf("exceptions (-want +got):\n%s", diff)
	}
}
