package outbox

import (
	"slices"
	"time"
)

// Throttle is what all replicas share of a destination: its breaker, and what is left
// to lease of its limits.
type Throttle struct {
	Destination int32
	Breaker     string // CLOSED, OPEN, HALF_OPEN
	// Turn rises at each change of Breaker: who knows an older one knows too little to
	// change it.
	Turn   int32
	Reason string
	Since  time.Time
	// ProbeAt is when an open breaker may be tried. One replica, the Prober, then does so,
	// until ProbeUntil.
	ProbeAt    time.Time
	Prober     int64
	ProbeUntil time.Time
	// PacedUntil is until when nothing is sent, since the platform asked for that.
	PacedUntil time.Time

	rateAt, rateFreeAt        time.Time
	quotaLimit, quotaUsed     int64
	quotaUntil                time.Time
	retryFrom                 time.Time
	retryFirsts, retryGranted int64
}

// States of a breaker.
const (
	BreakerClosed   = "CLOSED"
	BreakerOpen     = "OPEN"
	BreakerHalfOpen = "HALF_OPEN"
)

// Ask is what a replica wants of a destination.
type Ask struct {
	Destination int32
	Tenant      string
	Limits

	// Slots are those that it holds, and will not exceed before the answer; Wanted is how
	// many it could use. Busy: all are in use, and something waits for one.
	Slots, Wanted int
	Busy          bool
	// Requests is how many it has a use for beyond those leased, under the rate and the
	// quota.
	Requests, Units int
	// Failing: retries are under the budget. Firsts are the first attempts made since it
	// last asked, Retries how many wait for the budget.
	Failing         bool
	Firsts, Retries int

	// Breaker is how its own stands, by what came of its own requests, since it learnt
	// of Turn; Reason is why. Probe: it has something to try an open one with.
	Breaker string
	Turn    int32
	Reason  string
	Probe   bool
	// PacedUntil is until when the platform wants to be left alone, as far as this replica
	// was told, by the database's clock.
	PacedUntil time.Time
	// OpenFor is how long a breaker stays open, ProbeFor how long its probes may take.
	OpenFor, ProbeFor time.Duration
}

// Grant is the answer to an [Ask]. It is good for as long as the replica's lease.
type Grant struct {
	Throttle
	// Slots that it holds from now on; Fair is what they should come down to, so that
	// others get theirs.
	Slots, Fair int
	// Requests that it may make by the rate, the first at First and each later one
	// Every after the one before. RateFreeAt is when there may be more.
	Requests   int
	First      time.Time
	RateFreeAt time.Time
	// Units of the quota, good until QuotaUntil. QuotaOver: there are no more until then.
	Units      int
	QuotaUntil time.Time
	QuotaOver  bool
	// Retries that it may make by the budget.
	Retries int
}

const (
	// rateAhead is how far ahead of time requests are leased, rateBlock how much of it in
	// one block: short, so that what a dead replica had is soon made up for.
	rateAhead = 500 * time.Millisecond
	rateBlock = 250 * time.Millisecond
	// quotaBlock is the most units leased at once. A replica that stops loses what it has
	// left of them.
	quotaBlock = 32
	// The budget of retries counts over ten seconds: a tenth of the first attempts, or one a
	// second where that is more. Short, since what a burst of first attempts has earned is
	// spent at once, and then nothing is tried until the next window.
	retryWindow = 10 * time.Second
	retryShare  = 10
)

// PacedGrain is how much longer a platform must want to be left alone for that to be
// written: replicas do not agree on the time to the millisecond.
const PacedGrain = 100 * time.Millisecond

// share is what a replica holds of a destination's slots.
type share struct {
	replica       int64
	slots, wanted int
	busy          bool
}

// lease answers what the replica me asks, by the row t, which it changes, and the
// shares of all replicas that live. It is pure; now is the database's time.
func (t *Throttle) lease(a *Ask, shares []share, me int64, now time.Time) (Grant, share) {
	var g Grant
	t.turn(a, me, now)
	if a.PacedUntil.After(now) && a.PacedUntil.Sub(t.PacedUntil) > PacedGrain {
		t.PacedUntil = a.PacedUntil
	}
	mine := share{replica: me, slots: a.Slots, wanted: a.Wanted, busy: a.Busy}
	mine.slots, g.Fair = slotsFor(a, shares, me, now)
	g.Slots = mine.slots
	if t.quotaLimit != a.Quota {
		t.quotaLimit = a.Quota
	}
	live := max(1, len(shares))
	if a.Every > 0 {
		g.Requests, g.First = t.leaseRate(a, live, now)
		g.RateFreeAt = t.rateFreeAt
	}
	if a.Quota > 0 {
		g.Units = t.leaseQuota(a, now)
		g.QuotaUntil, g.QuotaOver = t.quotaUntil, t.quotaUsed >= a.Quota && now.Before(t.quotaUntil)
	}
	if a.Failing && (a.Firsts > 0 || a.Retries > 0) {
		g.Retries = t.leaseRetries(a, now)
	}
	g.Throttle = *t
	return g, mine
}

