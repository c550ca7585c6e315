package torture

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const clock = "15:04:05.000000"

// tell adds what is known of the event to the violations that will be shown.
func (e *evidence) tell(r *Report, byID map[string][]storedEvent) {
	ids := make(map[string]string)
	for id, stored := range byID {
		for _, s := range stored {
			ids[fmt.Sprint(s.Seq)] = id
		}
	}
	told := make(map[promise]int)
	for i := range r.Violations {
		v := &r.Violations[i]
		if id, isSeq := ids[v.Event]; isSeq {
			v.Event = id
		}
		if told[v.Promise]++; v.Event == "" || told[v.Promise] > shown {
			continue
		}
		v.Story = e.story(v.Event, byID[v.Event])
	}
}

func (e *evidence) story(id string, stored []storedEvent) []string {
	type moment struct {
		at   time.Time
		what string
	}
	var all []moment
	if s := e.sent[id]; s != nil {
		all = append(all, moment{s.SentAt, "sent by " + s.Client + " for " + s.Key})
		if !s.AckedAt.IsZero() {
			all = append(all, moment{s.AckedAt, "acknowledged"})
		}
	}
	for _, s := range stored {
		for _, p := range e.platforms {
			for _, t := range e.entries[delivery{s.Seq, p.name}] {
				if t.StartedAt != nil {
					all = append(all, moment{*t.StartedAt, fmt.Sprintf("%s: attempt %d intended", p.name, t.Attempt)})
				}
				all = append(all, moment{t.At, fmt.Sprintf("%s: %s %d %s %s: %s", p.name, t.What, t.Attempt, t.State, t.Rule, t.Reason)})
			}
		}
	}
	for _, p := range e.platforms {
		for _, q := range p.requests {
			if q.Event == id {
				all = append(all, moment{q.At, fmt.Sprintf("%s: a request arrives, effect %t, answered %q, key %.8s", p.name, q.Effect, cmp.Or(q.Lie, "well"), q.Key)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	lines := make([]string, len(all))
	for i, m := range all {
		lines[i] = m.at.UTC().Format(clock) + " " + m.what
	}
	return lines
}
