package torture

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// stormy is the evidence of a storm from 0 to 6 s in which the shared breaker opens at once,
// and of three replicas. Late in it, from 2 s on, that makes 3 × 32 requests until each has a
// breaker of its own that is open, and 6 × 2 probes.
func stormy() *evidence {
	p := &platform{name: "books", storms: []storm{{http.StatusServiceUnavailable, at(0), at(6000)}}}
	return &evidence{
		platforms: []*platform{p}, replicas: 3,
		turns: map[string][]turn{"books": {{"books", at(300), "open"}, {"books", at(1400), "half_open"}, {"books", at(1500), "open"}}},
	}
}

// A breaker is accused only of requests that none that opens would have let through.
func TestEvidence_CheckBreaker(t *testing.T) {
	const open, closed = 3*32 + 6*2, 6*32 + 7*2 // late in the storm: where it stays open, and where it was closed
	turns := func(e *evidence, more ...turn) { e.turns["books"] = append(e.turns["books"], more...) }
	joins := func(e *evidence, ms ...int) {
		for _, ms := range ms {
			e.joins = append(e.joins, at(ms))
		}
	}
	calm := func(e *evidence) { e.platforms[0].storms = nil }
	for name, c := range map[string]struct {
		tamper   func(*evidence)
		from     int // ms: requests are spread from then to 6 s
		requests int
		accused  bool
	}{
		"only probes":              {func(*evidence) {}, 2001, 8, false},
		"nobody has heard":         {func(*evidence) {}, 2001, open, false},
		"one more":                 {func(*evidence) {}, 2001, open + 1, true},
		"all in the last half":     {func(*evidence) {}, 5500, open + 1, true},
		"before it had to be open": {func(e *evidence) { e.platforms[0].storms[0].from = at(3500) }, 2001, 120, false},
		"who joins has heard":      {func(e *evidence) { joins(e, 2500, 3000, 5000) }, 2001, open + 1, true},
		"it closes once more":      {func(e *evidence) { turns(e, turn{"books", at(2200), "closed"}, turn{"books", at(2300), "open"}) }, 2001, closed, false},
		"and one more":             {func(e *evidence) { turns(e, turn{"books", at(2200), "closed"}, turn{"books", at(2300), "open"}) }, 2001, closed + 1, true},
		"it closes again and again": {func(e *evidence) {
			for ms := 2000; ms < 6000; ms += 100 {
				turns(e, turn{"books", at(ms), "closed"}, turn{"books", at(ms + 50), "open"})
			}
		}, 2001, closed + 1, true},
		"it had closed before":      {func(e *evidence) { turns(e, turn{"books", at(1600), "closed"}, turn{"books", at(1700), "open"}) }, 2001, open + 1, true},
		"it closes after":           {func(e *evidence) { turns(e, turn{"books", at(6100), "closed"}) }, 2001, open + 1, true},
		"it opens late":             {func(e *evidence) { e.turns["books"] = []turn{{"books", at(2500), "open"}} }, 2001, closed, false},
		"who joins when it does":    {func(e *evidence) { e.turns["books"] = []turn{{"books", at(2500), "open"}}; joins(e, 2100) }, 2001, closed + 32, false},
		"and had joined before":     {func(e *evidence) { e.turns["books"] = []turn{{"books", at(2500), "open"}}; joins(e, 1900) }, 2001, closed + 1, true},
		"it never opens":            {func(e *evidence) { e.turns = nil }, 2001, closed + 1, true},
		"another destination's":     {func(e *evidence) { e.turns["crm"] = []turn{{"crm", at(2500), "closed"}} }, 2001, open + 1, true},
		"a storm of something else": {func(e *evidence) { e.platforms[0].storms[0].status = http.StatusTooManyRequests }, 2001, 1000, false},
		"a short one":               {func(e *evidence) { e.platforms[0].storms[0].to = at(1900) }, 2001, 1000, false},
		"none":                      {calm, 2001, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := stormy()
			c.tamper(e)
			p := e.platforms[0]
			for i := range c.requests {
				spread := time.Duration(i) * at(6000).Sub(at(c.from)) / time.Duration(c.requests)
				p.requests = append(p.requests, request{At: at(c.from).Add(spread), Event: fmt.Sprint(i)})
			}
			var r Report
			e.checkBreaker(&r, p)
			if accused := len(r.Violations) > 0; accused != c.accused {
				t.Errorf("accused: %t, of %d requests late in a storm where %d would do", accused, r.StormMost, r.StormBound)
			}
		})
	}
}

// The report has the storm that came closest to too much.
func TestEvidence_CheckBreaker_WorstStorm(t *testing.T) {
	e := stormy()
	p := e.platforms[0]
	p.storms = append(p.storms, storm{http.StatusServiceUnavailable, at(10_000), at(16_000)}, storm{http.StatusServiceUnavailable, at(20_000), at(26_000)})
	for _, ms := range []int{3000, 13_000, 14_000, 23_000} {
		p.requests = append(p.requests, request{At: at(ms)})
	}
	var r Report
	e.checkBreaker(&r, p)
	if r.StormMost != 2 || r.StormBound != 3*32+6*2 || len(r.Violations) > 0 {
		t.Errorf("%d of %d, violations %+v", r.StormMost, r.StormBound, r.Violations)
	}
}
