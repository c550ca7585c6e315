package torture

import (
	"encoding/hex"
	"slices"
)

// wants tells whether the event is for the platform.
func (p *platform) wants(s *sent) bool {
	if p.shadowed {
		return placed(s.Number)
	}
	return p.effectsOf == nil || len(p.effectsOf(s)) > 0
}

// names are the effects that it has to have of an event: of the event itself, or of what
// its route says that it is about.
func (p *platform) names(s *sent, id string) []string {
	if p.effectsOf == nil || s == nil {
		return []string{id}
	}
	return p.effectsOf(s)
}

// checkPlatform holds what a platform saw against what was sent, and what is told of it.
func (e *evidence) checkPlatform(r *Report, p *platform, byID map[string][]storedEvent) {
	if p.shadowed {
		for _, q := range p.requests {
			r.add(shadowed, q.Event, p.name, "a request, of a route in shadow")
		}
		return
	}
	r.Requests += len(p.requests)
	requests := make(map[string][]request)
	for _, q := range p.requests {
		requests[q.Event] = append(requests[q.Event], q)
	}
	effects, first := e.checkEffects(r, p)
	unsure := make(map[string]bool) // passed by later events, as their route says
	for id, stored := range byID {
		for _, s := range stored {
			var attempts []entry
			for _, t := range e.entries[delivery{s.Seq, p.name}] {
				if t.What == "attempt" {
					attempts = append(attempts, t)
				}
				if t.State == "DELIVERED" {
					for _, name := range p.names(e.sent[id], id) {
						if effects[name] == 0 {
							r.add(oneEffect, id, p.name, "is called delivered, and %s had no effect", name)
						}
					}
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

// checkEffects counts what was brought about, by name, and returns the events that brought
// something about, each once, as they came.
func (e *evidence) checkEffects(r *Report, p *platform) (effects map[string]int, first []effect) {
	effects = make(map[string]int)
	had := make(map[string]bool)   // events
	orders := make(map[string]int) // by the id that the platform gave them: which
	for _, q := range p.requests {
		if !q.Effect {
			continue
		}
		s, name := e.sent[q.Event], q.Event
		if p.effectsOf != nil {
			name = q.Asks
		}
		if effects[name]++; effects[name] > 1 {
			what := oneEffect
			if p.effectsOf != nil {
				what = oneOrder
			}
			r.add(what, q.Event, p.name, "%d effects %s", effects[name], q.Asks)
		}
		if !had[q.Event] {
			had[q.Event] = true
			first = append(first, effect{q.Event, q.Ordering})
		}
		switch {
		case s == nil || s.Key != q.Ordering:
			r.add(oneEffect, q.Event, p.name, "an effect of what nobody sent")
		case p.effectsOf == nil:
			if hex.EncodeToString(s.Hash[:]) != q.Hash {
				r.add(oneEffect, q.Event, p.name, "an effect of what nobody sent")
			}
		case !slices.Contains(p.effectsOf(s), q.Asks):
			r.add(oneOrder, q.Event, p.name, "%s is not what the event is about", q.Asks)
		case q.Of == "":
			orders[q.Key] = orderOf(s.Number)
			if want := itemWanted(orderOf(s.Number)); q.Item != want {
				r.add(oneOrder, q.Event, p.name, "%s is of %q, and should be of %q", q.Asks, q.Item, want)
			}
		default:
			if of, there := orders[q.Of]; !there || of != orderOf(s.Number) {
				r.add(oneOrder, q.Event, p.name, "%s is for an order that is not there, or another", q.Asks)
			}
		}
	}
	return effects, first
}