// turn changes the breaker by what the replica says of its own.
//
//	CLOSED ──a replica's own opens──▶ OPEN ──ProbeAt, one replica tries──▶ HALF_OPEN
//	   ▲                               ▲ ◀──────its probe fails──────────────┤
//	   └───────────────────────────────┼──────────its probes succeed─────────┘
func (t *Throttle) turn(a *Ask, me int64, now time.Time) {
	change := func(to, reason string) {
		t.Breaker, t.Reason, t.Since, t.Turn = to, reason, now, t.Turn+1
	}
	known := a.Turn == t.Turn
	probing := t.Breaker == BreakerHalfOpen && t.Prober == me && known
	switch {
	case a.Breaker == BreakerOpen && (t.Breaker == BreakerClosed && known || probing):
		change(BreakerOpen, a.Reason)
		t.ProbeAt = now.Add(a.OpenFor)
	case a.Breaker == BreakerHalfOpen && t.Breaker == BreakerClosed && known:
		// Its own opened, and its time went by before it could say so, as where an answer did
		// not come for that long. It lets nothing through until it knows who is to try.
		change(BreakerOpen, a.Reason)
		t.ProbeAt = now
	case a.Breaker == BreakerClosed && probing:
		change(BreakerClosed, "requests go through")
	case a.Probe && (t.Breaker == BreakerOpen && !now.Before(t.ProbeAt) || t.Breaker == BreakerHalfOpen && !now.Before(t.ProbeUntil)):
		change(BreakerHalfOpen, t.Reason)
		t.Prober, t.ProbeUntil = me, now.Add(a.ProbeFor)
	}
}

// slotsFor is how many slots the replica holds from now on, and how many would be its
// fair part. It never takes away what it holds, nor gives what another holds.
func slotsFor(a *Ask, shares []share, me int64, now time.Time) (slots, fair int) {
	others, at := 0, -1
	wants := make([]int, len(shares), len(shares)+1)
	for i, s := range shares {
		wants[i] = max(s.wanted, 1)
		if s.replica == me {
			at = i
			wants[i] = max(a.Wanted, 1)
			continue
		}
		others += s.slots
	}
	if at < 0 {
		at, wants = len(wants), append(wants, max(a.Wanted, 1))
	}
	fair = fairPart(a.Concurrency, wants, at, now)
	return max(a.Slots, min(fair, a.Concurrency-others)), fair
}

// fairPart shares out a total by what each wants: who wants little gets it, the rest is
// shared evenly. What nobody wants now is shared out too, to be used without asking.
// Where there is not one for each, they take turns of a second.
func fairPart(total int, wants []int, me int, now time.Time) int {
	n := len(wants)
	if total < n {
		if turn := int(now.Unix() % int64(n)); (me-turn+n)%n < total {
			return 1
		}
		return 0
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return wants[x] - wants[y] })
	left, mine := total, 0
	for i, at := range order {
		given := min(wants[at], left/(n-i))
		left -= given
		if at == me {
			mine = given
		}
	}
	mine += left / n
	if me < left%n {
		mine++
	}
	return mine
}

// leaseRate leases the next requests under the rate (the generic cell rate algorithm):
// each has a time of its own over all replicas, so that it holds whoever makes them.
func (t *Throttle) leaseRate(a *Ask, live int, now time.Time) (n int, first time.Time) {
	base := now
	if t.rateAt.After(now) {
		base = t.rateAt
	}
	credit := time.Duration(max(a.Burst, 1)-1) * a.Every
	first = base.Add(-credit)
	n = min(a.Requests, max(1, a.Burst, int(rateBlock/a.Every)/live))
	if ahead := now.Add(rateAhead).Sub(first); ahead < 0 {
		n = 0
	} else {
		n = min(n, int(ahead/a.Every)+1)
	}
	if n > 0 {
		t.rateAt = base.Add(time.Duration(n) * a.Every)
		t.rateFreeAt = t.rateAt.Add(-credit)
	}
	return n, first
}

func (t *Throttle) leaseQuota(a *Ask, now time.Time) int {
	n := int(min(int64(a.Units), quotaBlock, a.Quota))
	if n <= 0 {
		return 0
	}
	if end := periodEnd(a.Period, now); !now.Before(t.quotaUntil) {
		t.quotaUsed, t.quotaUntil = 0, end
	} else if end.Before(t.quotaUntil) {
		t.quotaUntil = end // the period was changed
	}
	n = int(max(0, min(int64(n), a.Quota-t.quotaUsed)))
	t.quotaUsed += int64(n)
	return n
}

func (t *Throttle) leaseRetries(a *Ask, now time.Time) int {
	if now.Sub(t.retryFrom) >= retryWindow {
		t.retryFrom, t.retryFirsts, t.retryGranted = now, 0, 0
	}
	t.retryFirsts += int64(a.Firsts)
	allowed := max(t.retryFirsts/retryShare, int64(now.Sub(t.retryFrom)/time.Second))
	n := max(0, min(int64(a.Retries), allowed-t.retryGranted))
	t.retryGranted += n
	return int(n)
}
