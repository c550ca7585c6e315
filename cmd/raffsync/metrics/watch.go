package metrics

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"raffsync/outbox"
)

const (
	// OutboxTTL is how long what the outbox said is said again.
	OutboxTTL = 5 * time.Second
	// OutboxTimeout is how long a scrape waits for it.
	OutboxTimeout = 2 * time.Second
)

// Watched is what is asked at a scrape.
type Watched struct {
	Gauges    func(context.Context) ([]outbox.Gauge, error)
	Pools     func() map[string]*pgxpool.Stat // nil: a pool that is not there now
	Lanes     func() int
	Streams   func() map[string]int // by tenant
	HeldBytes func() int64
}

// Watch adds the series that are asked for at a scrape. It is called once.
func (m *Metrics) Watch(w Watched) {
	m.registry.MustRegister(&watcher{Watched: w, now: time.Now})
}

// watcher asks at a scrape.
type watcher struct {
	Watched
	now func() time.Time

	mu     sync.Mutex // held while the outbox is asked: others wait for the same answer
	asked  time.Time
	gauges []outbox.Gauge
	failed error
}

var destinationLabels = []string{"tenant", "destination"}

var (
	outboxUp          = desc("raffsync_outbox_up", "1 where the outbox answered this scrape, or not long ago.")
	outboxOpen        = desc("raffsync_outbox_deliveries_open", "Deliveries that have not come to an end, of all replicas.", destinationLabels...)
	outboxNeedsAction = desc("raffsync_outbox_deliveries_needing_action", "Open deliveries that wait for a person, of all replicas.", destinationLabels...)
	outboxOldest      = desc("raffsync_outbox_oldest_delivery_age_seconds", "Age of the oldest open delivery, whatever it waits for; 0 where none is open.", destinationLabels...)
	outboxBreaker     = desc("raffsync_outbox_breaker_state", "1 for the state that the breaker is in, by the worst of all replicas: CLOSED, HALF_OPEN or OPEN.", append(destinationLabels, "state")...)

	lanesHeld   = desc("raffsync_dispatch_lanes", "Lanes that this process holds.")
	streamsOpen = desc("raffsync_ingest_streams", "Streams of sources that are open.", "tenant")
	bytesHeld   = desc("raffsync_ingest_held_bytes", "About how much memory is held by batches that are not acknowledged yet.")

	poolSessions = desc("raffsync_postgres_sessions", "Sessions with Postgres, by pool and by what they do: used, idle or opening.", "pool", "state")
	poolMost     = desc("raffsync_postgres_sessions_max", "The most sessions that a pool opens.", "pool")
	poolTaken    = desc("raffsync_postgres_sessions_taken_total", "Times that a session was taken from a pool.", "pool")
	poolWaits    = desc("raffsync_postgres_session_waits_total", "Times that somebody had to wait for a session of a pool.", "pool")
	poolWaited   = desc("raffsync_postgres_session_wait_seconds_total", "Time that was spent waiting for a session of a pool.", "pool")
)

var breakerStates = []string{"CLOSED", "HALF_OPEN", "OPEN"}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (w *watcher) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		outboxUp, outboxOpen, outboxNeedsAction, outboxOldest, outboxBreaker, lanesHeld, streamsOpen, bytesHeld,
		poolSessions, poolMost, poolTaken, poolWaits, poolWaited,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (w *watcher) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(lanesHeld, float64(w.Lanes()))
	gauge(bytesHeld, float64(w.HeldBytes()))
	for tenant, n := range w.Streams() {
		gauge(streamsOpen, float64(n), tenant)
	}
	pools := w.Pools()
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		if pool := pools[name]; pool != nil {
			gauge(poolSessions, float64(pool.AcquiredConns()), name, "used")
			gauge(poolSessions, float64(pool.IdleConns()), name, "idle")
			gauge(poolSessions, float64(pool.ConstructingConns()), name, "opening")
			gauge(poolMost, float64(pool.MaxConns()), name)
			counter(poolTaken, float64(pool.AcquireCount()), name)
			counter(poolWaits, float64(pool.EmptyAcquireCount()), name)
			counter(poolWaited, pool.EmptyAcquireWaitTime().Seconds(), name)
		}
	}

	gauges, err := w.outbox()
	if err != nil {
		gauge(outboxUp, 0)
		return
	}
	gauge(outboxUp, 1)
	for _, g := range gauges {
		gauge(outboxOpen, float64(g.Open), g.Tenant, g.Destination)
		gauge(outboxNeedsAction, float64(g.NeedsAction), g.Tenant, g.Destination)
		gauge(outboxOldest, g.OldestAge.Seconds(), g.Tenant, g.Destination)
		for _, state := range breakerStates {
			in := 0.0
			if state == g.Breaker {
				in = 1
			}
			gauge(outboxBreaker, in, g.Tenant, g.Destination, state)
		}
	}
}

// outbox is what the outbox says, or has said not long ago. That it did not answer is
// said again too, so that scrapes do not queue up at a Postgres in trouble.
func (w *watcher) outbox() ([]outbox.Gauge, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked.IsZero() || w.now().Sub(w.asked) >= OutboxTTL {
		ctx, cancel := context.WithTimeout(context.Background(), OutboxTimeout)
		defer cancel()
		w.gauges, w.failed = w.Gauges(ctx)
		w.asked = w.now()
	}
	return w.gauges, w.failed
}

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "raffsync_build_info", Help: "1; the labels say which program it is, and which version of the database it works with.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go, "schema": strconv.Itoa(int(b.Schema))},
	})
	info.Set(1)
	return info
}
