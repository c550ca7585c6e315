package outbox

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Rate is a number of requests in a unit of time: "8/s", "60/m", "500/h"; empty means
// any.
type Rate string

// Quota is a number of requests in a period of the calendar, by UTC: "5000/day",
// "200/hour", "100000/month"; empty means any.
type Quota string

var (
	rateForm  = regexp.MustCompile(`^([1-9][0-9]{0,5})/(s|m|h)$`)
	quotaForm = regexp.MustCompile(`^([1-9][0-9]{0,11})/(hour|day|month)$`)
)

// Every is the time between two requests at an even rate; 0 where there is no limit.
func (r Rate) Every() (time.Duration, error) {
	if r == "" {
		return 0, nil
	}
	parts := rateForm.FindStringSubmatch(string(r))
	if parts == nil {
		return 0, fmt.Errorf("%q is no rate; expected a number from 1 to 999999, a slash and s, m or h, as 8/s", string(r))
	}
	n, _ := strconv.Atoi(parts[1]) // digits only
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[parts[2]]
	return unit / time.Duration(n), nil
}

// Limit is the number of requests of a period, and the period: "hour", "day" or
// "month"; 0 where there is no limit.
func (q Quota) Limit() (n int64, period string, err error) {
	if q == "" {
		return 0, "", nil
	}
	parts := quotaForm.FindStringSubmatch(string(q))
	if parts == nil {
		return 0, "", fmt.Errorf("%q is no quota; expected a number from 1, a slash and hour, day or month, as 5000/day", string(q))
	}
	n, err = strconv.ParseInt(parts[1], 10, 64)
	return n, parts[2], err
}

// Limits are what a destination can bear of all replicas together.
type Limits struct {
	Concurrency int           // requests in flight
	Every       time.Duration // between two requests at an even rate; 0: any
	Burst       int           // requests that may go at once after a rest; at least 1
	Quota       int64         // requests of a period; 0: any
	Period      string        // "hour", "day" or "month", by UTC
}

// periodEnd is when the period of the calendar ends that now lies in.
func periodEnd(period string, now time.Time) time.Time {
	now = now.UTC()
	switch period {
	case "hour":
		return now.Truncate(time.Hour).Add(time.Hour)
	case "month":
		return time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	default:
		return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
	}
}
