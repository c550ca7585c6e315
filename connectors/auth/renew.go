package auth

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"raffsync/connectors/egress"
)

const (
	// requestTimeout bounds one request to a token endpoint, flightTimeout all that a
	// renewal does, and claimFor is how long nobody else does it meanwhile.
	requestTimeout = 10 * time.Second
	flightTimeout  = 30 * time.Second
	claimFor       = flightTimeout + 5*time.Second
	// recheck is how soon it is seen that a person has disconnected or connected anew.
	recheck = 15 * time.Second
	// While another replica renews, the store is asked this often.
	pollFirst, pollMost = 50 * time.Millisecond, 500 * time.Millisecond
	// A renewal that failed is not tried again sooner: a platform in trouble is not to be
	// asked for a token by each delivery.
	coolFirst, coolMost = time.Second, 30 * time.Second
	// mostSteps of a flight: a token, the calls after it, and once more where they took long.
	mostSteps = 4
	// unusedFor is after what time an unused connection is renewed whose end is not known.
	unusedFor = 7 * 24 * time.Hour
)

// renewer has what ends: it keeps it, renews it ahead of its end, and waits for others
// that do.
//
//	             Load: fresh ───────────────▶ used
//	             Load: ended or rejected
//	used ──▶      │                   ┌──── not granted: wait, Load again
//	              ▼                   │
//	            Claim ────────────────┤
//	                                  └──── granted ─▶ ask the platform ─▶ Save, or Release
//
// Within a process one flight does so at a time, whoever waits for it; over all of them,
// whoever has the claim.
type renewer struct {
	kind    string
	store   Store
	client  *egress.Client
	now     func() time.Time
	consent bool // there is nothing to renew before a person has agreed
	// get gets a token; old is what there was, zero where nothing was. Nil where the
	// credential is fixed, and only calls follow it.
	get        func(ctx context.Context, old grant, now time.Time) (grant, error)
	after      []call
	fixed      map[string]string
	authorize  func(*http.Request, grant)
	warnBefore time.Duration
	jitter     float64 // in [0, 1): so that replicas do not all renew at once

	mu          sync.Mutex
	held        grant
	version     int64
	has         bool
	checked     time.Time
	stale       int64 // a version that the platform rejected; 0: none
	early       int64 // a version that is to be renewed ahead of its time
	flight      *flight
	failed      *Error
	failedUntil time.Time
	cool        time.Duration
	// unsaved could not be kept, and was got by the claim of this version.
	unsaved   *grant
	unsavedOf int64
}

// flight is a renewal under way. Its result is there once done is closed.
type flight struct {
	done    chan struct{}
	grant   grant
	version int64
	err     *Error
}

func newRenewer(kind string, c Config) *renewer {
	return &renewer{kind: kind, store: c.Store, client: c.Client, now: c.Now, jitter: rand.Float64(), cool: coolFirst}
}

// current is what is in force, renewed first where it must be.
func (r *renewer) current(ctx context.Context) (grant, error) {
	r.mu.Lock()
	now := r.now()
	usable := r.has && r.usable(r.held, r.version, now)
	cooling := r.failed != nil && now.Before(r.failedUntil)
	if usable && (cooling || now.Before(r.checked.Add(recheck)) && now.Before(r.soft(r.held, r.version))) {
		defer r.mu.Unlock()
		return r.held, nil
	}
	if cooling {
		defer r.mu.Unlock()
		return grant{}, r.failed
	}
	f := r.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flight = f
		go r.fly(f) // ends within flightTimeout, whoever waits for it
	}
	if usable { // it is renewed ahead of its end: nobody waits
		defer r.mu.Unlock()
		return r.held, nil
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		if f.err != nil {
			return grant{}, f.err
		}
		return f.grant, nil
	case <-ctx.Done():
		return grant{}, asError(ctx.Err())
	}
}

// fly carries a renewal out. It belongs to no caller: one that gives up ends it for none
// of the others, and never between a platform's answer and its keeping.
func (r *renewer) fly(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), flightTimeout)
	defer cancel()
	g, version, err := r.obtain(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flight = nil
	now := r.now()
	if err != nil {
		f.err = asError(err)
		if f.err.Kind != revoked || !r.consent { // otherwise only the store is asked: a person may connect at any time
			r.failed, r.failedUntil = f.err, now.Add(r.cool)
			r.cool = min(2*r.cool, coolMost)
		}
		if f.err.Kind == revoked { // what is dropped is not used to its end
			r.has = false
		}
	} else {
		f.grant, f.version = g, version
		r.held, r.version, r.has, r.checked = g, version, true, now
		r.failed, r.cool = nil, coolFirst
	}
	close(f.done)
}

// reject says that the platform refused what is held, if that is what the request carried.
func (r *renewer) reject(carried func(grant) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has && carried(r.held) {
		if r.stale = r.version; r.version == 0 {
			r.has = false
		}
	}
}

// keepAlive renews what would be lost if nobody used it.
func (r *renewer) keepAlive(ctx context.Context) error {
	if !r.consent || r.store == nil {
		return nil
	}
	c, err := r.store.Load(ctx)
	if err != nil {
		return err
	}
	g, ok := decodeGrant(c.Secret, r.kind)
	if !ok || c.Revoked || g.Refresh == "" {
		return nil
	}
	unused := unusedFor
	if !g.RenewBy.IsZero() {
		unused = max(g.RenewBy.Sub(g.Since)/2, time.Hour)
	}
	if r.now().Sub(g.Since) < unused {
		return nil
	}
	r.mu.Lock()
	r.early = c.Version
	r.checked = time.Time{}
	r.mu.Unlock()
	_, err = r.current(ctx)
	return err
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
