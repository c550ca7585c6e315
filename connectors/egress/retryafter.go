package egress

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ParseRetryAfter reads how long the sender of h asks to be left alone, at most
// limit: seconds, whole or with a fraction (Shopify sends "2.0"), or an HTTP date
// (RFC 9110, section 10.2.3) counted from now.
//
// A header that is missing, unreadable, negative, zero or in the past says
// nothing usable: ok is false, and the caller's own backoff serves. Where ok is
// true, 0 < wait ≤ limit.
func ParseRetryAfter(h http.Header, now time.Time, limit time.Duration) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	} else if wait, ok = parseSeconds(value, limit); !ok {
		return 0, false
	}
	wait = min(wait, limit)
	if wait <= 0 {
		return 0, false
	}
	return wait, true
}

// parseSeconds reads digits with an optional fraction. A number too large for a
// duration is limit.
func parseSeconds(value string, limit time.Duration) (time.Duration, bool) {
	whole, fraction, dotted := strings.Cut(value, ".")
	if whole == "" || dotted && fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || seconds >= limit.Seconds() {
		return limit, true
	}
	return time.Duration(seconds * float64(time.Second)), true
}
