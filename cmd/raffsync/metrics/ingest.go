package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"raffsync/broker"
)

// ingest is what a broker does.
type ingest struct {
	events       *prometheus.CounterVec
	acknowledge  prometheus.Histogram
	commit       prometheus.Histogram
	commitEvents prometheus.Histogram
	failures     prometheus.Counter

	sources *children[sourceKey, *sourceSeries]
}

type sourceKey struct{ tenant, source string }

type sourceSeries struct {
	accepted, duplicates, conflicts, invalid, unrouted, quarantined prometheus.Counter
}

func newIngest() ingest {
	in := ingest{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raffsync_ingest_events_total",
			Help: "Events that sources sent, by what became of them: accepted, duplicate, conflict, invalid, unrouted, or quarantined (a webhook of which no event can be made). An event that is sent again is counted again.",
		}, []string{"tenant", "source", "status"}),
		acknowledge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raffsync_ingest_acknowledge_duration_seconds",
			Help: "Time from a batch's arrival until its acknowledgement was handed to gRPC.", Buckets: seconds(),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raffsync_ingest_commit_duration_seconds",
			Help: "Time that one commit of events took, failed ones too.", Buckets: seconds(),
		}),
		commitEvents: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "raffsync_ingest_commit_events",
			Help: "Events in one commit.", Buckets: batches(8192),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "raffsync_ingest_commit_failures_total",
			Help: "Commits of events that failed or whose outcome is unclear. Nothing of them was acknowledged.",
		}),
	}
	in.sources = &children[sourceKey, *sourceSeries]{make: func(k sourceKey) *sourceSeries {
		of := func(status string) prometheus.Counter { return in.events.WithLabelValues(k.tenant, k.source, status) }
		return &sourceSeries{of("accepted"), of("duplicate"), of("conflict"), of("invalid"), of("unrouted"), of("quarantined")}
	}}
	return in
}

func (in *ingest) collectors() []prometheus.Collector {
	return []prometheus.Collector{in.events, in.acknowledge, in.commit, in.commitEvents, in.failures}
}

// Broker counts what a broker does.
func (m *Metrics) Broker() broker.Observer {
	in := &m.ingest
	return broker.Observer{
		Events: func(tenant, source string, c broker.Counts) {
			s := in.sources.of(sourceKey{tenant, source})
			add(s.accepted, c.Accepted)
			add(s.duplicates, c.Duplicates)
			add(s.conflicts, c.Conflicts)
			add(s.invalid, c.Invalid)
			add(s.unrouted, c.Unrouted)
			add(s.quarantined, c.Quarantined)
		},
		Acknowledged: func(took time.Duration) { in.acknowledge.Observe(took.Seconds()) },
		Committed: func(events int, took time.Duration, err error) {
			in.commit.Observe(took.Seconds())
			in.commitEvents.Observe(float64(events))
			if err != nil {
				in.failures.Inc()
			}
		},
	}
}

func add(c prometheus.Counter, n int) {
	if n > 0 {
		c.Add(float64(n))
	}
}
