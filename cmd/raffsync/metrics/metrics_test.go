package metrics_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"raffsync/broker"
	"raffsync/cmd/raffsync/metrics"
	"raffsync/connectors/hooks"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	"raffsync/outbox/outboxtest"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

var update = flag.Bool("update", false, "write what was found as what is wanted")

var discard = slog.New(slog.DiscardHandler)

// watched answers at once.
func watched(gauges ...outbox.Gauge) metrics.Watched {
	return metrics.Watched{
		Gauges:    func(context.Context) ([]outbox.Gauge, error) { return gauges, nil },
		Pools:     func() map[string]*pgxpool.Stat { return nil },
		Lanes:     func() int { return 64 },
		Streams:   func() map[string]int { return map[string]int{"kopi": 2} },
		HeldBytes: func() int64 { return 4096 },
	}
}

var books = &dispatch.Destination{ID: 1, Tenant: "kopi", Name: "books"}

// attempt is one that came to a kind, and to a state.
func attempt(kind raffsyncv1.OutcomeKind, state string) dispatch.Attempted {
	now := time.Now()
	return dispatch.Attempted{
		Destination: books, Request: 1, Open: 30 * time.Millisecond, Sent: now, Stored: now,
		Transition: &outbox.Transition{Delivery: &outbox.Delivery{Tenant: "kopi"}, Sent: true, Kind: kind, To: state, Duration: 3 * time.Millisecond},
	}
}

// filled is metrics with something in every series, and a real pool.
func filled(t *testing.T) *metrics.Metrics {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), outboxtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	m := metrics.New(metrics.Build{Version: "1.0.0", Revision: "abc", Go: "go1.26", Schema: 1})
	w := watched(outbox.Gauge{Tenant: "kopi", Destination: "books", Open: 3, NeedsAction: 1, OldestAge: time.Minute, Breaker: "OPEN"})
	w.Pools = func() map[string]*pgxpool.Stat {
		return map[string]*pgxpool.Stat{"engine": pool.Stat(), "dispatch": nil}
	}
	m.Watch(w)
	m.Plan(&dispatch.Plan{Destinations: map[int32]*dispatch.Destination{1: books}})
	received := m.Hooks()
	received(hooks.Received{Tenant: "kopi", Source: "till", Result: "accepted", Took: time.Millisecond})
	received(hooks.Received{Tenant: "kopi", Source: "till", Result: "untrusted", Distrust: hooks.Stale})
	in, out := m.Broker(), m.Dispatch()
	in.Events("kopi", "till", broker.Counts{Accepted: 5, Duplicates: 4, Conflicts: 3, Invalid: 2, Unrouted: 1})
	in.Acknowledged(time.Millisecond)
	in.Committed(15, time.Millisecond, nil)
	in.Committed(15, time.Millisecond, errors.New("the disk is full"))
	out.Intended(7, time.Millisecond)
	out.Finished(7, time.Millisecond)
	out.Attempted(attempt(raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, outbox.StateWaiting))
	out.Attempted(attempt(raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, outbox.StateDelivered))
	return m
}

func names(t *testing.T, m *metrics.Metrics) []string {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", f.GetName())
		}
		if strings.HasPrefix(f.GetName(), "raffsync_") {
			all = append(all, f.GetName())
		}
	}
	return all
}

