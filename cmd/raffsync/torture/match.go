package torture

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// notSent are the rules by which an attempt says that no byte of it left.
var notSent = []string{
	"lease", "no address", "no connection", "no TLS", "time-out before sending", "cancelled before sending",
	"deduplication window", "prepare", "address not allowed", "request under way",
}

// question is how an attempt begins that asked the platform, and sent nothing.
const question = "asked about an earlier request"

// clockGrain is how much Postgres' idea of a moment and this process' may differ: they
// read one clock, and Postgres keeps microseconds.
const clockGrain = time.Millisecond

// matchRequests holds the requests for a delivery, as its platform saw them, against
// its attempts: each request needs an attempt of its own whose intent came before it.
// stale counts those that arrived while none was under way that they could belong to.
func matchRequests(requests []request, attempts []entry) (stale int, without string) {
	var intended []time.Time
	for _, a := range attempts {
		if a.StartedAt != nil && !slices.Contains(notSent, a.Rule) && !strings.HasPrefix(a.Reason, question) {
			intended = append(intended, *a.StartedAt)
		}
	}
	if len(requests) > len(intended) {
		return 0, fmt.Sprintf("%d requests, and %d attempts that may have sent one", len(requests), len(intended))
	}
	slices.SortFunc(intended, time.Time.Compare)
	requests = slices.SortedFunc(slices.Values(requests), func(a, b request) int { return a.At.Compare(b.At) })
	for i, q := range requests {
		if q.At.Add(clockGrain).Before(intended[i]) {
			return 0, fmt.Sprintf("request %d arrived %s before its intent", i+1, intended[i].Sub(q.At))
		}
	}
	return staleAmong(requests, attempts), ""
}

// staleAmong gives each request, in the order of arrival, an attempt that was under way
// then, the one that was over first, and counts those for which there is none left.
func staleAmong(requests []request, attempts []entry) (stale int) {
	under := slices.DeleteFunc(slices.Clone(attempts), func(a entry) bool { return a.StartedAt == nil })
	slices.SortFunc(under, func(a, b entry) int { return a.At.Compare(b.At) })
	for _, q := range requests {
		i := slices.IndexFunc(under, func(a entry) bool {
			return !q.At.Add(clockGrain).Before(*a.StartedAt) && !q.At.Add(-clockGrain).After(a.At)
		})
		if i < 0 {
			stale++
			continue
		}
		under = slices.Delete(under, i, i+1)
	}
	return stale
}
