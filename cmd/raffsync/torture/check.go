package torture

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// check holds the promises against the evidence.
func (e *evidence) check(r *Report) {
	r.Sent, r.Events, r.Deliveries, r.Held = len(e.sent), len(e.events), len(e.entries), 0
	r.Conflicts = len(e.conflicts)
	byID := make(map[string][]storedEvent)
	for _, s := range e.events {
		byID[s.ID] = append(byID[s.ID], s)
	}
	e.checkIngest(r, byID)
	e.checkAtomic(r)
	e.checkTimeline(r)
	e.checkProgress(r)
	for _, p := range e.platforms {
		e.checkPlatform(r, p, byID)
	}
	for _, what := range e.protests {
		r.add(answers, "", "", "%s", what)
	}
	e.tell(r, byID)
}

func (e *evidence) checkIngest(r *Report, byID map[string][]storedEvent) {
	for id, s := range e.sent {
		acked, there := !s.AckedAt.IsZero(), byID[id]
		if acked {
			r.Acknowledged++
		}
		switch {
		case len(there) == 0:
			if acked {
				r.add(durable, id, "", "acknowledged %s, and not there", s.AckedAt.Format(clock))
			}
		case len(there) > 1:
			r.add(idempotent, id, "", "%d events", len(there))
		case there[0].Key != s.Key || !slices.Equal(there[0].Hash, s.Hash[:]):
			r.add(durable, id, "", "is there with another content or ordering key")
		}
	}
	for id := range byID {
		if e.sent[id] == nil {
			r.add(durable, id, "", "is there, and nobody sent it")
		}
	}
	for hash, id := range e.seconds {
		if !e.conflicts[hash] {
			r.add(conflicts, id, "", "a second content was acknowledged as a conflict, and is not kept")
		}
	}
}

// checkAtomic: an event, one accepted entry, and for each destination one delivery,
// which is either open or ended once.
func (e *evidence) checkAtomic(r *Report) {
	known := make(map[int64]bool)
	for _, s := range e.events {
		known[s.Seq] = true
		if n := e.accepted[s.Seq]; n != 1 {
			r.add(whole, s.ID, "", "%d accepted entries", n)
		}
		for _, p := range e.platforms {
			d := delivery{s.Seq, p.name}
			ended := 0
			for _, t := range e.entries[d] {
				if terminal(t.State) {
					ended++
				}
			}
			_, open := e.open[d]
			if open && ended > 0 || !open && ended != 1 {
				r.add(whole, s.ID, p.name, "open: %t, and ended %d times", open, ended)
			}
		}
	}
	for d := range e.entries {
		if !known[d.event] {
			r.add(whole, fmt.Sprint(d.event), d.destination, "timeline entries of an event that is not there")
		}
	}
	for d := range e.open {
		if !known[d.event] {
			r.add(whole, fmt.Sprint(d.event), d.destination, "a delivery of an event that is not there")
		}
	}
}

func terminal(state string) bool {
	return state == "DELIVERED" || state == "SKIPPED" || state == "SUPERSEDED"
}

// checkTimeline: attempts are numbered without a gap, each has its reason, each
// decision of a person an actor, and no entry has changed. What was not sent, since an
// earlier request may still be under way, bears the number of that one.
func (e *evidence) checkTimeline(r *Report) {
	for d, entries := range e.entries {
		next := 1
		for _, t := range entries {
			number := next
			if t.StartedAt == nil {
				number = next - 1
			}
			switch {
			case t.What == "attempt" && t.Attempt != number:
				r.add(timeline, fmt.Sprint(d.event), d.destination, "attempt %d where %d comes next", t.Attempt, number)
			case t.What == "attempt" && t.Reason == "":
				r.add(timeline, fmt.Sprint(d.event), d.destination, "attempt %d has no reason", t.Attempt)
			case (t.What == "retry" || t.What == "reprocess" || t.What == "skip") && t.Actor == "":
				r.add(timeline, fmt.Sprint(d.event), d.destination, "a %s of nobody", t.What)
			}
			if t.What == "attempt" {
				next = t.Attempt + 1
				r.Attempts++
				if t.Kind == int(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME) {
					r.Unknown++
				}
			}
		}
		if o, open := e.open[d]; open && o.Requests != next-1 {
			r.add(timeline, fmt.Sprint(d.event), d.destination, "%d requests are counted, and %d attempts told", o.Requests, next-1)
		}
	}
	for entry, what := range e.changed {
		r.add(timeline, "", "", "entry %d %s", entry, what)
	}
}

