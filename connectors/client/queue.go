package client

import (
	"fmt"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// queue holds the unacknowledged events in the order of sending. Those in flight
// on the current stream come first. [Client.mu] guards it.
//
//	entries: │ acknowledged, free │ in flight, by batch │ not sent on this stream │
//	                              head                  head+inFlight
type queue struct {
	entries  []entry
	head     int
	inFlight int
	bytes    int
	// batches are the sizes of the unacknowledged batches of this stream, in order;
	// the first has the sequence acked+1.
	batches []int
	acked   uint64
	// enqueued and done count events over the client's whole life.
	enqueued, done uint64
}

type entry struct {
	event *raffsyncv1.Event
	size  int
	sends int
}

// limits are what Welcome allows.
type limits struct {
	batchEvents, windowBatches int
}

func (q *queue) waiting() int { return len(q.entries) - q.head }

func (q *queue) push(event *raffsyncv1.Event, size int) {
	q.entries = append(q.entries, entry{event: event, size: size})
	q.bytes += size
	q.enqueued++
}

// restart forgets the stream: everything unacknowledged is to be sent again.
func (q *queue) restart() {
	q.inFlight, q.acked, q.batches = 0, 0, nil
}

// nextBatch takes what fits into one frame, or nil when nothing waits or the window
// is full. Taken events count as in flight.
func (q *queue) nextBatch(l limits) *raffsyncv1.Batch {
	unsent := q.entries[q.head+q.inFlight:]
	if len(unsent) == 0 || len(q.batches) >= l.windowBatches {
		return nil
	}
	n, size := 0, frameOverhead
	for n < len(unsent) && n < l.batchEvents && size+unsent[n].size <= maxFrameBytes {
		size += unsent[n].size
		n++
	}
	events := make([]*raffsyncv1.Event, n)
	for i := range n {
		unsent[i].sends++
		events[i] = unsent[i].event
	}
	q.inFlight += n
	q.batches = append(q.batches, n)
	return &raffsyncv1.Batch{Sequence: q.acked + uint64(len(q.batches)), Events: events}
}

// verdict is an event with its result.
type verdict struct {
	event  *raffsyncv1.Event
	result Result
}

// judge says what the Ack makes of the events that it covers, and changes nothing.
// An Ack that does not fit to what was sent is an error: believing it could lose
// events.
func (q *queue) judge(ack *raffsyncv1.Ack) ([]verdict, error) {
	last := q.acked + uint64(len(q.batches))
	if ack.ThroughSequence < q.acked || ack.ThroughSequence > last {
		return nil, fmt.Errorf("the broker acknowledges through batch %d, where %d to %d are due", ack.ThroughSequence, q.acked+1, last)
	}
	covered := q.batches[:ack.ThroughSequence-q.acked]
	starts, n := make([]int, len(covered)), 0
	for i, size := range covered {
		starts[i], n = n, n+size
	}
	verdicts := make([]verdict, n)
	for i, e := range q.entries[q.head : q.head+n] {
		verdicts[i] = verdict{e.event, Result{Status: raffsyncv1.Status_STATUS_ACCEPTED, Resent: e.sends > 1}}
	}
	for _, r := range ack.Results {
		if r.Sequence <= q.acked || r.Sequence > ack.ThroughSequence {
			return nil, fmt.Errorf("the broker gives a result for batch %d in an acknowledgement of %d to %d", r.Sequence, q.acked+1, ack.ThroughSequence)
		}
		b := int(r.Sequence - q.acked - 1)
		if int64(r.Index) >= int64(covered[b]) {
			return nil, fmt.Errorf("the broker gives a result for event %d of batch %d, which has %d", r.Index, r.Sequence, covered[b])
		}
		result := &verdicts[starts[b]+int(r.Index)].result
		result.Status, result.Fix, result.Violations = r.Status, r.Fix, r.Violations
	}
	return verdicts, nil
}

// release forgets the first n events, acknowledged through the sequence.
func (q *queue) release(n int, through uint64) {
	for i := range q.entries[q.head : q.head+n] {
		q.bytes -= q.entries[q.head+i].size
		q.entries[q.head+i] = entry{}
	}
	q.head += n
	q.inFlight -= n
	q.done += uint64(n)
	q.batches = q.batches[through-q.acked:]
	q.acked = through
	// What is free in front is used again once it is half of all.
	if q.head*2 >= len(q.entries) {
		kept := copy(q.entries, q.entries[q.head:])
		clear(q.entries[kept:])
		q.entries, q.head = q.entries[:kept], 0
	}
}
