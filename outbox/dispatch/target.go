package dispatch

import (
	"cmp"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
)

// Destination is a destination as configured, built and ready to send. What is zero
// takes the defaults of package outbox.
type Destination struct {
	ID          int32
	Tenant      string
	Name        string
	Connector   connectors.Destination
	Concurrency int           // most requests in flight
	Timeout     time.Duration // of one request
	Breaker     outbox.BreakerConfig
	// Rests: it cannot be sent to as configured. Nothing is read for it or admitted
	// until a plan says otherwise; its connector serves for its traits.
	Rests bool
}

func (d Destination) withDefaults() *Destination {
	d.Concurrency = cmp.Or(d.Concurrency, outbox.DefaultConcurrency)
	d.Timeout = cmp.Or(d.Timeout, outbox.DefaultTimeout)
	d.Breaker = cmp.Or(d.Breaker, outbox.DefaultBreaker)
	return &d
}

// Route is what a route says of the deliveries that it made.
type Route struct {
	Retry outbox.RetryConfig
	Pass  bool
}

// RouteKey names a route.
type RouteKey struct {
	Tenant, Name string
}

// Plan is everything that is configured, of every tenant. It is never changed: a new
// configuration is a new plan.
type Plan struct {
	Destinations map[int32]*Destination
	Routes       map[RouteKey]Route
}

// policy of a delivery. Where its route is gone, or says nothing, the defaults serve.
func (p *Plan) policy(d *outbox.Delivery) Policy {
	route := p.Routes[RouteKey{d.Tenant, d.Route}]
	policy := Policy{Retry: cmp.Or(route.Retry, outbox.DefaultRetry), Pass: route.Pass}
	if destination := p.Destinations[d.Destination]; destination != nil {
		policy.Traits = destination.Connector.Traits()
	}
	return policy
}

// passesLike tells whether the same routes let later events pass as in o.
func (p *Plan) passesLike(o *Plan) bool {
	for key, route := range p.Routes {
		if route.Pass != o.Routes[key].Pass {
			return false
		}
	}
	for key, route := range o.Routes {
		if route.Pass != p.Routes[key].Pass {
			return false
		}
	}
	return true
}

// target is a destination at work: what waits for it, and what holds it back. Only the
// scheduler's goroutine uses it.
type target struct {
	*Destination
	plan    *Plan
	breaker *breaker
	// off: it is not configured at present, or rests. Nothing is read for it or
	// admitted; what is on its way comes to its end.
	off bool

	ready  []*line // heads that may go, in the order in which they became ready
	refill []*line // lines whose next delivery is in the table
	wire   int     // between admission and the end of Send: these fill the slots
	behind int     // sent, and their outcome not yet stored
	// pacedUntil is until when the platform asked to be left alone.
	pacedUntil time.Time
}

func (t *target) passes(d *outbox.Delivery) bool {
	return t.plan.Routes[RouteKey{d.Tenant, d.Route}].Pass
}

// room is how many more ready heads are worth reading: enough are gathered that the
// slots never run dry between two reads.
func (t *target) room() int {
	if t.off {
		return 0
	}
	return max(max(4*t.Concurrency, 256)-len(t.ready), 0)
}

// free is how many more may be admitted now. What waits for its outcome to be stored
// is bounded too, so that a slow Postgres does not fill the memory.
func (t *target) free() int {
	if t.off {
		return 0
	}
	return min(t.Concurrency-t.wire, 4*t.Concurrency+256-t.behind-t.wire)
}
