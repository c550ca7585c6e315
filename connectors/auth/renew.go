package auth

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"raffsync/connectors"
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

// obtain loads what there is, and renews it, one step a claim, until it is fresh.
func (r *renewer) obtain(ctx context.Context) (grant, int64, error) {
	if r.store == nil {
		return grant{}, 0, &Error{Kind: revoked, Reason: "there is no database to keep the connection in"}
	}
	steps := 0
	for wait := pollFirst; ; {
		c, err := r.store.Load(ctx)
		if err != nil {
			return grant{}, 0, err
		}
		g, ok := decodeGrant(c.Secret, r.kind)
		now := r.now()
		r.mu.Lock()
		usable := ok && r.usable(g, c.Version, now)
		fresh := usable && now.Before(r.soft(g, c.Version))
		dead := g.Refresh == "" && (r.stale != 0 && c.Version == r.stale || !g.Expires.IsZero() && !now.Before(g.Expires.Add(-margin(g))))
		r.mu.Unlock()
		switch {
		case fresh:
			return g, c.Version, nil
		case r.consent && c.Lost != "":
			return grant{}, 0, &Error{Kind: revoked, Reason: c.Lost}
		case r.consent && !ok:
			return grant{}, 0, &Error{Kind: revoked, Reason: "not connected: run raffsync connect"}
		case r.consent && c.Revoked:
			return grant{}, 0, &Error{Kind: revoked, Reason: c.Problem}
		case r.consent && dead:
			return grant{}, 0, &Error{Kind: revoked, Reason: "the token has ended or was rejected, and the platform gave no refresh token: run raffsync connect"}
		case steps == mostSteps:
			return grant{}, 0, &Error{Kind: transient, Reason: "what the platform gives ends at once"}
		}
		claim, err := r.store.Claim(ctx, c.Version, claimFor)
		if err != nil {
			return grant{}, 0, err
		}
		if claim.Granted {
			steps++
			kept, version, err := r.step(ctx, claim, g)
			switch {
			case errors.Is(err, connectors.ErrClaimLost): // there is something newer
			case err != nil:
				return grant{}, 0, err
			case version == 0:
				return kept, 0, nil // it can be used, though it could not be kept
			}
			continue
		}
		if usable {
			return g, c.Version, nil // the other one renews ahead of time
		}
		if err := pause(ctx, wait); err != nil {
			return grant{}, 0, err
		}
		wait = min(2*wait, pollMost)
	}
}

// step does what comes next: get a token, or make the calls after it.
func (r *renewer) step(ctx context.Context, claim connectors.Claim, old grant) (grant, int64, error) {
	if g, ok := r.left(claim.Version); ok {
		return r.save(ctx, claim, g)
	}
	now := r.now()
	r.mu.Lock()
	token := r.tokenEnded(old, claim.Version, now)
	r.mu.Unlock()
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	g := old
	var err error
	if token && r.get != nil {
		g, err = r.get(asking, old, now)
		g.Complete = len(r.after) == 0
	} else {
		g, err = r.follow(asking, old, now)
	}
	if err != nil {
		return grant{}, 0, r.release(ctx, claim, asError(err))
	}
	g.Kind = r.kind
	return r.save(ctx, claim, g)
}

// follow makes the calls after the token. Each sees what those before it yielded.
func (r *renewer) follow(ctx context.Context, g grant, now time.Time) (grant, error) {
	if r.get == nil { // there is no token whose age would count
		g.Since = now
	}
	g.Until = time.Time{}
	if g.Variables = maps.Clone(g.Variables); g.Variables == nil {
		g.Variables = make(map[string]string)
	}
	for i := range r.after {
		y, err := r.after[i].run(ctx, r.client, g.all(r.fixed), func(request *http.Request) { r.authorize(request, g) })
		if err != nil {
			return grant{}, err
		}
		maps.Copy(g.Variables, y.variables)
		if end := now.Add(y.expires); y.expires > 0 && (g.Until.IsZero() || end.Before(g.Until)) {
			g.Until = end
		}
	}
	g.Complete = true
	return g, nil
}

func (r *renewer) save(ctx context.Context, claim connectors.Claim, g grant) (grant, int64, error) {
	c := r.connection(g)
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		version, err := r.store.Save(ctx, claim, c)
		if err == nil || errors.Is(err, connectors.ErrClaimLost) {
			r.keep(nil, 0)
			return g, version, err
		}
		// The platform may have made the old refresh token worthless: this one must not get
		// lost for a moment's trouble with the database.
		if pause(ctx, wait) != nil {
			r.keep(&g, claim.Version)
			return g, 0, nil
		}
	}
}

// connection is g as it is kept.
func (r *renewer) connection(g grant) connectors.Connection {
	c := connectors.Connection{Secret: g.encode(), ExpiresAt: g.end(), RenewBy: g.RenewBy}
	if !g.RenewBy.IsZero() {
		c.WarnAt = g.RenewBy.Add(-r.warnBefore)
	}
	return c
}

func (r *renewer) keep(g *grant, of int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved, r.unsavedOf = g, of
}

// left is what an earlier flight got by a claim of this version and could not keep.
func (r *renewer) left(of int64) (grant, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsaved == nil || r.unsavedOf != of {
		return grant{}, false
	}
	return *r.unsaved, true
}

// release ends a claim that brought nothing, and says why.
func (r *renewer) release(ctx context.Context, claim connectors.Claim, why *Error) error {
	if why.Kind == revoked && !claim.Interrupted.IsZero() && r.consent {
		why = &Error{Kind: revoked, Reason: why.Reason + "; the answer to a renewal at " + claim.Interrupted.UTC().Format("2006-01-02 15:04:05") +
			" UTC was lost, and with it the newer refresh token: run raffsync connect"}
	}
	failure := connectors.Failure{Problem: why.Reason, Revoked: why.Kind == revoked, Unknown: why.unknown}
	if err := r.store.Release(ctx, claim, failure); err != nil && !errors.Is(err, connectors.ErrClaimLost) {
		return why // the claim ends by itself
	}
	return why
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

// usable tells whether g can be used at all. The margin is for clocks that differ, and for
// the way of a request.
func (r *renewer) usable(g grant, version int64, now time.Time) bool {
	return g.Complete && (r.stale == 0 || version != r.stale) && (g.end().IsZero() || now.Before(g.end().Add(-margin(g))))
}

// soft is when g is to be renewed, ahead of its end.
func (r *renewer) soft(g grant, version int64) time.Time {
	switch {
	case r.early != 0 && version == r.early:
		return time.Time{}
	case g.end().IsZero() || r.consent && g.Refresh == "":
		return r.now().Add(time.Hour)
	}
	lead := min(g.end().Sub(g.Since)/5, 5*time.Minute)
	return g.end().Add(-margin(g) - time.Duration((0.2+0.8*r.jitter)*float64(lead)))
}

// tokenEnded tells whether the token itself must be got anew, and not only what follows it.
func (r *renewer) tokenEnded(g grant, version int64, now time.Time) bool {
	return g.Since.IsZero() || r.stale != 0 && version == r.stale || r.early != 0 && version == r.early ||
		!g.Expires.IsZero() && !now.Before(r.soft(grant{Since: g.Since, Expires: g.Expires, Refresh: g.Refresh}, version))
}

func margin(g grant) time.Duration { return min(g.end().Sub(g.Since)/10, 30*time.Second) }

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
