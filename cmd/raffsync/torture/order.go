package torture

import "time"

// effect is the first effect of an event at a platform.
type effect struct {
	event, key string
}

// disorder is two effects of one ordering key in the wrong order.
type disorder struct {
	early, late string // early came first, and should not have
	why         string
}

// orderBreaks looks at the effects of a platform as they came. Of one ordering key
// they must keep the order of acceptance, as far as anybody could know it: a client's
// own events in the order of its sending; those of several clients where one was
// acknowledged before the other was sent.
func orderBreaks(effects []effect, sent map[string]*sent) []disorder {
	type of struct{ key, client string }
	newest := make(map[of]*sentAt)
	latest := make(map[string]*sentAt) // by key: the one that was sent last
	var found []disorder
	for _, f := range effects {
		s := sent[f.event]
		if s == nil {
			continue
		}
		now := &sentAt{f.event, s.Number, s.SentAt}
		own := of{f.key, s.Client}
		if before := newest[own]; before != nil && before.number > now.number {
			found = append(found, disorder{before.event, f.event, "was sent earlier by the same client"})
		} else {
			newest[own] = now
		}
		if before := latest[f.key]; before != nil && !s.AckedAt.IsZero() && s.AckedAt.Before(before.at) {
			found = append(found, disorder{before.event, f.event, "was acknowledged before the other was sent"})
		}
		if before := latest[f.key]; before == nil || before.at.Before(now.at) {
			latest[f.key] = now
		}
	}
	return found
}

type sentAt struct {
	event  string
	number int
	at     time.Time
}
