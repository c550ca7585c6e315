package dispatch

import (
	"context"
	"testing"
	"time"

	"raffsync/connectors"
	"raffsync/outbox"
)

// Only what says something about the destination's health counts.
func TestFlight_Health(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		outcome connectors.Outcome
		ours    bool
		want    error
	}{
		{"Delivered", connectors.Outcome{Kind: kindDelivered, Status: 200}, false, nil},
		{"InTrouble", connectors.Outcome{Kind: kindTransient, Status: 503}, false, errDestination},
		{"NoConnection", connectors.Outcome{Kind: kindTransient}, false, errDestination},
		{"NoAnswer", connectors.Outcome{Kind: kindUnknown}, false, errDestination},
		{"GivenUpByUs", connectors.Outcome{Kind: kindUnknown, Rule: "cancelled after sending"}, true, context.Canceled},
		{"GivenUpByUsBeforeSending", connectors.Outcome{Kind: kindTransient, Rule: "cancelled before sending"}, true, context.Canceled},
		{"AsksForFewer", connectors.Outcome{Kind: kindRateLimited, Status: 429}, false, context.Canceled},
		{"RefusesTheRequest", connectors.Outcome{Kind: kindValidation, Status: 422}, false, nil},
		{"RefusesTheCredential", connectors.Outcome{Kind: kindAuthRevoked, Status: 401}, false, nil},
		{"AConnectorsBug", connectors.Outcome{Kind: kindPoison}, false, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &flight{breaker: newBreaker("books", outbox.DefaultBreaker), attempt: Attempt{Ours: c.ours, Outcome: c.outcome}}
			if got := f.health(); got != c.want {
				t.Errorf("it says %v, want %v", got, c.want)
			}
		})
	}
}

// A probe that says nothing, such as one that was given up, leaves room for another.
func TestBreaker_ExcludedProbesDoNotWedgeIt(t *testing.T) {
	t.Parallel()
	b := newBreaker("books", outbox.BreakerConfig{Window: time.Minute, MinRequests: 1, FailureRatio: 0.5, OpenFor: time.Millisecond, Probes: 2})
	settle, ok := b.allow()
	if !ok {
		t.Fatal("it is not closed")
	}
	settle(errDestination)
	if state, _, _ := b.state(); state == "CLOSED" {
		t.Fatalf("after a failure it is %s", state)
	}
	probe := func() func(error) {
		for {
			if settle, ok := b.allow(); ok {
				return settle
			}
		}
	}
	for range 10 {
		probe()(context.Canceled)
	}
	first, second := probe(), probe()
	if _, ok := b.allow(); ok {
		t.Error("it admits more probes than it is told to")
	}
	first(nil)
	second(nil)
	if state, _, _ := b.state(); state != "CLOSED" {
		t.Errorf("after as many successes as wanted it is %s", state)
	}
}

func TestBreaker_CancelledRequestsDoNotTripIt(t *testing.T) {
	t.Parallel()
	b := newBreaker("books", outbox.BreakerConfig{Window: time.Minute, MinRequests: 3, FailureRatio: 0.5, OpenFor: time.Minute, Probes: 1})
	for range 100 {
		settle, ok := b.allow()
		if !ok {
			t.Fatal("cancelled requests tripped it")
		}
		settle(context.Canceled)
	}
	for range 3 {
		settle, _ := b.allow()
		settle(errDestination)
	}
	if _, ok := b.allow(); ok {
		t.Error("three failures of three did not trip it")
	}
	if _, reason, probeIn := b.state(); reason == "" || probeIn <= 0 {
		t.Errorf("open because of %q, for %s", reason, probeIn)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	event := func() *outbox.LoadedEvent {
		return &outbox.LoadedEvent{Event: outbox.Event{Tenant: "kopi", ID: "e1"}, SourceName: "till"}
	}
	base := idempotencyKey(event(), "books", &outbox.Delivery{})
	if again := idempotencyKey(event(), "books", &outbox.Delivery{Requests: 7, Version: 9, Lane: 3}); again != base || len(base) != 64 {
		t.Errorf("another attempt has the key %s, the first had %s", again, base)
	}
	seen := map[string]string{base: "the first"}
	add := func(what, key string) {
		if other, there := seen[key]; there {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[key] = what
	}
	for what, change := range map[string]func(*outbox.LoadedEvent){
		"another tenant": func(e *outbox.LoadedEvent) { e.Tenant = "teh" }, "another source": func(e *outbox.LoadedEvent) { e.SourceName = "web" },
		"another id": func(e *outbox.LoadedEvent) { e.ID = "e2" }, "a byte moved": func(e *outbox.LoadedEvent) { e.SourceName, e.ID = "tille", "1" },
	} {
		e := event()
		change(e)
		add(what, idempotencyKey(e, "books", &outbox.Delivery{}))
	}
	add("another destination", idempotencyKey(event(), "stock", &outbox.Delivery{}))
	add("another step", idempotencyKey(event(), "books", &outbox.Delivery{Step: 1}))
	add("another revision", idempotencyKey(event(), "books", &outbox.Delivery{Revision: 1}))
	add("a replay", idempotencyKey(event(), "books", &outbox.Delivery{Replay: 1}))
}