// The names are what dashboards and rules rely on: one that goes is missed.
func TestMetrics_Names(t *testing.T) {
	m := filled(t)
	got := strings.Join(names(t, m), "\n") + "\n"
	const golden = "testdata/names.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got; run with -update where the change is meant\n%s", diff)
	}
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics_Values(t *testing.T) {
	m := filled(t)
	want := `
# HELP raffsync_dispatch_delivered_total Deliveries that came to their end by an attempt, with success.
# TYPE raffsync_dispatch_delivered_total counter
raffsync_dispatch_delivered_total{destination="books",tenant="kopi"} 1
# HELP raffsync_ingest_commit_failures_total Commits of events that failed or whose outcome is unclear. Nothing of them was acknowledged.
# TYPE raffsync_ingest_commit_failures_total counter
raffsync_ingest_commit_failures_total 1
# HELP raffsync_ingest_events_total Events that sources sent, by what became of them: accepted, duplicate, conflict, invalid, unrouted, or quarantined (a webhook of which no event can be made). An event that is sent again is counted again.
# TYPE raffsync_ingest_events_total counter
raffsync_ingest_events_total{source="till",status="accepted",tenant="kopi"} 5
raffsync_ingest_events_total{source="till",status="conflict",tenant="kopi"} 3
raffsync_ingest_events_total{source="till",status="duplicate",tenant="kopi"} 4
raffsync_ingest_events_total{source="till",status="invalid",tenant="kopi"} 2
raffsync_ingest_events_total{source="till",status="quarantined",tenant="kopi"} 0
raffsync_ingest_events_total{source="till",status="unrouted",tenant="kopi"} 1
# HELP raffsync_outbox_breaker_state 1 for the state that the breaker is in, by the worst of all replicas: CLOSED, HALF_OPEN or OPEN.
# TYPE raffsync_outbox_breaker_state gauge
raffsync_outbox_breaker_state{destination="books",state="CLOSED",tenant="kopi"} 0
raffsync_outbox_breaker_state{destination="books",state="HALF_OPEN",tenant="kopi"} 0
raffsync_outbox_breaker_state{destination="books",state="OPEN",tenant="kopi"} 1
# HELP raffsync_outbox_oldest_delivery_age_seconds Age of the oldest open delivery, whatever it waits for; 0 where none is open.
# TYPE raffsync_outbox_oldest_delivery_age_seconds gauge
raffsync_outbox_oldest_delivery_age_seconds{destination="books",tenant="kopi"} 60
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want),
		"raffsync_dispatch_delivered_total", "raffsync_ingest_commit_failures_total", "raffsync_ingest_events_total",
		"raffsync_outbox_breaker_state", "raffsync_outbox_oldest_delivery_age_seconds"); err != nil {
		t.Error(err)
	}
}

// An outbox that does not answer costs its own series, and is not asked by every scrape.
func TestMetrics_OutboxDown(t *testing.T) {
	m := metrics.New(metrics.Build{})
	asked := 0
	w := watched()
	w.Gauges = func(ctx context.Context) ([]outbox.Gauge, error) {
		asked++
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > metrics.OutboxTimeout {
			t.Error("it is asked without a limit")
		}
		return nil, errors.New("no session")
	}
	m.Watch(w)
	for range 3 {
		recorder := httptest.NewRecorder()
		m.Handler(discard).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		body, _ := io.ReadAll(recorder.Result().Body)
		for _, text := range []string{"\nraffsync_outbox_up 0\n", "\nraffsync_dispatch_lanes 64\n", "\nraffsync_build_info{", "\ngo_goroutines ", "\nprocess_open_fds "} {
			if recorder.Code != 200 || !strings.Contains(string(body), text) {
				t.Errorf("status %d, and no %q", recorder.Code, text)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the outbox was asked %d times by three scrapes in a row", asked)
	}
}

// Counting costs a batch no memory, once its series are there.
func TestMetrics_CountingAllocatesNothing(t *testing.T) {
	m := metrics.New(metrics.Build{})
	in, out := m.Broker(), m.Dispatch()
	done := attempt(raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, outbox.StateDelivered)
	if n := testing.AllocsPerRun(1000, func() {
		in.Events("kopi", "till", broker.Counts{Accepted: 100})
		in.Acknowledged(time.Millisecond)
		in.Committed(100, time.Millisecond, nil)
		out.Intended(100, time.Millisecond)
		out.Attempted(done)
		out.Finished(100, time.Millisecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMetrics(b *testing.B) {
	m := metrics.New(metrics.Build{})
	in, out := m.Broker(), m.Dispatch()
	b.Run("Batch", func(b *testing.B) {
		for b.Loop() {
			in.Events("kopi", "till", broker.Counts{Accepted: 100})
			in.Acknowledged(time.Millisecond)
		}
	})
	b.Run("Attempt", func(b *testing.B) {
		done := attempt(raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, outbox.StateDelivered)
		for b.Loop() {
			out.Attempted(done)
		}
	})
}

// Labels are names out of the configuration, or of a fixed list.
func TestMetrics_Labels(t *testing.T) {
	families, err := filled(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"tenant", "source", "status", "destination", "kind", "state", "result", "why", "pool", "version", "revision", "goversion", "schema"}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "raffsync_") {
			continue
		}
		for _, series := range f.GetMetric() {
			for _, label := range series.GetLabel() {
				if !slices.Contains(known, label.GetName()) {
					t.Errorf("%s has the label %s: is the number of its values bounded?", f.GetName(), label.GetName())
				}
			}
		}
	}
}
