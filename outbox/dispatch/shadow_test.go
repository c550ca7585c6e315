package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"raffsync/connectors"
	"raffsync/outbox"
	"raffsync/outbox/dispatch"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// inShadow adds a route "shadow" that sends nothing.
func (b *bench) inShadow() {
	b.plan.Routes[dispatch.RouteKey{Tenant: "kopi", Name: "shadow"}] = dispatch.Route{Retry: outbox.DefaultRetry, Shadow: true}
}

const endedInShadow = `SELECT count(*) = $1 FROM timeline WHERE what = 'shadow' AND state = 'SKIPPED'`

// What is in shadow needs neither a slot nor the breaker's leave, and leaves no intent.
func TestDispatcher_ShadowsNeedNoSlot(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := newPlatform(func(ctx context.Context, s sent) connectors.Outcome {
		select {
		case <-release:
		case <-ctx.Done(): // and again
			return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED, Status: 429, Reason: "later"}
		}
		return delivered
	})
	b := newBench(t, map[string]*platform{"books": p})
	b.destination("books").Concurrency = 1
	b.inShadow()
	b.append(b.entry("sales", "live", "key/live", "books"))
	b.start()
	b.until("the only slot is taken", `SELECT count(*) = 1 FROM intents`)
	var entries []outbox.Entry
	for i := range 200 {
		entries = append(entries, b.entry("shadow", fmt.Sprint("shadow", i), fmt.Sprintf("key/%d", i%7), "books"))
	}
	b.append(entries...)
	b.until("all shadows have ended", endedInShadow, 200)
	if n := value[int](b, `SELECT count(*) FROM deliveries`); n != 1 {
		t.Errorf("%d deliveries are open, want the live one", n)
	}
	close(release)
	b.untilDrained()
	if got := p.seen(); slices.ContainsFunc(got, func(s sent) bool { return s.ID != "live" }) {
		t.Errorf("sent: %v", got)
	}
	if n := value[int](b, `SELECT sum(skipped) FROM tallies`); n != 200 {
		t.Errorf("%d are counted as ended without a request", n)
	}
	if n := value[int](b, `SELECT sum(seen) FROM shadow_findings WHERE prospect = 'SEND' AND class = ''`); n != 200 {
		t.Errorf("%d would have been sent", n)
	}
}

// However many shadows are ready at once, and however few of them are prepared at a time,
// none of the others goes the way of what is live.
func TestDispatcher_NoShadowIsSentForWantOfRoom(t *testing.T) {
	t.Parallel()
	p := newPlatform(nil)
	b := newBench(t, map[string]*platform{"books": p})
	b.inShadow()
	var entries []outbox.Entry
	for i := range 300 {
		entries = append(entries, b.entry("shadow", fmt.Sprint("shadow", i), fmt.Sprintf("key/%d", i), "books"))
	}
	b.append(append(entries, b.entry("sales", "live", "key/live", "books"))...)
	b.start()
	b.untilDrained()
	if got := p.seen(); len(got) != 1 || got[0].ID != "live" {
		t.Errorf("%d requests were sent, want the live one", len(got))
	}
	if n := value[int](b, `SELECT sum(skipped) FROM tallies`); n != 300 {
		t.Errorf("%d are counted as ended without a request", n)
	}
}

func TestDispatcher_ShadowsAskNoBreaker(t *testing.T) {
	t.Parallel()
	p := newPlatform(func(context.Context, sent) connectors.Outcome {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT, Status: 503, Reason: "503"}
	})
	b := newBench(t, map[string]*platform{"books": p})
	b.destination("books").Breaker = outbox.BreakerConfig{Window: outbox.DefaultBreaker.Window, MinRequests: 1, FailureRatio: 0.1, OpenFor: outbox.DefaultBreaker.Window, Probes: 1}
	b.inShadow()
	b.append(b.entry("sales", "live", "key/live", "books"))
	b.start()
	b.until("the breaker is open", `SELECT count(*) = 1 FROM timeline WHERE what = 'breaker'`)
	b.append(b.entry("shadow", "shadow", "key/other", "books"))
	b.until("the shadow has ended", endedInShadow, 1)
}

// A shadow whose connector panics or refuses ends like any other, and says why.
func TestDispatcher_ShadowsOfWhatCannotBePrepared(t *testing.T) {
	t.Parallel()
	p := newPlatform(nil)
	p.missing = func(e *connectors.Event) []connectors.Miss {
		if e.ID != "missing" {
			return nil
		}
		return []connectors.Miss{{Table: "sku", Value: "TEA"}, {Table: "tax", Value: "PPN"}, {Table: "sku", Value: "TEA", Path: "elsewhere"}}
	}
	b := newBench(t, map[string]*platform{"books": p})
	b.inShadow()
	panics := b.entry("shadow", "panics", "key/1", "books")
	panics.Event.Type = "panic.prepare"
	b.append(panics, b.entry("shadow", "missing", "key/1", "books"), b.entry("sales", "live", "key/1", "books"))
	b.start()
	b.untilDrained()
	if got := p.seen(); len(got) != 1 || got[0].ID != "live" {
		t.Errorf("sent: %v", got)
	}
	want := []string{"POISON  ", "SKU_UNMAPPED sku TEA", "TAX_OUTLET_RULE tax PPN"}
	got := values[string](b, `SELECT class || ' ' || field || ' ' || code FROM shadow_findings WHERE class <> '' AND seen = 1 ORDER BY 1`)
	if !slices.Equal(got, want) {
		t.Errorf("causes %q, want %q", got, want)
	}
	if n := value[int](b, `SELECT count(*) FROM exceptions`); n != 0 {
		t.Errorf("%d exceptions", n)
	}
}

func TestUnified(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x\n", 4000)
	for _, c := range []struct {
		name, before, now, want string
		ok                      bool
	}{
		{"Same", `{"a":1}`, `{"a": 1}`, "--- before\n+++ now\n@@\n", true},
		{"JSON", `{"a":1,"b":[1,2]}`, `{"a":2,"b":[1,2]}`, "--- before\n+++ now\n {\n-  \"a\": 1,\n+  \"a\": 2,\n   \"b\": [\n     1,\n     2\n", true},
		{"Text", "a\nb", "a\nc\nd", "--- before\n+++ now\n a\n-b\n+c\n+d\n", true},
		{"Empty", "", "a", "--- before\n+++ now\n-\n+a\n", true},
		{"TooLong", long, "x", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := dispatch.Unified([]byte(c.before), []byte(c.now))
			if ok != c.ok || c.name != "Same" && !strings.HasPrefix(got, c.want) {
				t.Errorf("%v\n%s", ok, got)
			}
			if c.name == "Same" && strings.ContainsAny(got[len("--- before\n+++ now\n"):], "+-") {
				t.Errorf("the same differs:\n%s", got)
			}
		})
	}
}

// showOff panics where it is to show its request.
type showOff struct{ *platform }

func (showOff) Preview(connectors.Request) connectors.Preview { panic("a connector's bug") }

func TestDispatcher_ShadowOfAPanic(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]*platform{"books": newPlatform(nil)})
	b.destination("books").Connector = showOff{b.platforms["books"]}
	b.inShadow()
	b.append(b.entry("shadow", "shadow", "key/1", "books"), b.entry("sales", "live", "key/1", "books"))
	b.start()
	b.untilDrained()
	if n := value[int](b, `SELECT count(*) FROM shadow_findings WHERE class = 'POISON'`); n != 1 {
		t.Errorf("%d findings", n)
	}
}