// checkProgress: after the faults are over everything ends, or has an exception that
// says why. Where an operator retried everything, nothing is held either.
func (e *evidence) checkProgress(r *Report) {
	for d, o := range e.open {
		switch {
		case o.State != openStateHeld:
			r.add(progress, fmt.Sprint(d.event), d.destination, "is open, and nothing comes of it (state %d)", o.State)
		case o.Sample == nil || *o.Sample == "":
			r.add(progress, fmt.Sprint(d.event), d.destination, "is held by no exception that says why")
		case !e.passes[d.destination]:
			r.add(progress, fmt.Sprint(d.event), d.destination, "is still held after it was released: %s", *o.Sample)
		default:
			r.Held++
		}
	}
}

func (e *evidence) checkPlatform(r *Report, p *platform, byID map[string][]storedEvent) {
	r.Requests += len(p.requests)
	requests := make(map[string][]request)
	effects := make(map[string]int)
	var first []effect
	for _, q := range p.requests {
		requests[q.Event] = append(requests[q.Event], q)
		if !q.Effect {
			continue
		}
		if effects[q.Event]++; effects[q.Event] == 1 {
			first = append(first, effect{q.Event, q.Ordering})
		}
		if s := e.sent[q.Event]; s == nil || s.Key != q.Ordering || hex.EncodeToString(s.Hash[:]) != q.Hash {
			r.add(oneEffect, q.Event, p.name, "an effect of what nobody sent")
		}
	}
	for id, n := range effects {
		if n > 1 {
			r.add(oneEffect, id, p.name, "%d effects", n)
		}
	}
	unsure := make(map[string]bool) // passed by later events, as their route says
	for id, stored := range byID {
		for _, s := range stored {
			var attempts []entry
			for _, t := range e.entries[delivery{s.Seq, p.name}] {
				if t.What == "attempt" {
					attempts = append(attempts, t)
				}
				if t.State == "DELIVERED" && effects[id] == 0 {
					r.add(oneEffect, id, p.name, "is called delivered, and had no effect")
				}
				if t.State == "NEEDS_ACTION" && e.passes[p.name] {
					unsure[id] = true
				}
			}
			stale, without := matchRequests(requests[id], attempts)
			r.StaleWrites += stale
			if without != "" {
				r.add(intent, id, p.name, "%s", without)
			}
		}
		if n := len(requests[id]); n > 1 {
			r.Repeats += n - 1
		}
	}
	for id := range requests {
		if len(byID[id]) == 0 {
			r.add(intent, id, p.name, "a request for an event that is not there")
		}
	}
	first = slices.DeleteFunc(first, func(f effect) bool { return unsure[f.event] })
	for _, b := range orderBreaks(first, e.sent) {
		r.add(order, b.late, p.name, "%s, after %s", b.why, b.early)
	}
	e.checkBreaker(r, p)
	if n := p.canary.Load(); n > 0 {
		r.add(egress, "", p.name, "%d redirects were followed", n)
	}
}

// checkBreaker: by the second half of a storm every breaker has opened, and lets a few
// probes an interval through. A replica that starts anew has a breaker to open first.
func (e *evidence) checkBreaker(r *Report, p *platform) {
	const lives = 3 // of a replica in half a storm, at most
	for _, s := range p.storms {
		if s.status != 503 || s.to.Sub(s.from) < stormLength*3/4 {
			continue
		}
		half := s.to.Sub(s.from) / 2
		most := e.replicas * (lives*(concurrency+breakerMinimum) + breakerProbes*(int(half/breakerOpenFor)+2))
		n := 0
		for _, q := range p.requests {
			if q.At.After(s.from.Add(half)) && q.At.Before(s.to) {
				n++
			}
		}
		if n > most {
			r.add(breaker, "", p.name, "%d requests in the second half of a storm of %s, where %d would do", n, s.to.Sub(s.from).Round(time.Millisecond), most)
		}
	}
}

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
