package broker

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	// eventOverhead is about what an event costs in memory besides its encoded bytes,
	// until it is committed.
	eventOverhead = 768
	// maxAnswerBytes bounds what is said about the invalid events of one batch, so
	// that the answer fits a client's limit on messages (4 MiB unless it is raised).
	maxAnswerBytes = 1 << 20
)

// intake turns encoded batches into entries: it decodes, validates and routes.
type intake struct {
	validator  *Validator
	rules      ruleBook
	budget     budget
	lanes      int
	committers []*committer
	maxEvents  int
	observe    Observer
	log        *slog.Logger
	heard      func(source int32) // may be nil
	full       func() string      // may be nil
}

// admit makes a batch of what a caller sent and takes its cost from the budget. The
// batch is not on its way yet: [intake.submit] sends it, and whoever is told that it
// is done gives its cost back.
func (in *intake) admit(c outbox.Credential, raw rawBatch, from caller) (*batch, []part, error) {
	if in.heard != nil {
		in.heard(c.Source)
	}
	if in.full != nil {
		if why := in.full(); why != "" {
			return nil, nil, diskFull(why)
		}
	}
	cost := int64(raw.size + eventOverhead*len(raw.events))
	if !in.budget.take(cost) {
		return nil, nil, errFull
	}
	b := &batch{
		caller: from, source: c.SourceName, received: time.Now(),
		sequence: raw.sequence, results: make([]*raffsyncv1.EventResult, len(raw.events)), cost: cost,
	}
	admitted := false
	defer func() { // a panic is the caller's to handle, and ends its stream
		if !admitted {
			in.budget.give(cost)
		}
	}()
	parts := in.entries(c, raw, b)
	in.observe.countInvalid(c, b)
	b.open.Store(int32(len(parts)))
	admitted = true
	return b, parts, nil
}

// submit hands the parts to their committers. A batch without any is done at once.
func (in *intake) submit(b *batch, parts []part) {
	if len(parts) == 0 {
		b.caller.done(b)
		return
	}
	for _, p := range parts {
		p.committer.submit(p)
	}
}

// committer is the one that all events of a lane go through.
func (in *intake) committer(e *outbox.Event) int {
	return int(outbox.LaneOf(outbox.KeyHash(e.Tenant, e.OrderingKey), in.lanes)) % len(in.committers)
}

// entries makes a part for each committer that has any event of the batch, and notes
// the results of events that none of them shall see.
func (in *intake) entries(c outbox.Credential, raw rawBatch, b *batch) []part {
	byCommitter := make([]part, len(in.committers))
	rules := in.rules.of(c.Tenant)
	now := time.Now().UTC().Truncate(time.Microsecond)
	answer := maxAnswerBytes
	var d decoder
	for place, encoded := range raw.events {
		entry, result := in.entry(c, encoded, &d, rules, now)
		if result != nil {
			if answer -= resultSize(result); answer < 0 {
				result.Violations = nil
			}
			result.Sequence, result.Index = b.sequence, uint32(place)
			b.results[place] = result
			if result.Status == raffsyncv1.Status_STATUS_INVALID {
				continue
			}
		}
		which := in.committer(&entry.Event)
		p := &byCommitter[which]
		if p.batch == nil {
			p.batch, p.committer = b, in.committers[which]
			left := len(raw.events) - place
			room := min(left, left/len(in.committers)+left/8+1) // keys do not fall evenly
			p.entries, p.places = make([]outbox.Entry, 0, room), make([]int32, 0, room)
		}
		p.entries = append(p.entries, entry)
		p.places = append(p.places, int32(place))
		p.bytes += len(encoded)
	}
	parts := byCommitter[:0]
	for _, p := range byCommitter {
		if p.batch != nil {
			parts = append(parts, p)
		}
	}
	return parts
}

// entry validates and routes one event. The result is that of an event which is
// invalid, or unrouted for a reason of its own. A panic over one strange event is its
// own: were the stream ended for it, its client would send it again for ever.
func (in *intake) entry(c outbox.Credential, encoded []byte, d *decoder, rules *Rules, now time.Time) (entry outbox.Entry, result *raffsyncv1.EventResult) {
	defer func() {
		if r := recover(); r != nil {
			in.log.ErrorContext(context.Background(), "panic over an event", "tenant", c.Tenant, "source", c.SourceName, "event", d.event.GetId(),
				"panic", r, "stack", string(debug.Stack()))
			entry, result = outbox.Entry{}, &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_INVALID, Fix: fixPanic}
		}
	}()
	violations := d.decode(encoded)
	e := &d.event
	data := payload(e)
	if len(violations) == 0 {
		violations = in.validator.event(e, data)
	}
	if e.GetQuarantine() != nil && !c.Inside {
		violations = append(violations, violation("quarantine", "must be left out: only a receiver in the broker's own process may set it"))
	}
	if len(violations) > 0 {
		return outbox.Entry{}, &raffsyncv1.EventResult{Status: raffsyncv1.Status_STATUS_INVALID, Fix: fixInvalid, Violations: violations}
	}
	entry = outbox.Entry{SourceName: c.SourceName, Event: outbox.Event{
		Tenant: c.Tenant, Source: c.Source,
		ID: e.GetId(), Type: e.GetType(), OrderingKey: e.GetOrderingKey(), Outlet: e.GetOutlet(),
		References: e.GetReferences(), ContentType: e.GetContentType(), Payload: data,
		OccurredAt: now,
	}}
	if q := e.GetQuarantine(); q != nil {
		entry.Quarantine = quarantineOf(q)
		return entry, nil
	}
	event := &entry.Event
	if event.ContentType == "" {
		event.ContentType = defaultContentType
	}
	if e.GetOccurredAt() != nil {
		event.OccurredAt = e.GetOccurredAt().AsTime().Truncate(time.Microsecond)
	}
	targets, err := Route(event, rules)
	if e.GetOccurredAt() == nil {
		// Left zero, so that the event has the same hash whenever it is sent again; the
		// outbox fills in the time of acceptance.
		event.OccurredAt = time.Time{}
	}
	if err != nil {
		return entry, &raffsyncv1.EventResult{
			Status: raffsyncv1.Status_STATUS_UNROUTED,
			Fix:    cut(err.Error(), maxViolationText) + "; correct the condition or the event; the event is kept, and can be replayed",
		}
	}
	entry.Targets = targets
	return entry, nil
}

// resultSize is about the encoded size of a result.
func resultSize(r *raffsyncv1.EventResult) int {
	n := 16 + len(r.Fix)
	for _, v := range r.Violations {
		n += 8 + len(v.Field) + len(v.Message)
	}
	return n
}

// ruleBook holds the rules in force by tenant. Reading takes no lock.
type ruleBook struct {
	mu    sync.Mutex // of writers
	rules atomic.Pointer[map[string]*Rules]
}

func (b *ruleBook) of(tenant string) *Rules {
	if rules := b.rules.Load(); rules != nil {
		return (*rules)[tenant]
	}
	return nil
}

func (b *ruleBook) set(tenant string, r *Rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[string]*Rules)
	if rules := b.rules.Load(); rules != nil {
		for t, r := range *rules {
			next[t] = r
		}
	}
	next[tenant] = r
	b.rules.Store(&next)
}
