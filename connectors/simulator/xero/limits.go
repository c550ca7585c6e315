package xero

import (
	"net/http"
	"strconv"
	"time"
)

// limits of an organisation: calls in any minute, in any day, and at once.
type limits struct {
	perMinute, perDay, parallel int

	began   []time.Time // of the calls of the last day
	there   int
	refused int
}

// verdict on a call by the limits.
type verdict struct {
	problem    string // "minute", "day", or what a call too many at once is called
	retryAfter time.Duration
	minute     int // calls that are left
	day        int
}

// enter lets a call in, or says which limit it breaks.
func (l *limits) enter(now time.Time, concurrency string) verdict {
	for len(l.began) > 0 && now.Sub(l.began[0]) >= 24*time.Hour {
		l.began = l.began[1:]
	}
	lastMinute := 0
	for i := len(l.began) - 1; i >= 0 && now.Sub(l.began[i]) < time.Minute; i-- {
		lastMinute++
	}
	v := verdict{minute: max(l.perMinute-lastMinute-1, 0), day: max(l.perDay-len(l.began)-1, 0)}
	switch {
	case len(l.began) >= l.perDay:
		v.problem, v.retryAfter = "day", 24*time.Hour-now.Sub(l.began[0])
	case lastMinute >= l.perMinute:
		v.problem, v.retryAfter = "minute", time.Minute-now.Sub(l.began[len(l.began)-lastMinute])
	case l.there >= l.parallel:
		v.problem = concurrency
	default:
		l.began = append(l.began, now)
		l.there++
		return v
	}
	l.refused++
	return v
}

func (v verdict) headers(h http.Header) {
	h.Set("X-MinLimit-Remaining", strconv.Itoa(v.minute))
	h.Set("X-DayLimit-Remaining", strconv.Itoa(v.day))
	h.Set("X-AppMinLimit-Remaining", "9999")
	if v.problem == "" {
		return
	}
	h.Set("X-Rate-Limit-Problem", v.problem)
	if v.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((v.retryAfter+time.Second-1)/time.Second)))
	}
}
