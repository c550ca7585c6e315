package torture

import (
	"fmt"
	"slices"

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
	for _, what := range e.miscounts {
		r.add(counts, "", "", "%s", what)
	}
	for _, what := range e.trespasses {
		r.add(fencing, "", "", "%s", what)
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
			if sent := e.sent[s.ID]; sent != nil && !p.wants(sent) {
				continue
			}
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

// checkTimeline: attempts of a step are numbered without a gap, each has its reason, each
// decision of a person an actor, and no entry has changed. What was not sent, since an
// earlier request may still be under way, bears the number of that one.
func (e *evidence) checkTimeline(r *Report) {
	for d, entries := range e.entries {
		next, step := 1, 0
		for _, t := range entries {
			if t.Step > step {
				next, step = 1, t.Step
			}
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
		if o, open := e.open[d]; open && o.Requests != next-1 && o.Step == step {
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
	wrong := make(map[int64]bool)
	for _, s := range e.events {
		if sent := e.sent[s.ID]; sent != nil {
			wrong[s.Seq] = placed(sent.Number) && skuOf(orderOf(sent.Number)) == wrongSKU
		}
	}
	for d, o := range e.open {
		switch {
		case o.State != openStateHeld:
			r.add(progress, fmt.Sprint(d.event), d.destination, "is open, and nothing comes of it (state %d)", o.State)
		case o.Sample == nil || *o.Sample == "":
			r.add(progress, fmt.Sprint(d.event), d.destination, "is held by no exception that says why")
		case d.destination == e.mapped && o.Class == skuUnmapped && wrong[d.event]:
			r.add(edited, fmt.Sprint(d.event), d.destination, "still waits for what was put right: %s", *o.Sample)
		case d.destination == e.mapped && o.Class == skuUnmapped:
			r.add(released, fmt.Sprint(d.event), d.destination, "still waits for a mapping that is there: %s", *o.Sample)
		case !e.passes[d.destination]:
			r.add(progress, fmt.Sprint(d.event), d.destination, "is still held after it was released: %s", *o.Sample)
		default:
			r.Held++
		}
	}
}
