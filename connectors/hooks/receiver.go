package hooks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Bounds, where [ReceiverConfig] is silent.
const (
	// MaxBodyBytes is the most bytes of an event's data: the contract's default.
	MaxBodyBytes = 512 << 10
	// maxReadBytes of a body are read to verify its signature, and not kept. A longer
	// one cannot be verified.
	maxReadBytes = 64 << 20
	// maxHeldBytes is how much of bodies is held at once, maxAtWork how many webhooks are
	// at work. One more is asked to come again.
	maxHeldBytes = 128 << 20
	maxAtWork    = 1024
	// readTimeout is how long a body may take to come.
	readTimeout = 15 * time.Second
	// durableTimeout is how long a webhook waits to be durable: Shopify, the least
	// patient sender that is known, gives up after 5 s.
	durableTimeout = 4 * time.Second
	// retryAfter is how many seconds senders are asked to stay away.
	retryAfter = "5"
)

// ReceiverConfig of a [Receiver].
type ReceiverConfig struct {
	Door Door
	Log  *slog.Logger
	// Full says why nothing may be taken in now; empty where it may. It must not block.
	Full func() string
	// Observe is told of each request. It must not block. May be nil.
	Observe func(Received)
	// Now is the clock that signed times are held against. time.Now where it is nil.
	Now func() time.Time
}

// Received is what became of a request.
type Received struct {
	// Tenant and Source are empty where the address leads to no source.
	Tenant, Source string
	// Result is accepted, duplicate, conflict, unrouted, quarantined, ping, untrusted,
	// unavailable, unknown, method or broken.
	Result string
	// Distrust is why, where the result is untrusted.
	Distrust Distrust
	Took     time.Duration
}

// Receiver serves /hooks/{source} and /hooks/{tenant}/{source}. Make one with
// [NewReceiver].
type Receiver struct {
	config     ReceiverConfig
	publishers publishers
	sources    atomic.Pointer[directory]
	draining   atomic.Bool
	held       atomic.Int64 // bytes of bodies
	atWork     atomic.Int64
	warned     warnings
	nobody     *Source // whose key is known to nobody
}

// directory is who is received. By name alone only those whose name no other tenant uses.
type directory struct {
	byTenant map[string]*Source // tenant/name
	byName   map[string]*Source
}

// NewReceiver starts nothing.
func NewReceiver(c ReceiverConfig) *Receiver {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Full == nil {
		c.Full = func() string { return "" }
	}
	if c.Observe == nil {
		c.Observe = func(Received) {}
	}
	r := &Receiver{config: c, publishers: publishers{door: c.Door, log: c.Log}, nobody: newNobody()}
	r.sources.Store(&directory{})
	return r
}

// SetSources says who is received from now on. Those that were and are not named any more
// get 404.
func (r *Receiver) SetSources(sources []*Source) {
	d := &directory{byTenant: make(map[string]*Source), byName: make(map[string]*Source)}
	wanted := make(map[seat]bool)
	for _, s := range sources {
		d.byTenant[s.Tenant+"/"+s.Name] = s
		if _, taken := d.byName[s.Name]; taken {
			d.byName[s.Name] = nil // several tenants have one of this name
		} else {
			d.byName[s.Name] = s
		}
		wanted[s.seat()] = true
	}
	r.sources.Store(d)
	r.publishers.keep(wanted)
}

// Drain has every webhook that comes from now on come again later, to another process.
// Those that are at work are answered.
func (r *Receiver) Drain() { r.draining.Store(true) }

// Close ends the streams to the broker. What was not acknowledged was answered to nobody.
func (r *Receiver) Close() {
	r.Drain()
	r.publishers.close()
}

// Register adds the addresses to a mux.
func (r *Receiver) Register(mux *http.ServeMux) {
	mux.HandleFunc("/hooks/{source}", func(w http.ResponseWriter, q *http.Request) {
		r.serve(w, q, r.sources.Load().byName[q.PathValue("source")])
	})
	mux.HandleFunc("/hooks/{tenant}/{source}", func(w http.ResponseWriter, q *http.Request) {
		r.serve(w, q, r.sources.Load().byTenant[q.PathValue("tenant")+"/"+q.PathValue("source")])
	})
}

