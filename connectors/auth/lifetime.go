package auth

import "time"

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
