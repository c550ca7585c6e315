package demo

import (
	"fmt"
	"time"
)

// mostNew is how many new exceptions get a line of their own at once.
const mostNew = 5

// memory is what the screen has said, so that it says only what is new.
type memory struct {
	breakers map[string]BreakerState
	held     map[string]int64 // by exception: the count that was said
	trouble  string
}

// news is one thing to say.
type news struct {
	// about is the destination; "" where it is none's.
	about, text string
	colour      colour
}

// changes says what is new in the snapshot.
func (m *memory) changes(s Snapshot, now time.Time) []news {
	if m.breakers == nil {
		m.breakers, m.held = map[string]BreakerState{}, map[string]int64{}
	}
	var all []news
	for _, d := range s.Destinations {
		if n, ok := m.breaker(d, now); ok {
			all = append(all, n)
		}
	}
	fresh := 0
	for _, e := range s.Exceptions {
		said, known := m.held[e.ID]
		// It is said again when it has doubled.
		if known && (e.Held < 2*said || e.Held < 10) {
			continue
		}
		m.held[e.ID] = e.Held
		if fresh++; fresh <= mostNew {
			text := fmt.Sprintf("%s: %s", e.Title, count(e.Held, "delivery", "deliveries"))
			if e.Worth != "" {
				text += ", " + e.Worth
			}
			all = append(all, news{e.Destination, text, red})
		}
	}
	if fresh > mostNew {
		all = append(all, news{"", fmt.Sprintf("and %s", count(int64(fresh-mostNew), "more exception", "more exceptions")), red})
	}
	return all
}

// breaker speaks of opening and closing. A probe is not worth a line: it either
// closes the breaker or leaves it open.
func (m *memory) breaker(d Destination, now time.Time) (news, bool) {
	before, state := m.breakers[d.Name], d.Breaker.State
	if state == BreakerHalfOpen || state == before || state == BreakerClosed && before == "" {
		return news{}, false
	}
	m.breakers[d.Name] = state
	if state == BreakerClosed {
		text := "breaker closed"
		if d.Waiting > 0 {
			text += fmt.Sprintf(", %s on the way", count(d.Waiting, "delivery", "deliveries"))
		}
		return news{d.Name, text, green}, true
	}
	text := "breaker open"
	if d.Breaker.Reason != "" {
		text = d.Breaker.Reason + " → " + text
	}
	if wait := d.Breaker.NextProbeAt.Sub(now); wait > 0 {
		text += fmt.Sprintf(", probe in %d s", (wait+time.Second-1)/time.Second)
	}
	return news{d.Name, text, yellow}, true
}

// failed says why there are no figures, once for as long as it lasts; err is nil
// when there are again.
func (m *memory) failed(err error) []news {
	text := ""
	if err != nil {
		text = err.Error()
	}
	before := m.trouble
	m.trouble = text
	switch {
	case (text == "") == (before == ""):
		return nil
	case text == "":
		return []news{{"", "figures are there again", green}}
	default:
		return []news{{"", "no figures: " + text, red}}
	}
}

func count(n int64, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