// answer is what a sender is told: who is proven to be the source may know.
type answer struct {
	status int
	Result string `json:"status"`
	Event  string `json:"event,omitempty"`
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (r *Receiver) serve(w http.ResponseWriter, q *http.Request, s *Source) {
	began := time.Now()
	a, why := r.receive(w, q, s)
	received := Received{Result: a.Result, Distrust: why, Took: time.Since(began)}
	if s != nil {
		received.Tenant, received.Source = s.Tenant, s.Name
	}
	r.config.Observe(received)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch a.status {
	case 0: // the connection is broken
		panic(http.ErrAbortHandler)
	case http.StatusOK:
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = json.NewEncoder(w).Encode(a)
		return
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, strings.ToLower(http.StatusText(a.status))+"\n")
}

var unavailable = answer{status: http.StatusServiceUnavailable, Result: "unavailable"}

// receive does the work, and returns what to answer.
func (r *Receiver) receive(w http.ResponseWriter, q *http.Request, s *Source) (answer, Distrust) {
	if q.Method != http.MethodPost {
		return answer{status: http.StatusMethodNotAllowed, Result: "method"}, trusted
	}
	if r.draining.Load() || r.config.Full() != "" {
		return unavailable, trusted
	}
	// Who asks for a source that is not there waits as long as for one that is.
	proving := s
	if s == nil {
		proving = r.nobody
	}
	check, distrust := proving.verifier.begin(q.Header, r.config.Now())
	var held int64
	defer func() { r.held.Add(-held) }()
	take := func(n int64) bool {
		if r.held.Add(n) > maxHeldBytes {
			r.held.Add(-n)
			return false
		}
		held += n
		return true
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTimeout)) // where it is not supported, the server's own holds
	digest := sha256.New()
	body, err := readBody(q.Body, MaxBodyBytes, take, io.MultiWriter(check, digest))
	_ = control.SetReadDeadline(time.Time{})
	genuine := check.holds() && distrust == trusted
	switch {
	case errors.Is(err, errNoRoom):
		return unavailable, trusted
	case s == nil:
		return answer{status: http.StatusNotFound, Result: "unknown"}, trusted
	case errors.Is(err, errTooLong):
		return r.untrusted(q, s, Malformed), Malformed
	case err != nil:
		return answer{Result: "broken"}, trusted
	case s.isPing(q, &body):
		return answer{status: http.StatusOK, Result: "ping"}, trusted
	case !genuine:
		distrust = cmp.Or(distrust, Wrong)
		return r.untrusted(q, s, distrust), distrust
	}
	if r.atWork.Add(1) > maxAtWork {
		r.atWork.Add(-1)
		return unavailable, trusted
	}
	defer r.atWork.Add(-1)
	ctx, cancel := context.WithTimeout(q.Context(), durableTimeout)
	defer cancel()
	return r.take(ctx, q, s, &body, [sha256.Size]byte(digest.Sum(nil))), trusted
}

// take makes an event of a webhook that is the source's, or quarantines it, and has it
// durable.
func (r *Receiver) take(ctx context.Context, q *http.Request, s *Source, body *raw, sum [sha256.Size]byte) answer {
	p, err := r.publishers.of(s)
	if err != nil {
		return unavailable
	}
	event, err := s.eventOf(ctx, q.Header, q.URL.RawQuery, body, sum)
	var why *Nonsense
	if err == nil {
		var result client.Result
		result, err = p.publish(ctx, event)
		if err == nil && result.Status != raffsyncv1.Status_STATUS_INVALID {
			return answer{status: http.StatusOK, Result: words[result.Status], Event: event.GetId()}
		}
		why = invalid(result, err)
	} else {
		errors.As(err, &why)
	}
	if why == nil || ctx.Err() != nil {
		return unavailable
	}
	event = s.quarantined(q, body, sum, why)
	if _, err := p.publish(ctx, event); err != nil {
		return unavailable
	}
	return answer{status: http.StatusOK, Result: "quarantined", Event: event.GetId(), Code: why.Code, Reason: why.Reason}
}

var words = map[raffsyncv1.Status]string{
	raffsyncv1.Status_STATUS_ACCEPTED:  "accepted",
	raffsyncv1.Status_STATUS_DUPLICATE: "duplicate",
	raffsyncv1.Status_STATUS_CONFLICT:  "conflict",
	raffsyncv1.Status_STATUS_UNROUTED:  "unrouted",
}

// invalid says what is wrong with an event that the contract does not allow; nil where
// nothing is, and it is the broker that cannot take it.
func invalid(result client.Result, err error) *Nonsense {
	var refused *client.EventError
	switch {
	case errors.As(err, &refused):
		return &Nonsense{"EVENT_INVALID", refused.Reason}
	case err != nil || result.Status != raffsyncv1.Status_STATUS_INVALID:
		return nil
	case len(result.Violations) == 0:
		return &Nonsense{"EVENT_INVALID", result.Fix}
	}
	v := result.Violations[0]
	return &Nonsense{"EVENT_INVALID", v.GetField() + " " + v.GetMessage()}
}

// eventOf makes the event of a webhook. Its error is a [*Nonsense].
func (s *Source) eventOf(ctx context.Context, h http.Header, query string, body *raw, sum [sha256.Size]byte) (*raffsyncv1.Event, error) {
	data, err := decodeBody(h, body, MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	m := &message{headers: headersOf(h), query: queryOf(query), digest: hex.EncodeToString(sum[:]), body: data}
	if s.format == formatCloudEvents {
		if err := m.open(h.Get("Content-Type")); err != nil {
			return nil, err
		}
	}
	return s.extract(ctx, m)
}

// untrusted refuses, and leaves minimal evidence: a count, and a line now and then.
func (r *Receiver) untrusted(q *http.Request, s *Source, why Distrust) answer {
	if n := r.warned.count(s.seat(), time.Now()); n > 0 {
		r.config.Log.WarnContext(q.Context(), "webhooks are refused: their signature does not prove whose they are",
			"tenant", s.Tenant, "source", s.Name, "why", string(why), "refused", n)
	}
	return answer{status: http.StatusUnauthorized, Result: "untrusted"}
}
