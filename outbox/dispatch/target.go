package dispatch

import (
	"cmp"
	"slices"
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
	Concurrency int           // most requests in flight, of all replicas
	Every       time.Duration // between two requests at an even rate; 0: any
	Burst       int           // requests that may go at once after a rest
	Quota       int64         // requests of a period; 0: any
	Period      string        // of the quota: "hour", "day" or "month"
	Timeout     time.Duration // of one request
	Breaker     outbox.BreakerConfig
	// AuthorisationProbe is how often one request is tried while the platform has taken
	// the authorisation away.
	AuthorisationProbe time.Duration
	// Class of whatever needs action at it; empty: that of the outcome.
	Class string
	// Rests: it cannot be sent to as configured. Nothing is read for it or admitted
	// until a plan says otherwise; its connector serves for its traits.
	Rests bool
}

// Limits are those of all replicas together.
func (d *Destination) Limits() outbox.Limits {
	return outbox.Limits{Concurrency: d.Concurrency, Every: d.Every, Burst: d.Burst, Quota: d.Quota, Period: d.Period}
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
	// Version tells which snapshot an event is, where the route names a version; nil where
	// it names none. ok is false where the event says nothing of it.
	Version func(*outbox.Event) (v outbox.SnapshotVersion, ok bool, err error)
	// Steps that its deliveries go through, in this order; none: one without a name.
	Steps []Step
	// Exposure is what a delivery is worth while it is held; nil where the route does not
	// say.
	Exposure func(*outbox.Event) *outbox.Exposure
	// Shadow: its deliveries are prepared and end, and nothing is sent; see [Route.shadows].
	Shadow bool
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
	// Outlets have time zones.
	Outlets map[OutletKey]*time.Location
}

// policy of a delivery. Where its route is gone, or says nothing, the defaults serve.
func (p *Plan) policy(d *outbox.Delivery) Policy {
	route := p.Routes[RouteKey{d.Tenant, d.Route}]
	policy := Policy{Retry: cmp.Or(route.Retry, outbox.DefaultRetry), Pass: route.Pass, Version: route.Version, Steps: route.Steps, Exposure: route.Exposure}
	if destination := p.Destinations[d.Destination]; destination != nil {
		policy.Traits, policy.Class = destination.Connector.Traits(), destination.Class
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
	gate    *gate  // used by its senders too
	slots   *slots // and this
	// off: it is not configured at present, or rests. Nothing is read for it or
	// admitted; what is on its way comes to its end.
	off bool
	// paused: an operator holds it, which here comes to the same. forced is how an
	// operator holds its breaker.
	paused bool
	// lost: its platform has taken the authorisation away, which comes to the same, but
	// for so many probes. The next one comes at probeAt.
	lost     bool
	probes   int
	probeAt  time.Time
	forced   outbox.ControlState
	controls controls

	share  share
	health health

	// Heads that may go, in the order in which they became ready: those that were never
	// tried, and the others, so that no retry that waits for the budget is in their way.
	ready, retries []*line
	// spare are lines that rest, since there is no room for more retries in memory.
	spare []*line
	// shades are heads that are in shadow, while others of them are prepared.
	shades    []*line
	second    bool    // a retry's turn
	refill    []*line // lines whose next delivery is in the table
	shadowing int     // prepared in shadow, and their outcome not yet stored
	wire      int     // between admission and the end of Send: those in the slots, and those on their way there
	trips     trips
	behind    int // sent, and their outcome not yet stored
	restraint restraint
}

func (t *target) passes(d *outbox.Delivery) bool {
	return t.plan.Routes[RouteKey{d.Tenant, d.Route}].Pass
}

// stopped: nothing is read for it or admitted.
func (t *target) stopped() bool { return t.off || t.paused || t.lost && t.probes == 0 }

// room is how many more ready heads are worth reading: enough are gathered that the
// slots never run dry between two reads.
func (t *target) room() int {
	if t.stopped() {
		return 0
	}
	return max(t.most()-len(t.ready)-len(t.shades), 0)
}

// retryRoom is the same for heads that were tried before.
func (t *target) retryRoom() int {
	if t.stopped() {
		return 0
	}
	return max(t.most()-len(t.retries), 0)
}

// dueRoom tells whether there is room for what is due: heads that were tried before, and
// those that were released without ever being tried. Reading ahead leaves that room.
func (t *target) dueRoom() bool { return t.retryRoom() > 0 && len(t.ready) < 2*t.most() }

func (t *target) most() int { return max(4*t.Concurrency, 256) }

// free is how many more may be admitted now. What waits for its outcome to be stored
// is bounded too, so that a slow Postgres does not fill the memory.
func (t *target) free(now time.Time) int {
	if t.stopped() {
		return 0
	}
	places := t.places(now, t.share.slots)
	if t.lost {
		return min(t.probes, places-t.wire)
	}
	return min(places+t.ahead(now, places)-t.wire, 4*t.Concurrency+2*finishMany-t.behind-t.wire)
}

// offer takes up a head that may go.
func (t *target) offer(l *line) {
	if l.delivery.Requests == 0 {
		t.ready = append(t.ready, l)
	} else if len(t.retries) < 4*t.most() {
		t.retries = append(t.retries, l)
	} else {
		t.spare = append(t.spare, l)
		l.rest(resting)
	}
}

// next is the head that goes next, where one may: a retry every second time, as far as
// the budget goes.
func (t *target) next() *line {
	retries := len(t.retries) > 0 && (t.share.retries > 0 || !t.failing())
	switch {
	case retries && (t.second || len(t.ready) == 0):
		return t.retries[0]
	case len(t.ready) > 0:
		return t.ready[0]
	}
	return nil
}

// take takes the head that goes next out of its list.
func (t *target) take(l *line) {
	if len(t.ready) > 0 && t.ready[0] == l {
		t.ready, t.second = t.ready[1:], true
		return
	}
	t.retries, t.second = t.retries[1:], false
	if len(t.spare) > 0 && len(t.retries) < t.most() {
		for _, l := range t.spare[:min(len(t.spare), t.most())] {
			if l.state == resting && l.queue.lines[l.key] == l {
				l.fetch()
			}
		}
		t.spare = t.spare[min(len(t.spare), t.most()):]
	}
}

// drop takes lines out of the lists of those that may go.
func (t *target) drop(which func(*line) bool) {
	t.ready = slices.DeleteFunc(t.ready, which)
	t.retries = slices.DeleteFunc(t.retries, which)
	t.shades = slices.DeleteFunc(t.shades, which)
}
