package torture

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// at is so many milliseconds after noon.
func at(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }

func attemptOf(intended, settled int, rule string) entry {
	started := at(intended)
	return entry{What: "attempt", StartedAt: &started, At: at(settled), Rule: rule}
}

func TestMatchRequests(t *testing.T) {
	prepared := entry{What: "attempt", At: at(5), Rule: "prepare"} // never intended
	for name, c := range map[string]struct {
		requests []int
		attempts []entry
		stale    int
		without  string
	}{
		"none":                              {},
		"one each":                          {[]int{20, 120}, []entry{attemptOf(10, 50, ""), attemptOf(100, 150, "")}, 0, ""},
		"an attempt that never got there":   {[]int{120}, []entry{attemptOf(10, 50, ""), attemptOf(100, 150, "")}, 0, ""},
		"more requests than attempts":       {[]int{20, 30}, []entry{attemptOf(10, 50, "")}, 0, "2 requests, and 1 attempts"},
		"one that says it sent nothing":     {[]int{20}, []entry{attemptOf(10, 50, "no connection")}, 0, "1 requests, and 0 attempts"},
		"one that was only prepared":        {[]int{20}, []entry{prepared}, 0, "1 requests, and 0 attempts"},
		"before its intent":                 {[]int{20, 60}, []entry{attemptOf(10, 50, ""), attemptOf(100, 150, "")}, 0, "before its intent"},
		"the clocks' grain":                 {[]int{10}, []entry{attemptOf(11, 50, "")}, 0, ""},
		"after its attempt was settled":     {[]int{80}, []entry{attemptOf(10, 50, "owner died")}, 1, ""},
		"stale, while the next is on":       {[]int{120, 121}, []entry{attemptOf(10, 50, "owner died"), attemptOf(100, 150, "")}, 1, ""},
		"two stale ones":                    {[]int{80, 90}, []entry{attemptOf(10, 50, "owner died"), attemptOf(60, 70, "owner died")}, 2, ""},
		"requests and attempts in disorder": {[]int{120, 20}, []entry{attemptOf(100, 150, ""), attemptOf(10, 50, "")}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var requests []request
			for _, ms := range c.requests {
				requests = append(requests, request{At: at(ms)})
			}
			stale, without := matchRequests(requests, c.attempts)
			if stale != c.stale || !strings.Contains(without, c.without) || (without == "") != (c.without == "") {
				t.Errorf("stale %d, %q; want %d, %q", stale, without, c.stale, c.without)
			}
		})
	}
}

func TestOrderBreaks(t *testing.T) {
	known := map[string]*sent{
		"a1": {ID: "a1", Client: "a", Number: 1, SentAt: at(0), AckedAt: at(10)},
		"a2": {ID: "a2", Client: "a", Number: 2, SentAt: at(1), AckedAt: at(11)},
		"a3": {ID: "a3", Client: "a", Number: 3, SentAt: at(50)},
		"b1": {ID: "b1", Client: "b", Number: 1, SentAt: at(5), AckedAt: at(12)},
		"b2": {ID: "b2", Client: "b", Number: 2, SentAt: at(20), AckedAt: at(30)},
	}
	for name, c := range map[string]struct {
		effects []string
		late    string
	}{
		"a client's own, in order":               {[]string{"a1", "a2", "a3"}, ""},
		"a client's own, out of order":           {[]string{"a2", "a1"}, "a1"},
		"a gap in what a client sent":            {[]string{"a1", "a3"}, ""},
		"two clients at once, either way":        {[]string{"b1", "a1", "a2"}, ""},
		"acknowledged before the other was sent": {[]string{"b2", "a2"}, "a2"},
		"never acknowledged":                     {[]string{"b2", "a3"}, ""},
		"what nobody sent is not its business":   {[]string{"x", "a1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var effects []effect
			for _, id := range c.effects {
				effects = append(effects, effect{id, "key"})
			}
			found := orderBreaks(effects, known)
			if (len(found) == 0) != (c.late == "") || len(found) > 0 && found[0].late != c.late {
				t.Errorf("%+v, want %q late", found, c.late)
			}
		})
	}
	if found := orderBreaks([]effect{{"a2", "one"}, {"a1", "another"}}, known); len(found) > 0 {
		t.Errorf("two keys have no order: %+v", found)
	}
}
