package outbox

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func TestThrottle_Turn(t *testing.T) {
	t.Parallel()
	const me, other = 1, 2
	for name, c := range map[string]struct {
		row    Throttle
		ask    Ask
		to     string
		turns  bool
		prober int64
	}{
		"Opens":                        {row: Throttle{Breaker: BreakerClosed, Turn: 4}, ask: Ask{Breaker: BreakerOpen, Turn: 4}, to: BreakerOpen, turns: true},
		"OpensByOldNews":               {row: Throttle{Breaker: BreakerClosed, Turn: 4}, ask: Ask{Breaker: BreakerOpen, Turn: 3}, to: BreakerClosed},
		"IsOpenAlready":                {row: Throttle{Breaker: BreakerOpen, Turn: 4, ProbeAt: at(time.Second)}, ask: Ask{Breaker: BreakerOpen, Turn: 4}, to: BreakerOpen},
		"ProbeTooEarly":                {row: Throttle{Breaker: BreakerOpen, Turn: 4, ProbeAt: at(time.Second)}, ask: Ask{Breaker: BreakerHalfOpen, Turn: 4, Probe: true}, to: BreakerOpen},
		"Probe":                        {row: Throttle{Breaker: BreakerOpen, Turn: 4, ProbeAt: at(0)}, ask: Ask{Breaker: BreakerHalfOpen, Turn: 4, Probe: true}, to: BreakerHalfOpen, turns: true, prober: me},
		"NothingToProbeWith":           {row: Throttle{Breaker: BreakerOpen, Turn: 4, ProbeAt: at(0)}, ask: Ask{Breaker: BreakerHalfOpen, Turn: 4}, to: BreakerOpen},
		"AnotherProbes":                {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: other, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerHalfOpen, Turn: 5, Probe: true}, to: BreakerHalfOpen, prober: other},
		"TheOtherProberIsSilent":       {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: other, ProbeUntil: at(0)}, ask: Ask{Breaker: BreakerHalfOpen, Turn: 5, Probe: true}, to: BreakerHalfOpen, turns: true, prober: me},
		"MyProbeFails":                 {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: me, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerOpen, Turn: 5}, to: BreakerOpen, turns: true, prober: me},
		"MyProbesSucceed":              {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: me, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerClosed, Turn: 5}, to: BreakerClosed, turns: true, prober: me},
		"ClosedWithoutHavingProbed":    {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: other, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerClosed, Turn: 5}, to: BreakerHalfOpen, prober: other},
		"FailsLateWhileAnotherProbes":  {row: Throttle{Breaker: BreakerHalfOpen, Turn: 5, Prober: other, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerOpen, Turn: 4}, to: BreakerHalfOpen, prober: other},
		"HeldByAnOperator":             {row: Throttle{Breaker: BreakerClosed, Turn: 4}, ask: Ask{Turn: -1}, to: BreakerClosed},
		"AReplicaThatKnowsNothingYet":  {row: Throttle{Breaker: BreakerOpen, Turn: 4, ProbeAt: at(time.Hour)}, ask: Ask{Breaker: BreakerClosed, Turn: -1}, to: BreakerOpen},
		"ALateSuccessOfALostProbeSlot": {row: Throttle{Breaker: BreakerHalfOpen, Turn: 6, Prober: me, ProbeUntil: at(time.Second)}, ask: Ask{Breaker: BreakerClosed, Turn: 5}, to: BreakerHalfOpen, prober: me},
	} {
		t.Run(name, func(t *testing.T) {
			row := c.row
			c.ask.OpenFor, c.ask.ProbeFor, c.ask.Concurrency = 10*time.Second, 3*time.Second, 1
			g, _ := row.lease(&c.ask, nil, me, noon)
			if g.Breaker != c.to || g.Turn != c.row.Turn+map[bool]int32{true: 1}[c.turns] || g.Prober != c.prober {
				t.Errorf("%s at turn %d by %d, want %s (turned: %t) by %d", g.Breaker, g.Turn, g.Prober, c.to, c.turns, c.prober)
			}
			if c.turns && c.to == BreakerOpen && !g.ProbeAt.Equal(at(10*time.Second)) || c.turns && c.to == BreakerHalfOpen && !g.ProbeUntil.Equal(at(3*time.Second)) {
				t.Errorf("probe at %s, until %s", g.ProbeAt, g.ProbeUntil)
			}
		})
	}
}

