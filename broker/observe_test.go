package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	"raffsync/outbox"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// observer keeps what it is told.
type observer struct {
	mu           sync.Mutex
	counts       map[string]Counts // by tenant/source
	acknowledged int
	committed    int
	failed       int
	durable      []string // source, id, verdict, traceparent
	told         chan struct{}
}

func (o *observer) option(c *Config, _ *Broker) {
	o.counts, o.told = make(map[string]Counts), make(chan struct{}, 64)
	c.Observe = Observer{
		Events: func(tenant, source string, n Counts) {
			o.mu.Lock()
			defer o.mu.Unlock()
			all := o.counts[tenant+"/"+source]
			all.Accepted += n.Accepted
			all.Duplicates += n.Duplicates
			all.Conflicts += n.Conflicts
			all.Invalid += n.Invalid
			all.Unrouted += n.Unrouted
			o.counts[tenant+"/"+source] = all
		},
		Acknowledged: func(took time.Duration) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if took > 0 {
				o.acknowledged++
			}
		},
		Committed: func(events int, took time.Duration, err error) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if err != nil {
				o.failed++
			} else {
				o.committed += events
			}
		},
		Durable: func(d Durable) {
			o.mu.Lock()
			for i := range d.Entries {
				o.durable = append(o.durable, fmt.Sprint(d.Source, " ", d.Entries[i].Event.ID, " ", d.Results[i].Verdict == outbox.Appended, " ", d.Traceparent))
			}
			if d.Received.After(d.Began) || d.Began.After(d.Ended) || d.Events < len(d.Entries) {
				o.durable = append(o.durable, "times or sizes are in disorder")
			}
			o.mu.Unlock()
			o.told <- struct{}{}
		},
	}
}

func TestObserver(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var o observer
	h := newHouse(t, o.option, func(c *Config, _ *Broker) { c.Committers = 1 })
	s := h.open()
	moved := event("m1", "sku/1")
	moved.Type = "stock.moved"
	other := event("e1", "order/1")
	other.Data = text(`{"total":7}`)
	s.batch(event("e1", "order/1"), moved, event("", "order/3"), event("e2", "order/1"))
	s.acked(1)
	s.batch(event("e1", "order/1"), other)
	s.acked(2)
	if open := h.broker.Streams(); open["kopi"] != 1 || len(open) != 1 {
		t.Errorf("streams %v, want one of kopi", open)
	}
	ctx := metadata.AppendToOutgoingContext(withKey(t.Context(), h.keys["web"]), "traceparent", parent)
	if _, err := raffsyncv1.NewIngestServiceClient(h.connect()).PublishBatch(ctx, &raffsyncv1.PublishBatchRequest{Events: []*raffsyncv1.Event{event("w1", "order/9")}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-o.told
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	want := map[string]Counts{
		"kopi/till": {Accepted: 2, Duplicates: 1, Conflicts: 1, Invalid: 1, Unrouted: 1},
		"kopi/web":  {Accepted: 1},
	}
	if diff := cmp.Diff(want, o.counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"till e1 true ", "till m1 true ", "till e2 true ", "till e1 false ", "till e1 false ", "web w1 true " + parent,
	}, o.durable); diff != "" {
		t.Errorf("durable (-want +got):\n%s", diff)
	}
	if o.acknowledged != 3 || o.committed != 6 || o.failed != 0 {
		t.Errorf("%d acknowledgements, %d events committed, %d commits failed; want 3, 6, 0", o.acknowledged, o.committed, o.failed)
	}
	if held := h.broker.HeldBytes(); held != 0 {
		t.Errorf("%d bytes are held, and everything is acknowledged", held)
	}
}

// What is not durable is not counted as anything.
func TestObserver_FailedCommit(t *testing.T) {
	var o observer
	var c Config
	o.option(&c, nil)
	committer := newCommitter(brokenWriter{}, nil, slog.New(slog.DiscardHandler))
	committer.observe = c.Observe
	caller := &call{budget: &budget{}, ended: make(chan struct{})}
	b := &batch{caller: caller, source: "till", results: make([]*raffsyncv1.EventResult, 1)}
	b.open.Store(1)
	committer.submit(part{batch: b, committer: committer, entries: make([]outbox.Entry, 1), places: []int32{0}})
	if !committer.gather() {
		t.Fatal("nothing gathered")
	}
	committer.commit(t.Context())
	<-caller.ended
	if len(o.counts) != 0 || len(o.durable) != 0 || o.failed != 1 {
		t.Errorf("counts %v, durable %v, %d failed; want one commit that failed and nothing else", o.counts, o.durable, o.failed)
	}
}

type brokenWriter struct{}

func (brokenWriter) Append(context.Context, []outbox.Entry) ([]outbox.Result, error) {
	return nil, errors.New("the disk is full")
}

func (brokenWriter) Close(context.Context) error { return nil }
