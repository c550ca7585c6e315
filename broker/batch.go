package broker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// batch is what a caller sent together, on its way through the committers. Each
// committer has a part of it; the caller is told when the last part is settled.
type batch struct {
	caller   caller
	source   string // its name
	received time.Time
	sequence uint64 // 0: of a PublishBatch
	// results by place in the batch; nil is plainly accepted. A committer writes
	// those of its part, before it settles it.
	results []*raffsyncv1.EventResult
	cost    int64 // held of the broker's budget until it is done with

	open   atomic.Int32 // parts that are not settled
	failed atomic.Bool  // some part of it may not be durable

	// Of the session that sent it, under its lock.
	settled bool
	dropped bool // nobody waits for it any more
}

// caller is whoever waits for a batch: a stream or a unary call. Its methods do not
// block, and are called by committers.
type caller interface {
	// commitFailed tells that a part of a batch of its may not be durable. From then
	// on gone must return true.
	commitFailed()
	// gone tells whether what is queued for it shall not be committed.
	gone() bool
	// done tells that every part of the batch is settled.
	done(*batch)
	// traceparent is what the caller sent of the trace that it is in, or nothing.
	traceparent() string
}

// part is the events of a batch that one committer takes.
type part struct {
	batch     *batch
	committer *committer
	entries   []outbox.Entry
	places    []int32 // of the entries in the batch
	bytes     int
}

// settle is called once for each part, when its fate is known.
func (p *part) settle(durable bool) {
	if !durable {
		p.batch.failed.Store(true)
	}
	if p.batch.open.Add(-1) == 0 {
		p.batch.caller.done(p.batch)
	}
}

// record notes what became of the entries.
func (p *part) record(results []outbox.Result) {
	for i, r := range results {
		place := p.places[i]
		if result := resultOf(r, &p.entries[i]); result != nil {
			// One that is there already says why the event is unrouted.
			if result.Status != raffsyncv1.Status_STATUS_UNROUTED || p.batch.results[place] == nil {
				p.batch.results[place] = result
			}
		}
		if result := p.batch.results[place]; result != nil {
			result.Sequence, result.Index = p.batch.sequence, uint32(place)
		}
	}
}

// Words for what may be done about a result.
const (
	fixDuplicate = "nothing to do: this event is durable already"
	fixConflict  = "another content is durable under this id; this one is kept too, and a person decides; do not send it again"
	fixUnrouted  = "no route wants this event; it is kept, and can be replayed once one does"
	fixRefused   = "not kept: the database cannot hold one of its values; correct the event and send it again"
	fixPanic     = "not kept: the broker failed over this event, which is a fault of its own; its log tells more"
	fixInvalid   = "not kept: correct what violates the rules and send it again"
)

// resultOf is nil for an event that is plainly accepted.
func resultOf(r outbox.Result, entry *outbox.Entry) *raffsyncv1.EventResult {
	switch r.Verdict {
	case outbox.Duplicate:
		return &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_DUPLICATE, Fix: fixDuplicate}
	case outbox.Conflicting:
		return &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_CONFLICT, Fix: fixConflict}
	case outbox.Refused:
		return &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_INVALID, Fix: fixRefused, Violations: refusedBecause(r, &entry.Event)}
	case outbox.Quarantined:
		return nil
	}
	if len(entry.Targets) == 0 {
		return &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_UNROUTED, Fix: fixUnrouted}
	}
	return nil
}

// refusedBecause says which value the database cannot hold, as far as its SQLSTATE
// tells. Its own words may tell of its insides, and are for the log.
func refusedBecause(r outbox.Result, e *outbox.Event) []*raffsyncv1.FieldViolation {
	type value struct{ field, text string }
	values := []value{{"id", e.ID}, {"type", e.Type}, {"ordering_key", e.OrderingKey}, {"outlet", e.Outlet}, {"content_type", e.ContentType}}
	for name, text := range e.References {
		values = append(values, value{"references", name}, value{fmt.Sprintf("references[%q]", name), text})
	}
	switch r.State {
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		for _, v := range values {
			if strings.Contains(v.text, "\x00") {
				return []*raffsyncv1.FieldViolation{violation(v.field, "must not hold a NUL character")}
			}
		}
	case "54000": // program_limit_exceeded
		longest := slices.MaxFunc(values, func(a, b value) int { return cmp.Compare(len(a.text), len(b.text)) })
		return []*raffsyncv1.FieldViolation{violation(longest.field, fmt.Sprintf("is too long to be indexed: it has %d bytes", len(longest.text)))}
	}
	return nil
}

// budget bounds the bytes of all batches that the broker holds.
type budget struct {
	limit int64
	held  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.held.Add(n) > b.limit {
		b.held.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.held.Add(-n) }