// A breaker that opened, and whose time went by, while no answer came: it is told, and then
// tried. Otherwise its replica would wait for ever, and nobody else would know.
func TestThrottle_HalfOpenBeforeItWasTold(t *testing.T) {
	t.Parallel()
	const me = 1
	row := Throttle{Breaker: BreakerClosed, Turn: 4}
	ask := Ask{Breaker: BreakerHalfOpen, Turn: 4, Probe: true, Reason: "503", OpenFor: 10 * time.Second, ProbeFor: 3 * time.Second, Limits: Limits{Concurrency: 1}}
	g, _ := row.lease(&ask, nil, me, noon)
	if g.Breaker != BreakerOpen || g.Turn != 5 || !g.ProbeAt.Equal(noon) || g.Reason != "503" {
		t.Fatalf("%s at turn %d, to be tried at %s, because of %q", g.Breaker, g.Turn, g.ProbeAt, g.Reason)
	}
	ask.Turn = g.Turn
	if g, _ = row.lease(&ask, nil, me, noon); g.Breaker != BreakerHalfOpen || g.Prober != me {
		t.Errorf("%s, tried by %d: it never goes on", g.Breaker, g.Prober)
	}
	stranger := Throttle{Breaker: BreakerClosed, Turn: 6}
	if g, _ = stranger.lease(&ask, nil, me, noon); g.Breaker != BreakerClosed {
		t.Errorf("%s by old news", g.Breaker)
	}
}

func TestThrottle_LeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ known, told, until time.Time }{
		"Nobody":       {},
		"First":        {told: at(time.Minute), until: at(time.Minute)},
		"Longer":       {known: at(time.Minute), told: at(time.Hour), until: at(time.Hour)},
		"Shorter":      {known: at(time.Hour), told: at(time.Minute), until: at(time.Hour)},
		"HardlyLonger": {known: at(time.Minute), told: at(time.Minute + PacedGrain), until: at(time.Minute)},
		"Over":         {told: at(-time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			row := Throttle{PacedUntil: c.known}
			if g, _ := row.lease(&Ask{Limits: Limits{Concurrency: 1}, PacedUntil: c.told}, nil, 1, noon); !g.PacedUntil.Equal(c.until) {
				t.Errorf("until %s, want %s", g.PacedUntil, c.until)
			}
		})
	}
}

func TestFairPart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		total int
		wants []int
		now   time.Duration
		parts []int
	}{
		"Alone":                   {total: 8, wants: []int{1}, parts: []int{8}},
		"BothWantAll":             {total: 8, wants: []int{8, 8}, parts: []int{4, 4}},
		"OddOne":                  {total: 7, wants: []int{8, 8}, parts: []int{3, 4}},
		"OneWantsLittle":          {total: 9, wants: []int{1, 16, 16}, parts: []int{1, 4, 4}},
		"NobodyWantsMuch":         {total: 10, wants: []int{1, 1}, parts: []int{5, 5}},
		"FewerThanReplicas":       {total: 1, wants: []int{4, 4}, parts: []int{1, 0}},
		"FewerThanReplicasInTurn": {total: 1, wants: []int{4, 4}, now: time.Second, parts: []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			sum := 0
			for i, want := range c.parts {
				got := fairPart(c.total, c.wants, i, at(c.now))
				sum += got
				if got != want {
					t.Errorf("part %d is %d, want %d", i, got, want)
				}
			}
			if sum > c.total {
				t.Errorf("%d of %d are given", sum, c.total)
			}
		})
	}
}

// Slots are never given twice, and never taken from who holds them.
func TestSlotsFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held, wanted int
		others       []share
		slots        int
	}{
		"Alone":               {wanted: 1, slots: 8},
		"AllAreTaken":         {wanted: 8, others: []share{{replica: 2, slots: 8, wanted: 8}}, slots: 0},
		"SomeAreGivenBack":    {wanted: 8, others: []share{{replica: 2, slots: 5, wanted: 8}}, slots: 3},
		"ItsFairPart":         {wanted: 8, others: []share{{replica: 2, slots: 4, wanted: 8}}, slots: 4},
		"HoldsMoreThanIsFair": {held: 6, wanted: 8, others: []share{{replica: 2, wanted: 8}}, slots: 6},
		"TheLimitCameDown":    {held: 9, wanted: 8, slots: 9},
	} {
		t.Run(name, func(t *testing.T) {
			ask := Ask{Limits: Limits{Concurrency: 8}, Slots: c.held, Wanted: c.wanted}
			if slots, _ := slotsFor(&ask, c.others, 1, noon); slots != c.slots {
				t.Errorf("%d slots, want %d", slots, c.slots)
			}
		})
	}
}

