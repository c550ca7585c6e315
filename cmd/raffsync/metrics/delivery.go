package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// delivery is what a dispatcher does.
type delivery struct {
	attempts  *prometheus.CounterVec
	delivered *prometheus.CounterVec
	requests  *prometheus.HistogramVec
	took      *prometheus.HistogramVec

	intents, finishes         prometheus.Histogram // sizes
	intentsTook, finishesTook prometheus.Histogram

	destinations *children[destinationKey, *destinationSeries]
}

type destinationKey struct{ tenant, name string }

type destinationSeries struct {
	attempts  []prometheus.Counter // by kind
	delivered prometheus.Counter
	request   prometheus.Observer
	took      prometheus.Observer
}

// kinds is one more than the highest kind of outcome.
var kinds = func() int {
	most := raffsyncv1.OutcomeKind(0)
	for kind := range raffsyncv1.OutcomeKind_name {
		most = max(most, raffsyncv1.OutcomeKind(kind))
	}
	return int(most) + 1
}()

func newDelivery() delivery {
	labels := []string{"tenant", "destination"}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	d := delivery{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raffsync_dispatch_attempts_total",
			Help: "Attempts whose outcome was stored, by kind of outcome; those that failed before any request, and those that a dead process left, too.",
		}, append(labels, "kind")),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raffsync_dispatch_delivered_total",
			Help: "Deliveries that came to their end by an attempt, with success.",
		}, labels),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "raffsync_dispatch_request_duration_seconds",
			Help: "Time that a destination's connector took for one request, whatever came of it.", Buckets: seconds(),
		}, labels),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "raffsync_dispatch_delivery_duration_seconds",
			Help: "Time from an event's acceptance, or a replay's, until it was delivered, by the database's clock.",
			// From a millisecond to a day: retries last as long as their route says.
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400},
		}, labels),
		intents:      histogram("raffsync_dispatch_intent_deliveries", "Deliveries whose intents were stored together.", batches(512)),
		intentsTook:  histogram("raffsync_dispatch_intent_duration_seconds", "Time that storing a batch of intents took, repetitions included.", seconds()),
		finishes:     histogram("raffsync_dispatch_finish_deliveries", "Deliveries whose outcomes were stored together.", batches(1024)),
		finishesTook: histogram("raffsync_dispatch_finish_duration_seconds", "Time that storing a batch of outcomes took, repetitions included.", seconds()),
	}
	d.destinations = &children[destinationKey, *destinationSeries]{make: func(k destinationKey) *destinationSeries {
		s := &destinationSeries{
			attempts:  make([]prometheus.Counter, kinds),
			delivered: d.delivered.WithLabelValues(k.tenant, k.name),
			request:   d.requests.WithLabelValues(k.tenant, k.name),
			took:      d.took.WithLabelValues(k.tenant, k.name),
		}
		for kind := range s.attempts {
			s.attempts[kind] = d.attempts.WithLabelValues(k.tenant, k.name, outbox.Class(raffsyncv1.OutcomeKind(kind)))
		}
		return s
	}}
	return d
}

func (d *delivery) collectors() []prometheus.Collector {
	return []prometheus.Collector{d.attempts, d.delivered, d.requests, d.took, d.intents, d.intentsTook, d.finishes, d.finishesTook}
}

// Plan makes the series of every destination that is configured, so that they are 0
// before anything happens, and not missing.
func (m *Metrics) Plan(p *dispatch.Plan) {
	for _, d := range p.Destinations {
		m.delivery.destinations.of(destinationKey{d.Tenant, d.Name})
	}
}

// Dispatch counts what a dispatcher does.
func (m *Metrics) Dispatch() dispatch.Observer {
	d := &m.delivery
	return dispatch.Observer{
		Attempted: func(a dispatch.Attempted) {
			s, t := d.destinations.of(destinationKey{a.Destination.Tenant, a.Destination.Name}), a.Transition
			if kind := int(t.Kind); kind < len(s.attempts) {
				s.attempts[kind].Inc()
			}
			if !a.Sent.IsZero() {
				s.request.Observe(t.Duration.Seconds())
			}
			if t.To == outbox.StateDelivered {
				s.delivered.Inc()
				s.took.Observe(a.Open.Seconds())
			}
		},
		Intended: func(n int, took time.Duration) {
			d.intents.Observe(float64(n))
			d.intentsTook.Observe(took.Seconds())
		},
		Finished: func(n int, took time.Duration) {
			d.finishes.Observe(float64(n))
			d.finishesTook.Observe(took.Seconds())
		},
	}
}
