package broker

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Observer is told what a broker does. What is nil is not called. The others are called
// where events pass, from several goroutines: they must not block, and keep nothing of
// what they are given.
type Observer struct {
	// Events tells what became of events of one source that came together: of those that
	// a commit took, once it is durable; of invalid ones, when they came. What a client
	// sends again is counted again, as what it is found to be.
	Events func(tenant, source string, c Counts)
	// Acknowledged is called for each batch when its acknowledgement is handed to gRPC,
	// with the time since it came.
	Acknowledged func(took time.Duration)
	// Committed is called after each commit, failed ones too.
	Committed func(events int, took time.Duration, err error)
	// Durable is called after those who wait for the commit were told.
	Durable func(Durable)
}

// Counts is what became of events. Each is counted once.
type Counts struct {
	Accepted, Duplicates, Conflicts, Invalid, Unrouted, Quarantined int
}

// Durable is what one commit did with a batch, or with a part of one.
type Durable struct {
	Source string // its name
	// Traceparent came with the call of the client, in the form of W3C Trace Context;
	// nothing is checked about it, and it is mostly empty.
	Traceparent string
	Entries     []outbox.Entry
	Results     []outbox.Result // of the entries
	// Received is when the batch came, Began and Ended when the commit did.
	Received, Began, Ended time.Time
	// Events is how many the whole commit held.
	Events int
}

// count tells the observer what became of the entries of a part.
func (o *Observer) count(p *part, results []outbox.Result) {
	if o.Events == nil {
		return
	}
	var c Counts
	for i, r := range results {
		switch {
		case r.Verdict == outbox.Duplicate:
			c.Duplicates++
		case r.Verdict == outbox.Conflicting:
			c.Conflicts++
		case r.Verdict == outbox.Refused:
			c.Invalid++
		case r.Verdict == outbox.Quarantined:
			c.Quarantined++
		case r.Verdict == outbox.Deferred: // counted once it is sent again
		case len(p.entries[i].Targets) == 0:
			c.Unrouted++
		default:
			c.Accepted++
		}
	}
	o.Events(p.entries[0].Event.Tenant, p.batch.source, c)
}

// countInvalid tells the observer of the events that no committer sees.
func (o *Observer) countInvalid(c outbox.Credential, b *batch) {
	if o.Events == nil {
		return
	}
	var found Counts
	for _, r := range b.results {
		if r != nil && r.Status == raffsyncv1.Status_STATUS_INVALID {
			found.Invalid++
		}
	}
	if found.Invalid > 0 {
		o.Events(c.Tenant, c.SourceName, found)
	}
}

func (o *Observer) acknowledged(b *batch, now time.Time) {
	if o.Acknowledged != nil {
		o.Acknowledged(now.Sub(b.received))
	}
}

// traceparentOf is what the caller sent, or nothing.
func traceparentOf(ctx context.Context) string {
	if sent := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(sent) == 1 {
		return sent[0]
	}
	return ""
}

// Streams is how many streams each tenant has open, of those that have any.
func (b *Broker) Streams() map[string]int { return b.sessions.count() }

func (o *sessions) count() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	open := make(map[string]int, len(o.byTenant))
	for tenant, n := range o.byTenant {
		open[tenant] = n
	}
	return open
}

// HeldBytes is about how much memory is held by batches that are not acknowledged, of
// [Config.MemoryBudget].
func (b *Broker) HeldBytes() int64 { return b.intake.budget.held.Load() }