// Whoever asks, and however much at once: in no stretch of time are there more requests
// than the burst and what the rate makes of it.
func TestThrottle_LeaseRateHoldsOverAllReplicas(t *testing.T) {
	t.Parallel()
	for _, burst := range []int{1, 4, 16} {
		row := Throttle{}
		ask := Ask{Limits: Limits{Every: 125 * time.Millisecond, Burst: burst}}
		var times []time.Time
		for step := range 2000 { // of 20 ms; idle in the middle
			now := at(time.Duration(step) * 20 * time.Millisecond)
			if ask.Requests = 1 + step%7; step > 800 && step < 1000 {
				ask.Requests = 0
			}
			n, first := row.leaseRate(&ask, 1+step%3, now)
			for i := range n {
				when := first.Add(time.Duration(i) * ask.Every)
				if when.Before(now) {
					when = now // it goes at once
				}
				if when.After(now.Add(rateAhead)) {
					t.Fatalf("leased %s ahead", when.Sub(now))
				}
				times = append(times, when)
			}
		}
		for i := range times {
			for j := i; j < min(i+200, len(times)); j++ {
				if most := burst + int(times[j].Sub(times[i])/ask.Every); j-i+1 > most {
					t.Fatalf("burst %d: %d requests in %s, want at most %d", burst, j-i+1, times[j].Sub(times[i]), most)
				}
			}
		}
		if want := (2000 - 200) * 20 / 125; len(times) < want-2 {
			t.Errorf("burst %d: %d requests, want the %d that the rate allows", burst, len(times), want)
		}
	}
}

func TestThrottle_LeaseQuota(t *testing.T) {
	t.Parallel()
	row := Throttle{quotaUntil: time.Unix(0, 0)}
	ask := func(units int, now time.Time) Grant {
		g, _ := row.lease(&Ask{Limits: Limits{Concurrency: 1, Quota: 40, Period: "day"}, Units: units}, nil, 1, now)
		return g
	}
	midnight := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		units int
		now   time.Time
		want  int
		over  bool
	}{{5, noon, 5, false}, {1000, noon, quotaBlock, false}, {1000, noon, 3, true}, {1, noon, 0, true}, {1, midnight.Add(-1), 0, true}, {9, midnight, 9, false}} {
		if g := ask(c.units, c.now); g.Units != c.want || g.QuotaOver != c.over {
			t.Errorf("%d: %d units (over: %t), want %d (%t)", i, g.Units, g.QuotaOver, c.want, c.over)
		}
	}
	for period, want := range map[string]time.Time{"hour": at(time.Hour), "day": midnight, "month": midnight} {
		if end := periodEnd(period, noon); !end.Equal(want) {
			t.Errorf("%s ends at %s", period, end)
		}
	}
}

func TestThrottle_LeaseRetries(t *testing.T) {
	t.Parallel()
	row := Throttle{retryFrom: time.Unix(0, 0)}
	for i, c := range []struct {
		after           time.Duration
		firsts, retries int
		want            int
	}{
		{0, 0, 50, 0},                  // nothing has been earned yet
		{3 * time.Second, 0, 50, 3},    // one a second
		{3 * time.Second, 0, 50, 0},    // once
		{4 * time.Second, 200, 50, 17}, // a tenth of the first attempts, where that is more: not both
		{9 * time.Second, 0, 50, 0},    // a second each is less by now
		{11 * time.Second, 0, 50, 0},   // the next window begins
		{13 * time.Second, 0, 1000, 2},
		{14 * time.Second, 10000, 1, 1},
		{14 * time.Second, 0, 5000, 1000 - 3},
	} {
		if n := row.leaseRetries(&Ask{Firsts: c.firsts, Retries: c.retries}, at(c.after)); n != c.want {
			t.Errorf("%d: %d retries, want %d", i, n, c.want)
		}
	}
}

func TestLimits_AreRead(t *testing.T) {
	t.Parallel()
	for text, every := range map[Rate]time.Duration{"": 0, "8/s": 125 * time.Millisecond, "60/m": time.Second, "2/h": 30 * time.Minute} {
		if got, err := text.Every(); err != nil || got != every {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []Rate{"0/s", "-8/s", "8", "8/d", "8 / s", "1e3/s", "08/s", "9999999/s", "8/s\n"} {
		if _, err := text.Every(); err == nil {
			t.Errorf("%q is taken for a rate", text)
		}
	}
	if n, period, err := Quota("5000/day").Limit(); n != 5000 || period != "day" || err != nil {
		t.Errorf("%d a %s, %v", n, period, err)
	}
	for _, text := range []Quota{"0/day", "-1/day", "5000", "5000/week", "99999999999999/day"} {
		if _, _, err := text.Limit(); err == nil {
			t.Errorf("%q is taken for a quota", text)
		}
	}
}
