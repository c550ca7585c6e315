package outbox

import (
	"sync"
	"time"
)

// recent keeps the events that this process has appended in the last seconds, so that
// its dispatcher, where it has their lanes, need not read them back. They are facts that
// never change, found by the position that their deliveries name, and nothing else is
// known by them: what is to be done is read from the tables alone, and an event that is
// not here is read from there too.
//
// Each is kept until every one of its deliveries has had it, and for four seconds at most: what
// lives longer, as while a destination hangs, is marked by every garbage collection, and the
// deliveries of others wait for that. Where there are too many the new ones are not kept.
type recent struct {
	mu         sync.Mutex
	young, old generation
	turn       *time.Timer // ends the young generation; nil while both are empty
}

type generation struct {
	events map[Seq]*keptEvent
	bytes  int
}

type keptEvent struct {
	LoadedEvent
	left int // deliveries that have not had it
	cost int
}

const (
	// recentBytes is about what each of two generations may hold in memory.
	recentBytes = 32 << 20
	// recentFor is how long an event is of the young generation at most, and of the old
	// one after that.
	recentFor = 2 * time.Second
	// keptOverhead is about what an event costs in memory besides its texts and payload.
	keptOverhead = 512
)

// keep takes up what is appended, or about to be: what then is not has a position that
// no delivery ever names.
func (r *recent) keep(items []*item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range items {
		e := &it.entry.Event
		cost := keptOverhead + len(e.Payload) + len(e.ID) + len(e.OrderingKey)
		if len(it.entry.Targets) == 0 || it.entry.SourceName == "" || r.young.bytes+cost > recentBytes {
			continue
		}
		if r.young.events == nil {
			r.young.events = make(map[Seq]*keptEvent)
		}
		r.young.events[it.seq] = &keptEvent{asLoaded(it.entry), len(it.entry.Targets), cost}
		r.young.bytes += cost
	}
	if r.turn == nil && len(r.young.events) > 0 {
		r.turn = time.AfterFunc(recentFor, r.age)
	}
}

// asLoaded is the event as reading it would give it, but for times that are those of the
// database; see [recent.take].
func asLoaded(e *Entry) LoadedEvent {
	l := LoadedEvent{Event: e.Event, SourceName: e.SourceName}
	l.Payload = payloadOf(&e.Event)
	if l.References == nil {
		l.References = map[string]string{}
	}
	if !l.OccurredAt.IsZero() {
		l.OccurredAt = time.UnixMicro(l.OccurredAt.UnixMicro())
	}
	return l
}

func (r *recent) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old, r.young = r.young, generation{}
	r.turn = nil
	if len(r.old.events) > 0 {
		r.turn = time.AfterFunc(recentFor, r.age)
	}
}

// take returns the event of a delivery; nil where it is not here.
func (r *recent) take(d *Delivery) *LoadedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range []*generation{&r.young, &r.old} {
		e := g.events[d.Event]
		if e == nil {
			continue
		}
		l := &e.LoadedEvent
		if e.left--; e.left == 0 {
			delete(g.events, d.Event)
			g.bytes -= e.cost
		} else { // other deliveries are to have theirs
			l = new(e.LoadedEvent)
		}
		l.AcceptedAt = d.EventAt
		if l.OccurredAt.IsZero() {
			l.OccurredAt = d.EventAt
		}
		return l
	}
	return nil
}
