package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"raffsync/connectors/hooks"
)

// received is what receivers of webhooks do.
type received struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	duration prometheus.Histogram
	results  *children[resultKey, prometheus.Counter]
}

type resultKey struct{ tenant, source, result string }

func newReceived() received {
	r := received{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raffsync_hooks_requests_total",
			Help: "Requests to receivers of webhooks, by what became of them: accepted, duplicate, conflict, unrouted, quarantined and ping were answered with 200, untrusted with 401, unavailable with 503, unknown with 404, method with 405; broken ended before they were read.",
		}, []string{"tenant", "source", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raffsync_hooks_untrusted_total",
			Help: "Webhooks whose signature does not prove whose they are, by why: missing, doubled, malformed, stale or wrong.",
		}, []string{"tenant", "source", "why"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raffsync_hooks_duration_seconds",
			Help: "Time from the headers of a webhook until its answer was known, of those that were answered with 200.", Buckets: seconds(),
		}),
	}
	r.results = &children[resultKey, prometheus.Counter]{make: func(k resultKey) prometheus.Counter {
		return r.requests.WithLabelValues(k.tenant, k.source, k.result)
	}}
	return r
}

func (r *received) collectors() []prometheus.Collector {
	return []prometheus.Collector{r.requests, r.refused, r.duration}
}

// Hooks counts what receivers of webhooks do.
func (m *Metrics) Hooks() func(hooks.Received) {
	r := &m.hooks
	return func(one hooks.Received) {
		r.results.of(resultKey{one.Tenant, one.Source, one.Result}).Inc()
		if one.Distrust != "" {
			r.refused.WithLabelValues(one.Tenant, one.Source, string(one.Distrust)).Inc()
		}
		switch one.Result {
		case "accepted", "duplicate", "conflict", "unrouted", "quarantined":
			r.duration.Observe(one.Took.Seconds())
		}
	}
}
