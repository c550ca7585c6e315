package auth

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"raffsync/connectors"
)

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
