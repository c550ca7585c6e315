package metrics

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Build says which program it is.
type Build struct {
	Version, Revision, Go string
	Schema                uint // version of the database that it works with
}

// Metrics are the series of one process, in a registry of its own.
type Metrics struct {
	registry *prometheus.Registry
	ingest   ingest
	delivery delivery
	hooks    received
}

// New makes the series. Those that are asked for at a scrape come with [Metrics.Watch].
func New(b Build) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), ingest: newIngest(), delivery: newDelivery(), hooks: newReceived()}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(b),
	)
	m.registry.MustRegister(m.ingest.collectors()...)
	m.registry.MustRegister(m.delivery.collectors()...)
	m.registry.MustRegister(m.hooks.collectors()...)
	return m
}

// Gatherer is the registry, to read.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// scrapeTimeout bounds a scrape; [OutboxTimeout] is the longest that one waits.
const scrapeTimeout = 10 * time.Second

// Handler serves the series, four scrapes at a time.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}

// seconds are the buckets of what takes from half a millisecond to some seconds.
func seconds() []float64 { return prometheus.ExponentialBuckets(0.0005, 2, 15) }

// batches are the buckets of a batch's size.
func batches(most float64) []float64 {
	var sizes []float64
	for n := 1.0; n <= most; n *= 2 {
		sizes = append(sizes, n)
	}
	return sizes
}
