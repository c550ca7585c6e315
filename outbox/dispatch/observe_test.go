package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

type contextKey struct{}

// lines is a log that is written and read at once.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) attempts(t *testing.T) (all []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == "attempt" {
			all = append(all, fields)
		}
	}
	return all
}

// An observer learns of each attempt, batch and request; and the log has one wide line
// an attempt.
func TestObserver(t *testing.T) {
	t.Parallel()
	var seen string // of the context that a connector sends with
	failures := 1
	books := newPlatform(func(ctx context.Context, _ sent) connectors.Outcome {
		seen, _ = ctx.Value(contextKey{}).(string)
		if failures--; failures >= 0 {
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Rule: "status 503", Reason: "secret words of the platform", Status: 503}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": books})
	b.append(b.entry("sales", "e1", "order/1", "books"))

	var mu sync.Mutex
	var attempts []dispatch.Attempted
	var transitions []outbox.Transition
	intended, finished := 0, 0
	log := &lines{}
	d, err := dispatch.New(dispatch.Config{
		Store: b.store, Lease: testLease, Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe: dispatch.Observer{
			Attempted: func(a dispatch.Attempted) {
				mu.Lock()
				defer mu.Unlock()
				attempts, transitions = append(attempts, a), append(transitions, *a.Transition)
			},
			Intended: func(n int, _ time.Duration) { mu.Lock(); defer mu.Unlock(); intended += n },
			Finished: func(n int, _ time.Duration) { mu.Lock(); defer mu.Unlock(); finished += n },
			Sending: func(ctx context.Context, e dispatch.EventName, destination string, request int) context.Context {
				return context.WithValue(ctx, contextKey{}, e.Tenant+"/"+e.Source+"/"+e.ID+" to "+destination)
			},
			TraceID: func(e dispatch.EventName) string { return "trace of " + e.ID },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.Lanes() != 0 || d.Pool() != nil {
		t.Errorf("before it runs it holds %d lanes", d.Lanes())
	}
	d.SetPlan(b.plan)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b.untilDrained()
	if d.Lanes() != 64 || d.Pool() == nil {
		t.Errorf("it holds %d lanes, want 64", d.Lanes())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d.Lanes() != 0 {
		t.Errorf("after it has left it holds %d lanes", d.Lanes())
	}

	if seen != "kopi/till/e1 to books" {
		t.Errorf("the connector's context is of %q", seen)
	}
	if len(attempts) != 2 || intended != 2 || finished != 2 {
		t.Fatalf("%d attempts, %d intended, %d finished; want 2 each", len(attempts), intended, finished)
	}
	for i, a := range attempts {
		if a.Event != (dispatch.EventName{Tenant: "kopi", Source: "till", ID: "e1"}) || a.Destination.Name != "books" || a.Request != i+1 || a.Intents != 1 || a.Open <= 0 {
			t.Errorf("attempt %d: %+v", i, a)
		}
		if !slices.IsSortedFunc([]time.Time{a.IntendedFrom, a.IntendedTill, a.Sent, a.Stored}, time.Time.Compare) {
			t.Errorf("attempt %d: %s, %s, %s, %s are in disorder", i, a.IntendedFrom, a.IntendedTill, a.Sent, a.Stored)
		}
	}
	if transitions[0].To != outbox.StateWaiting || transitions[1].To != outbox.StateDelivered {
		t.Errorf("transitions to %s and %s", transitions[0].To, transitions[1].To)
	}

	written := log.attempts(t)
	if len(written) != 2 {
		t.Fatalf("%d lines of attempts, want 2", len(written))
	}
	for _, name := range []string{"time", "position", "duration", "open", "next", "next_at"} {
		if _, there := written[0][name]; !there {
			t.Errorf("the first line lacks %s", name)
		}
		delete(written[0], name)
	}
	if diff := cmp.Diff(map[string]any{
		"level": "INFO", "msg": "attempt", "tenant": "kopi", "source": "till", "event": "e1", "replay": 0.0, "destination": "books", "route": "sales",
		"attempt": 1.0, "sent": true, "asked": false, "kind": "TRANSIENT", "status": 503.0, "rule": "status 503", "state": "WAITING", "trace_id": "trace of e1",
	}, written[0]); diff != "" {
		t.Errorf("the first line (-want +got):\n%s", diff)
	}
	if strings.Contains(log.buf.String(), "secret words") {
		t.Error("the platform's words are in the log")
	}
}

// What a dead owner left is an attempt too, once.
func TestObserver_Orphans(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
	b.append(b.entry("sales", "e1", "order/1", "books"))
	dead, err := b.store.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leases, _, err := dead.Spread(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Lane         int16
		Seq, KeyHash int64
		AcceptedAt   time.Time
		Row          pgtype.TID
	}
	d := values[row](b, `SELECT lane, seq, key_hash, accepted_at, ctid AS row FROM deliveries`)[0]
	at := slices.IndexFunc(leases, func(l outbox.Lease) bool { return l.Lane == d.Lane })
	delivery := &outbox.Delivery{
		Lane: d.Lane, Destination: b.applied.Names.Destinations["books"], Seq: outbox.Seq(d.Seq), Event: outbox.Seq(d.Seq),
		KeyHash: d.KeyHash, AcceptedAt: d.AcceptedAt, Row: d.Row, Version: 1, Tenant: "kopi",
	}
	if batch, err := dead.Intend(t.Context(), dead.NextBatch(), leases[at:at+1], []*outbox.Delivery{delivery}); err != nil || batch.Size != 1 {
		t.Fatalf("intent: %v, %v", batch, err)
	}
	if err := dead.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead.Abandon()

	told := make(chan dispatch.Attempted, 8)
	next, err := dispatch.New(dispatch.Config{Store: b.store, Lease: testLease, Observe: dispatch.Observer{Attempted: func(a dispatch.Attempted) { told <- a }}})
	if err != nil {
		t.Fatal(err)
	}
	next.SetPlan(b.plan)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	b.untilDrained()
	cancel()
	<-done
	close(told)
	var got []string
	for a := range told {
		got = append(got, outbox.Class(a.Transition.Kind)+" "+a.Destination.Name)
	}
	if diff := cmp.Diff([]string{"UNKNOWN_OUTCOME books", "DELIVERED books"}, got); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}
